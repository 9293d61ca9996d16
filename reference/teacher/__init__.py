"""Pretrained networks that label photos for training: they never judge and never ship."""
