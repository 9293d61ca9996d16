"""Latency of every artifact (load, first run, steady state), on this computer or on a device that opens a page."""
