"""Static cost: the MACs of the net, and the activation memory of each artifact's graph."""
