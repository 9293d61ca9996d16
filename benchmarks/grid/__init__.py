"""Every artifact timed in interleaved rounds of fresh processes, and the comparison of two such grids."""
