"""What a model does: the PyTorch portrait Hydra and the commands that run it on photos."""
