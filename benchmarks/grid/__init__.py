"""The grid: all artifacts timed in interleaved rounds of fresh processes, and the comparison of two grids."""
