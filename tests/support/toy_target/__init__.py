"""A target that tests add to a copy of this project: a new target needs this folder, one row, and a test."""
