"""The PyTorch portrait Hydra: the net, its training and evaluation, and the commands that run it on photos."""
