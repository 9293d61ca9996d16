"""Training data for the portrait Hydra: rendered people with exact disparity, coverage and face points."""
