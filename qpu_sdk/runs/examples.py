"""Commented configurations to begin with: those of examples/, which the package brings along."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError
from ..files import user_path, write_new
from ..words import did_you_mean, short

#: In an installed package, and in the repository.
_FOLDERS = (Path(__file__).parents[1] / "examples", Path(__file__).parents[2] / "examples")


def example_names() -> list[str]:
    """Names of the configurations, the default one first."""
    names = {path.stem for folder in _FOLDERS for path in folder.glob("*.toml") if path.stem != "faults"}
    return sorted(names, key=lambda name: (name != "lean", name))


def example_path(name: str) -> Path:
    """The file of a configuration.

    :raises ConfigError: for a name that is none.

    >>> example_path("lean").name
    'lean.toml'
    """
    if name in example_names():
        return next(path for folder in _FOLDERS if (path := folder / f"{name}.toml").is_file())
    known = example_names()
    raise ConfigError(f"there is no example {short(name)}.{did_you_mean(name, known)} There are: {', '.join(known)}.")


def write_example(path: str | Path, name: str = "lean") -> Path:
    """Write a commented configuration to a new file.

    :returns: the file.
    :raises ConfigError: for a name that is none, and when the file is there already.
    """
    path = user_path(path, "the configuration's path")
    text = example_path(name).read_text(encoding="utf-8")
    try:
        write_new(path, text)
    except FileExistsError:
        raise ConfigError(f"{path} exists already, and is kept. Choose another file.") from None
    return path
