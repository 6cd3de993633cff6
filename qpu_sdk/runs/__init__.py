"""Runs: a folder from its first file to its last, plans, jobs, summaries."""
