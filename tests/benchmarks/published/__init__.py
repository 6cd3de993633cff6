"""The tables of the work this grows from (arXiv:2505.08474), run again: a sweep each, a JSON each, and one page of claims."""
