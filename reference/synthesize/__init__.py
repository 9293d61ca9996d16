"""Synthesis of training data for the portrait Hydra: people with exact disparity, coverage and face points."""
