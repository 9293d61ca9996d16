"""Pretrained networks that label photos for training. They never judge and never ship."""
