"""Run exported artifacts and record evidence: runtime adapters, parity, size, latency, reports."""
