"""Training: configuration, data, SPSA, the loop, checkpoints."""
