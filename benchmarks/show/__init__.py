"""The terminal output of the benchmark commands."""
