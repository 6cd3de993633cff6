"""What installed packages add, by entry points: found at once, loaded when asked for, told in one line if broken."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .errors import ConfigError
from .words import one_line


def plugged(group: str) -> dict[str, Callable[[], Any]]:
    """Names of what packages provide, each with a function that loads it.

    :param group: of entry points, such as ``qpu_sdk.devices``.

    >>> "local-twin" in plugged("qpu_sdk.devices")
    True
    """
    return {found.name: partial(_loaded, found) for found in entry_points(group=group)}


def _loaded(found: EntryPoint) -> Any:
    try:
        return found.load()
    except Exception as error:  # it is the package's code: it may raise anything
        package = found.value if found.dist is None else f"the package {found.dist.name}"
        raise ConfigError(
            f"{found.name!r} of {package} cannot be loaded ({type(error).__name__}: {one_line(error, 160)}). Update or "
            "remove that package."
        ) from error
