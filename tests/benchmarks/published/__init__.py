"""The tables of the published work (arXiv:2505.08474), run again: a sweep and a JSON each, and one page of claims."""
