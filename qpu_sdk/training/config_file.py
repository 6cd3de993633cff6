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
from .located import located
from .problems import config_problem


def load_config(path: str | Path | None = None, *, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a TOML file (``None``: the defaults) and apply ``key=value`` overrides.

    :param overrides: dotted keys, values in TOML notation or bare words: ``generator.bond_dim=4``, ``qnn.0.modes=8``;
        a text is one of them.
    :raises ConfigError: one line naming the key, the value and what is allowed.

    >>> load_config(overrides=["generator.kind=paper", "generator.bond_dim=4"]).generator.kind
    'paper'
    """
    config = read_config(path, overrides=overrides)
    if path is None:
        return config
    folders = Path.cwd(), user_path(path, "the path of a configuration").parent
    return config.model_copy(update={"target": located(config.target, *folders)})


def read_config(path: str | Path | None, *, overrides: Sequence[str] = ()) -> RunConfig:
    """:func:`load_config` of a file that says all there is to say, as that of a run does."""
    tree = _read_toml(None if path is None else user_path(path, "the path of a configuration"))
    overrides = [overrides] if isinstance(overrides, str) else list(overrides)  # not its letters, and not once only
    if overrides and any(o.startswith("qnn.") for o in overrides) and "qnn" not in tree:
        tree["qnn"] = [q.model_dump(exclude_none=True) for q in RunConfig().qnn]  # else there is no list to change
    for override in overrides:
        _assign(tree, override)
    return parse_config(tree, where="the configuration" if path is None else str(path))


def parse_config(tree: dict[str, Any], *, where: str) -> RunConfig:
    """Validate a nested dictionary; raises :class:`ConfigError` with the first problem in one line."""
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{where}: {config_problem(error, RunConfig)}") from None


def _read_toml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(regular(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path} ({error}). Check the path and the TOML.") from error


def _assign(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {short(override)} is not key=value. Write for example --set generator.bond_dim=4.")
    node: Any = tree
    *parents, leaf = key.strip().split(".")
    try:
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        node[int(leaf) if isinstance(node, list) else leaf] = _value(text.strip())
    except (ValueError, IndexError, TypeError, AttributeError):
        raise ConfigError(
            f"--set {short(override)}: there is no such key. Keys are section.key, such as generator.bond_dim; of the "
            "circuits qnn.0.modes, with numbers from 0."
        ) from None


def _value(text: str) -> Any:
    """A TOML value, or the bare text when it is none (so that strings need no quotes)."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
