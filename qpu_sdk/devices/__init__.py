"""Devices: one seam, ``Device.submit``, and what stands behind it."""
