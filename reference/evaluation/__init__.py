"""The reference measured against ground truth: phones' own depth and matte, and synthetic views by bins."""
