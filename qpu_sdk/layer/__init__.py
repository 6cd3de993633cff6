"""A photonic circuit as a torch module: exact, sampled, and trained on any device."""
