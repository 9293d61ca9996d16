"""Profiles: time by operator."""
