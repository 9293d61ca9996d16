"""Does each artifact compute what the PyTorch reference computes?"""
