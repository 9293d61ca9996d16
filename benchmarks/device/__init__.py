"""Measurements on an attached device."""
