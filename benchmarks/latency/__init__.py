"""Load, first run and steady state of every artifact, on this computer or on a device that opens a page."""
