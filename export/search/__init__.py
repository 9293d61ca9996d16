"""Search: what each layer may be stored as, so that files get small and answers stay."""
