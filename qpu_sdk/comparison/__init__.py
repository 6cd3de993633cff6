"""Comparison of mitigations, ours and Perceval's, at equal shots and settings."""
