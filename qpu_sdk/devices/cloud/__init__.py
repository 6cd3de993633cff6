"""Quandela's machines over HTTP: client, device, and an emulated cloud to rehearse with."""
