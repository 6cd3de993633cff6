"""A configuration as it is written: TOML for people, a hash for runs that go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

#: Keys that the first release hashed unset as well; all others count where they are written.
_HASHED_UNSET = {
    "data": ("train_size", "test_size", "seed"),
    "qnn": ("device", "input_modes"),
    "generator": ("init_std",),
    "training": ("threads",),
    "spsa": ("a", "A", "max_step"),
}
#: Keys that are numbers unless somebody says that there is no limit, which TOML cannot, having no null.
_LIMITS = {"max_step", "settings"}
_NO_LIMIT = "none"


def or_none(value: object) -> object:
    """The value of a limit as it is written.

    >>> or_none("none"), or_none(400)
    (None, 400)
    """
    return None if value == _NO_LIMIT else value


def hash_of(values: Mapping[str, Any]) -> str:
    """SHA-256 of the keys of a configuration that are set, by table.

    A release that knows more keys gives the same for what an older one wrote.
    """
    hashed = dict(values)
    for key, unset in _HASHED_UNSET.items():
        table = hashed.get(key, {})
        filled = [dict.fromkeys(unset) | dict(one) for one in (table if isinstance(table, list) else [table])]
        hashed[key] = filled if isinstance(table, list) else filled[0]
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()


def toml_of(values: Mapping[str, Any]) -> str:
    """Tables as TOML; unset keys are left out."""
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if not _is_table(value)]
    for key, value in values.items():
        for table in value if key == "qnn" else [value]:
            if isinstance(table, dict):
                lines += ["", f"[[{key}]]" if key == "qnn" else f"[{key}]"]
                words = table | {name: _NO_LIMIT for name in _LIMITS & table.keys() if table[name] is None}
                lines += [f"{name} = {_toml(entry)}" for name, entry in words.items() if entry is not None]
    return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    """A table, or a list of such."""
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value))


def _toml(value: Any) -> str:
    """A scalar or list as TOML; JSON's notation of these is valid TOML, except for surrogate pairs and DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
