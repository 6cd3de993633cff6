"""Quandela's machines over HTTP: client and device."""
