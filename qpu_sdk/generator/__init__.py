"""Generators: from a joint outcome distribution to the flat weights of a network."""
