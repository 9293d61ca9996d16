"""Patches of litert-torch, as context managers that restore its own code when they end."""
