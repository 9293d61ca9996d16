"""Parity, latency and profiles on an attached device."""
