"""The cells of a sweep: configurations made of one by keys and their values, each with the name of its folder."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, final

from ..errors import ConfigError
from ..files import user_path
from ..training.config import RunConfig
from ..training.config_file import assign, configured, read_toml, toml_value
from ..words import short
from .paths import with_absolute_paths

#: Most cells of a sweep: more would take years.
MOST_CELLS = 100_000
#: Keys of a file of cells, which no configuration of a run has.
_OF_A_SWEEP = {"config", "over", "cell"}
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
_LONGEST_NAME = 100


@final
@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    :param name: of its folder.
    :param values: by key, what tells it from the others.
    """

    name: str
    values: Mapping[str, Any]
    config: RunConfig

    @property
    def identity(self) -> str:
        """What decides its result: equal configurations are one run.

        :attr:`~qpu_sdk.training.config.RunConfig.fingerprint` leaves out where calibration records come from.
        """
        values = [self.config.fingerprint, self.config.mitigation.record]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def parse_over(text: str) -> tuple[str, list[Any]]:
    """A key and its values as they are written: ``seed=1..5``, ``generator.kind=lean,paper``, ``spsa.steps=0,1..3``.

    Values are those of TOML, or bare words; ``1..5`` are five whole numbers.

    :raises ConfigError: when it is no such thing, or has no value.

    >>> parse_over("generator.bond_dim=1..3,10"), parse_over("device=local:slos,local:slos?noise=belenos")
    (('generator.bond_dim', [1, 2, 3, 10]), ('device', ['local:slos', 'local:slos?noise=belenos']))
    """
    key, equals, values = text.partition("=")
    key = key.strip()
    if not key or not equals:
        raise ConfigError(f"--over {short(text)} is not key=values. Write for example --over seed=1..5.")
    found = [value for part in _parts(values) for value in _values_of(part, text)]
    if not found:
        raise ConfigError(f"--over {short(text)} has no values. Write for example --over {key}=1..5.")
    return key, found


def _parts(text: str) -> list[str]:
    """What stands between commas that are in no bracket, brace or quotation."""
    parts, depth, quote, last = [""], 0, "", ""
    for c in text:
        if quote:
            quote = "" if c == quote and last != "\\" else quote
        elif c in "\"'":
            quote = c
        elif c in "[{":
            depth += 1
        elif c in "]}":
            depth -= 1
        if c == "," and not quote and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
        last = c
    return [part.strip() for part in parts if part.strip()]


def _values_of(part: str, text: str) -> list[Any]:
    if not (numbers := _RANGE.fullmatch(part)):
        return [toml_value(part)]
    first, last = int(numbers[1]), int(numbers[2])
    if last < first or last - first >= MOST_CELLS:
        raise ConfigError(
            f"--over {short(text)}: {part} is no range of 1 to {MOST_CELLS:,} numbers. Write the smaller number first."
        )
    return list(range(first, last + 1))


Over = Mapping[str, Iterable[Any]] | Sequence[str]


def cells_of(config: RunConfig | str | Path | None, over: Over = (), overrides: Sequence[str] = ()) -> list[Cell]:
    """The product of all values of all keys, the last key running fastest.

    :param config: a configuration or the path of one, or of a file of cells: ``[[cell]]`` tables of keys and values,
        each of which changes the configuration that ``config = "FILE"`` names, and ``over = ["seed=1..5"]``.
    :param over: values by key, or texts for :func:`parse_over`.
    :param overrides: ``key=value`` for all cells.
    :raises ConfigError: for a key that does not exist, a value that is not allowed, twice the same key, and when there
        is no cell, or more than :data:`MOST_CELLS`.

    >>> [cell.name for cell in cells_of(None, ["spsa.steps=0,5", "seed=1..2"])]
    ['spsa.steps=0,seed=1', 'spsa.steps=0,seed=2', 'spsa.steps=5,seed=1', 'spsa.steps=5,seed=2']
    """
    tree, path, tables, own = _base(config)
    axes = _axes([*own, *_as_pairs(over)])
    size = max(1, len(tables))
    for _, values in axes:
        size *= len(values)
    if size > MOST_CELLS:
        raise ConfigError(f"the sweep has {size:,} cells; {MOST_CELLS:,} are allowed. Give fewer values.")
    cells = []
    for table in tables or [{}]:
        name, changes = str(table.get("name", "")), {key: v for key, v in table.items() if key != "name"}
        for chosen in itertools.product(*(values for _, values in axes)):
            at = dict(zip((key for key, _ in axes), chosen, strict=True))
            cells.append(_cell(tree, path, name, _dotted(changes), at, overrides))
    return _named_apart(cells)


def _base(config: object) -> tuple[dict[str, Any], Path | None, list[dict[str, Any]], list[tuple[str, list[Any]]]]:
    """The configuration as a tree, the file it is from, and the cells and axes of a file of cells."""
    if config is None:
        return {}, None, [], []
    if isinstance(config, RunConfig):
        return config.model_dump(mode="json", exclude_none=True), None, [], []
    path = user_path(config, "the path of a configuration")
    tree = read_toml(path)
    if not _OF_A_SWEEP & tree.keys():
        return tree, path, [], []
    if unknown := sorted(tree.keys() - _OF_A_SWEEP):
        raise ConfigError(
            f"{path} has cells, and {short(unknown[0])} beside them. A file of cells has "
            f"{', '.join(sorted(_OF_A_SWEEP))} alone."
        )
    tables, over, base = tree.get("cell", []), tree.get("over", []), tree.get("config")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path}: cell is {short(tables)}, and cells are tables. Write [[cell]].")
    if not isinstance(over, list) or not all(isinstance(text, str) for text in over):
        raise ConfigError(f'{path}: over is {short(over)}. Write over = ["seed=1..5"].')
    if base is None:
        return {}, None, tables, [parse_over(text) for text in over]
    inner = path.parent / user_path(base, f"config of {path}")
    return read_toml(inner), inner, tables, [parse_over(text) for text in over]


def _as_pairs(over: Over) -> list[tuple[str, list[Any]]]:
    if isinstance(over, str):
        return [parse_over(over)]
    if not isinstance(over, Mapping):
        return [parse_over(text) for text in over]
    return [(str(key), _values(str(key), values)) for key, values in over.items()]


def _values(key: str, values: object) -> list[Any]:
    """Values as TOML has them; those of numpy and paths are written in it."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ConfigError(f"over has {short(values)} for {key}. Give a list of values: {{{key!r}: [{short(values)}]}}.")
    found = [_plain(key, value) for value in values]
    if not found:
        raise ConfigError(f"over has no values of {key}. Give one or more.")
    return found


def _plain(key: str, value: Any) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else str(value) if isinstance(value, PurePath) else value
    try:
        json.dumps(value)
    except TypeError:
        raise ConfigError(
            f"over has a {type(value).__name__} for {key}. Give numbers, texts, true or false, or lists of these."
        ) from None
    return value


def _axes(pairs: list[tuple[str, list[Any]]]) -> list[tuple[str, list[Any]]]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"--over {key} is given twice. Give all its values at once: --over {key}=1,2.")
    return [(key, [v for i, v in enumerate(values) if v not in values[:i]]) for key, values in pairs]


def _dotted(table: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Keys of nested tables with dots between them."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _dotted(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


def _cell(
    tree: dict[str, Any],
    path: Path | None,
    name: str,
    changes: Mapping[str, Any],
    at: Mapping[str, Any],
    overrides: Sequence[str],
) -> Cell:
    own, values = copy.deepcopy(tree), {**changes, **at}
    for override in overrides:
        key, _, text = override.partition("=")
        assign(own, key, toml_value(text.strip()), override)
    for key, value in values.items():
        assign(own, key, value, f"{key}={value}")
    own.setdefault("training", {}).setdefault("threads", 1)  # as many cells as cores: one thread each
    config = with_absolute_paths(configured(own, path))
    told = ([name] if name else [_as_name(k, v) for k, v in changes.items()]) + [_as_name(k, v) for k, v in at.items()]
    shown = {"cell": name, **at} if name else values
    return Cell(",".join(told) or "run", shown, config)


def _as_name(key: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{key}={text}"


def _named_apart(cells: Sequence[Cell]) -> list[Cell]:
    """Names as folders can have them, each another: what is cut or written otherwise is told apart by its content."""
    plain = [re.sub(r"[^A-Za-z0-9._+,=-]+", "-", cell.name).lstrip("-.") for cell in cells]
    times = Counter(plain)
    named = []
    for cell, name in zip(cells, plain, strict=True):
        if len(name) > _LONGEST_NAME or times[name] > 1 or not name:
            told = json.dumps([cell.name, cell.identity])
            name = f"{name[:_LONGEST_NAME]}~{hashlib.sha256(told.encode()).hexdigest()[:8]}"
        named.append(Cell(name, cell.values, cell.config))
    return named
