"""Configurations in files: TOML and key=value in, one line an error."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import ConfigError
from ..files import regular, user_path
from ..words import short
from .config import RunConfig
from .located import located, located_training
from .problems import config_problem


def load_config(path: str | Path | None = None, *, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a TOML file (``None``: the defaults) and apply ``key=value`` overrides.

    :param overrides: dotted keys, values in TOML notation or bare words: ``generator.bond_dim=4``, ``qnn.0.modes=8``;
        a text is one of them.
    :raises ConfigError: one line naming the key, the value and what is allowed.

    >>> load_config(overrides=["generator.kind=paper", "generator.bond_dim=4"]).generator.kind
    'paper'
    """
    file = None if path is None else user_path(path, "the path of a configuration")
    return configured(_overridden(file, overrides), file)


def read_config(path: str | Path | None, *, overrides: Sequence[str] = ()) -> RunConfig:
    """:func:`load_config` of a file that says all there is to say, as that of a run does."""
    file = None if path is None else user_path(path, "the path of a configuration")
    return parse_config(_overridden(file, overrides), where=_where(file))


def configured(tree: dict[str, Any], path: Path | None) -> RunConfig:
    """The configuration of nested tables, whose own code is found here or beside the file they are from.

    :param path: of that file.
    :raises ConfigError: one line naming the key, the value and what is allowed.
    """
    config = parse_config(tree, where=_where(path))
    if path is None:
        return config
    places = (Path.cwd(), path.parent)
    own = {"target": located(config.target, *places), "training": located_training(config.training, *places)}
    return config.model_copy(update=own)


def _overridden(path: Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    tree = {} if path is None else read_toml(path)
    for override in [overrides] if isinstance(overrides, str) else overrides:  # not its letters
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(
                f"--set {short(override)} is not key=value. Write for example --set generator.bond_dim=4."
            )
        assign(tree, key, toml_value(text.strip()), override)
    return tree


def _where(path: Path | None) -> str:
    return "the configuration" if path is None else str(path)


def parse_config(tree: dict[str, Any], *, where: str) -> RunConfig:
    """Validate a nested dictionary; raises :class:`ConfigError` with the first problem in one line."""
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{where}: {config_problem(error, RunConfig)}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The nested tables of a file; raises :class:`ConfigError` when it is no TOML, or cannot be read."""
    try:
        return tomllib.loads(regular(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path} ({error}). Check the path and the TOML.") from error


def assign(tree: dict[str, Any], key: str, value: Any, said: str) -> None:
    """Set a dotted key of nested tables; circuits have numbers from 0: ``qnn.0.modes``.

    :param said: what the user wrote, for messages.
    :raises ConfigError: when there is no such table.
    """
    node: Any = tree
    *parents, leaf = key.strip().split(".")
    if parents[:1] == ["qnn"] and "qnn" not in tree:
        tree["qnn"] = [q.model_dump(exclude_none=True) for q in RunConfig().qnn]  # else there is no list to change
    try:
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        node[int(leaf) if isinstance(node, list) else leaf] = value
    except (ValueError, IndexError, TypeError, AttributeError):
        raise ConfigError(
            f"--set {short(said)}: there is no such key. Keys are section.key, such as generator.bond_dim; of the "
            "circuits qnn.0.modes, with numbers from 0."
        ) from None


def toml_value(text: str) -> Any:
    """A TOML value, or the bare text when it is none (so that strings need no quotes)."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
