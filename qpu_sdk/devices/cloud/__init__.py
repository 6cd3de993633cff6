"""Quandela Cloud: the loopback emulator of its HTTP API."""
