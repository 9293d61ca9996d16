"""A target that tests drop into a copy of this project: what a new target costs is this folder, one row, and a test."""
