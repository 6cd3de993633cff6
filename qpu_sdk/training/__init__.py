"""Training: configuration, images, targets, SPSA, the loop."""
