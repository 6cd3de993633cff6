"""Measured states of devices: what to run, what it says, and where records of it are kept."""
