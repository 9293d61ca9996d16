"""What the benchmark commands print."""
