"""Training of the portrait Hydra: sets of views, batches, the loop, its checkpoints and its record."""
