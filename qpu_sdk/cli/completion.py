"""What Tab offers: devices, folders of runs, keys of configurations, names; nothing that takes long to find."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

#: Folders under which runs are looked for, at these depths.
_RUNS = ("runs/*/config.toml", "sweeps/*/*/config.toml")
#: Most files that are offered of a folder.
_MANY = 200


def devices(incomplete: str) -> list[str]:
    """Device strings that begin so: simulators with every published noise, and the machines of the cloud."""
    from ..devices.machines import NOISE_PRESETS, PLATFORMS_OF_MACHINES

    known = ["local:slos", *(f"local:slos?noise={name}" for name in NOISE_PRESETS), "local:twin?record="]
    return _beginning(incomplete, [*known, *(f"quandela:{name}" for name in PLATFORMS_OF_MACHINES), "replay:"])


def noises(incomplete: str) -> list[str]:
    """Noise presets."""
    from ..devices.machines import NOISE_PRESETS

    return _beginning(incomplete, NOISE_PRESETS)


def platforms(incomplete: str) -> list[str]:
    """Platforms of the emulated cloud."""
    from ..devices.machines import PLATFORMS_OF_MACHINES

    return _beginning(incomplete, ["sim:ideal", *PLATFORMS_OF_MACHINES])


def run_folders(incomplete: str) -> list[str]:
    """Folders of runs in the usual places, and folders and files as a shell offers them."""
    runs = sorted(str(path.parent) for pattern in _RUNS for path in Path().glob(pattern))
    return list(dict.fromkeys(_beginning(incomplete, runs) + _files(incomplete)))


def settings(incomplete: str) -> list[str]:
    """Keys of configurations with the ``=`` behind them; behind that of a device, devices."""
    from ..training.config import RunConfig

    key, equals, value = incomplete.partition("=")
    if equals:
        return [f"{key}={name}" for name in devices(value)] if key.split(".")[-1] == "device" else []
    return _beginning(incomplete, [f"{name}=" for name in keys_of(RunConfig())])


def keys_of(table: object, before: str = "") -> Iterable[str]:
    """Dotted keys of a configuration, circuits by their numbers."""
    named = enumerate(table) if isinstance(table, tuple) else ((key, getattr(table, key)) for key in _fields(table))
    for key, value in named:
        tables = isinstance(value, tuple) and any(_fields(one) for one in value)
        if tables or _fields(value):
            yield from keys_of(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"


def _fields(table: object) -> Iterable[str]:
    return getattr(type(table), "model_fields", ())


def one_of(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """A completion of names, which are asked for when Tab is pressed.

    >>> one_of(lambda: ["onnx", "pt2"])("o")
    ['onnx']
    """

    def complete(incomplete: str) -> list[str]:
        return _beginning(incomplete, names())

    return complete


def _beginning(incomplete: str, known: Iterable[str]) -> list[str]:
    return [name for name in known if name.startswith(incomplete)]


def _files(incomplete: str) -> list[str]:
    """Folders, with a slash, and files that begin so; hidden ones only when they are meant."""
    head, name = os.path.split(incomplete)
    try:
        with os.scandir(os.path.expanduser(head) or ".") as entries:
            found = [
                os.path.join(head, f"{entry.name}/" if entry.is_dir() else entry.name)
                for entry in entries
                if entry.name.startswith(name) and (name or not entry.name.startswith("."))
            ]
    except OSError:
        return []
    return sorted(found)[:_MANY]
