"""Search the storage type of each layer, so that files get small and answers stay the same."""
