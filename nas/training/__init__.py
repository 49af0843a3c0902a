"""Training of single networks: data, the loop, checkpoints."""
