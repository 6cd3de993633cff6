"""Versions of what a result depends on."""

from __future__ import annotations

import platform
from importlib.metadata import version

#: What a calibration record depends on.
RECORD_PACKAGES = ("qpu_sdk", "perceval-quandela", "numpy")
#: What a run depends on.
PACKAGES = ("qpu_sdk", "perceval-quandela", "exqalibur", "torch", "numpy")


def package_versions() -> dict[str, str]:
    """Versions of what a record depends on."""
    return {name: version(name) for name in RECORD_PACKAGES}


def versions() -> dict[str, str]:
    """Versions of Python and the packages that results depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
