"""Artifact to evidence: one runtime adapter a file; parity, size, latency, reports."""
