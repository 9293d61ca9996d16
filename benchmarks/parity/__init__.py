"""Parity: compare the outputs of each artifact with the PyTorch reference."""
