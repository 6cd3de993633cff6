"""From counts to distributions: detector response, unfolding, background, recycling, and a fitting choice of these."""
