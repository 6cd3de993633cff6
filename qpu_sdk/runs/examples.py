"""Configurations and scripts to begin with: those of examples/, which the package brings along."""

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


def script_names() -> list[str]:
    """Names of the scripts, such as ``load_model``, which uses a trained network without this package."""
    return sorted({path.stem for folder in _FOLDERS for path in folder.glob("*.py")})


def example_path(name: str) -> Path:
    """The file of a configuration or a script.

    :raises ConfigError: for a name that is none.

    >>> example_path("lean").name, example_path("load_model").name
    ('lean.toml', 'load_model.py')
    """
    known = {"toml": example_names(), "py": script_names()}
    for ending in (ending for ending, names in known.items() if name in names):
        return next(path for folder in _FOLDERS if (path := folder / f"{name}.{ending}").is_file())
    meant = did_you_mean(name, [*known["toml"], *known["py"]])
    raise ConfigError(
        f"there is no example {short(name)}.{meant} There are: {', '.join(known['toml'])}; "
        f"scripts: {', '.join(known['py'])}."
    )


def write_example(path: str | Path | None, name: str = "lean") -> Path:
    """Write a commented configuration, or a script, to a new file.

    :param path: None for ``run.toml``, or the script's own name.
    :returns: the file.
    :raises ConfigError: for a name that is none, and when the file is there already.
    """
    found = example_path(name)
    own = "run.toml" if found.suffix == ".toml" else found.name
    path = user_path(own if path is None else path, "the configuration's path")
    text = found.read_text(encoding="utf-8")
    try:
        write_new(path, text)
    except FileExistsError:
        raise ConfigError(f"{path} exists already, and is kept. Choose another file.") from None
    return path
