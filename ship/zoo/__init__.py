"""Ship a list of nets, one process per net, and write one table of all of them: hydra-mobile zoo ZOO.toml."""
