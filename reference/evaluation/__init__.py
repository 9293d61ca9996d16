"""Evaluation of the reference against ground truth: phones' own depth and matte, and synthetic views by bins."""
