"""Structural pruning: a smaller portrait by cutting whole channels out of the trained one."""
