"""Runs read back from their folders, and those of them that differ by their seed alone put together.

Nothing is given up for the sake of one damaged file: what cannot be read is named in one line, and the rest is there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, final

from pydantic import ValidationError

from ..errors import CheckpointError, ConfigError
from ..files import check_schema, first_problem, regular
from ..training.config import RunConfig
from ..training.config_file import read_config
from ..words import one_line, short
from .folder import RunFolder, read_metrics
from .metric import Metric
from .paired import MeanInterval, PairedDifference, SeedVerdict, mean_interval, paired_differences, seed_verdict
from .summary import RunSummary

#: Folders of a run that hold none themselves.
_PARTS = {"checkpoint", "records"}
#: Of a configuration, what changes no result: limits, where code lies, how many threads, whether controls are trained.
_NO_RESULT: Any = {
    "seed": True,
    "controls": True,
    "budget": True,
    "target": {"folder"},
    "training": {"threads", "loss_folder", "optimiser_folder"},
}
#: Keys that name a configuration among others; more are read by nobody.
_MOST_KEYS = 3


@final
@dataclass(frozen=True)
class Unread:
    """What could not be read, or is no finished run.

    :param name: of the run or folder.
    :param bad: False where nothing is wrong but that the run is not finished.
    """

    name: str
    why: str
    bad: bool = True

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


@final
@dataclass(frozen=True, eq=False)
class StoredRun:
    """A finished run as its folder tells.

    :param name: of the folder, as short as tells it from the other runs.
    :param config: None where it cannot be read.
    :param toml: the text of the configuration, whether it can be read or not.
    :param rows: of its metrics.
    :param unread: what of it could not be read.
    """

    folder: RunFolder
    name: str
    summary: RunSummary
    config: RunConfig | None
    toml: str = field(repr=False)
    rows: tuple[Mapping[str, Any], ...] = field(repr=False)
    unread: tuple[Unread, ...] = ()

    @classmethod
    def read(cls, folder: RunFolder, name: str, summary: RunSummary) -> StoredRun:
        """What a folder holds beside its summary."""
        unread: list[Unread] = []
        config, toml, rows = None, "", list[Mapping[str, Any]]()
        try:
            toml = regular(folder.config).read_text(encoding="utf-8", errors="backslashreplace")
            config = read_config(folder.config).of_a_run()
        except (ConfigError, OSError) as error:
            unread.append(Unread(name, _said(error, "its configuration")))
        try:
            rows = list(read_metrics(folder.metrics))
        except CheckpointError as error:
            unread.append(Unread(name, one_line(error)))
        return cls(folder, name, summary, config, toml, tuple(rows), tuple(unread))

    @cached_property
    def values(self) -> dict[str, Any]:
        """What decides its result but for the seed, by dotted key."""
        if self.config is None:
            return {"folder": str(self.folder.path)}  # alone: nobody knows what it would go with
        found = dict(_flat(self.config.model_dump(mode="json", exclude_none=True, exclude=_NO_RESULT)))
        return found | {f"given.{key}": value for key, value in self._given().items()}

    def _given(self) -> Mapping[str, Any]:
        """Fingerprints of what was passed as objects, which the configuration does not tell apart."""
        try:
            known = json.loads(regular(self.folder.given).read_text(encoding="utf-8"))
            return {key: known[key] for key in ("target", "data") if known.get(key) is not None}
        except (OSError, ValueError, AttributeError):
            return {}


@final
@dataclass(frozen=True, eq=False)
class SeedGroup:
    """Runs that differ by their seeds alone, in the order of these.

    :param label: what tells it from the other groups.
    :param repeats: runs of a seed that is there already, which count for nothing.
    """

    label: str
    runs: tuple[StoredRun, ...]
    repeats: tuple[StoredRun, ...] = ()

    @property
    def summaries(self) -> tuple[RunSummary, ...]:
        """Of its runs."""
        return tuple(run.summary for run in self.runs)

    @cached_property
    def accuracy(self) -> MeanInterval:
        """Test accuracy over its seeds, or test loss where labels are no classes."""
        return mean_interval([summary.figure for summary in self.summaries])

    @property
    def metric(self) -> Metric:
        """Which of these it is."""
        return Metric.of(self.summaries)

    @cached_property
    def differences(self) -> list[PairedDifference]:
        """To its controls, the best control first."""
        return paired_differences(self.summaries)

    @cached_property
    def verdict(self) -> SeedVerdict:
        """What its circuits have to do with its result."""
        return seed_verdict(self.summaries)


@final
@dataclass(frozen=True, eq=False)
class Gathered:
    """Everything that some folders hold.

    :param groups: the most accurate first.
    """

    groups: tuple[SeedGroup, ...]
    unread: tuple[Unread, ...]

    @property
    def runs(self) -> tuple[StoredRun, ...]:
        """All of them."""
        return tuple(run for group in self.groups for run in (*group.runs, *group.repeats))


def gather(folders: Sequence[Path]) -> Gathered:
    """The finished runs in some folders, at any depth.

    :param folders: runs, or folders that hold some; each run is read once, however often it is named.
    """
    unread: list[Unread] = []
    found: dict[Path, None] = {}
    for folder in folders:
        if (why := _no_folder(folder)) is not None:
            unread.append(Unread(_shown(folder), why))
            continue
        runs = list(runs_in(folder, set(), unread))
        if not runs:
            unread.append(Unread(_shown(folder), "it holds no run (no config.toml, no summary.json)"))
        found |= dict.fromkeys(run.resolve() for run in runs)
    stored = []
    names = _names(list(found))
    for path, name in zip(found, names, strict=True):
        run = _read(RunFolder(path), name)
        if isinstance(run, Unread):
            unread.append(run)
        else:
            stored.append(run)
            unread += run.unread
    return Gathered(group_by_seed(stored), tuple(unread))


def group_by_seed(runs: Sequence[StoredRun]) -> tuple[SeedGroup, ...]:
    """Runs with equal configurations but for the seed together, the most accurate first."""
    together: dict[str, list[StoredRun]] = {}
    for run in runs:
        together.setdefault(json.dumps(run.values, sort_keys=True), []).append(run)
    groups = []
    for label, own in zip(_labels(list(together.values())), together.values(), strict=True):
        seeds: dict[int, StoredRun] = {}
        for run in own:
            seeds.setdefault(run.summary.seed, run)
        first = tuple(seeds[seed] for seed in sorted(seeds))
        groups.append(SeedGroup(label, first, tuple(run for run in own if seeds[run.summary.seed] is not run)))
    return tuple(sorted(groups, key=lambda group: (group.metric.name, group.metric.gain(0.0, group.accuracy.mean))))


# -- looking for runs --------------------------------------------------------------------------------------


def _no_folder(path: Path) -> str | None:
    """Why it is none; None where it is one."""
    try:
        if path.is_dir():
            return None
        return "it is a file; name a folder" if path.exists() else "there is no such folder; check the path"
    except OSError as error:  # a name that no system can have
        return _said(error, "it")


def runs_in(folder: Path, seen: set[Path], unread: list[Unread]) -> Iterator[Path]:
    """Folders of runs in a folder, itself included, in the order of their names."""
    if (real := folder.resolve()) in seen:  # a link that leads back
        return
    seen.add(real)
    own = RunFolder(folder)
    try:
        below = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
        named, done = own.config.is_file(), own.summary.is_file()
        begun = own.metrics.is_file() or own.journal.is_file()
    except OSError as error:
        unread.append(Unread(_shown(folder), _said(error, "it")))
        return
    within = [run for name in below if name not in _PARTS for run in runs_in(folder / name, seen, unread)]
    if done or (named and (begun or not within)):  # else a configuration beside runs is that of a sweep
        yield folder
    yield from within


def _read(folder: RunFolder, name: str) -> StoredRun | Unread:
    if not folder.summary.is_file():
        return Unread(name, f"not finished (no summary.json); go on with: {folder.way_on}", bad=False)
    try:
        text = regular(folder.summary).read_text(encoding="utf-8")
        check_schema(text, folder.summary, known=1)
        summary = RunSummary.model_validate_json(text)
        fractions = [summary.figure, *summary.controls.values()] if summary.metric == "accuracy" else []
        if summary.test_size < 1 or not all(0.0 <= fraction <= 1.0 for fraction in fractions):
            raise ValueError("an accuracy is no fraction of test_size images")
    except CheckpointError as error:  # another version's, which resuming would not write again
        return Unread(name, str(error))
    except (OSError, ValueError, ValidationError, RecursionError) as error:
        why = _said(error, "summary.json") if isinstance(error, OSError) else first_problem(error)
        return Unread(name, f"summary.json is damaged ({why}); write it again with: {folder.way_on}")
    return StoredRun.read(folder, name, summary)


def _names(paths: Sequence[Path]) -> list[str]:
    """Each path from where they part; of one alone its last part."""
    if not paths:
        return []
    common = Path(os.path.commonpath(paths))
    if common in paths:
        common = common.parent
    return [one_line(path.relative_to(common).as_posix()) for path in paths]


def _shown(path: Path) -> str:
    return one_line(path)


def _said(error: Exception, what: str) -> str:
    if isinstance(error, OSError):
        return f"{what} cannot be read ({error.strerror or one_line(error)})"
    return one_line(error)


# -- what tells configurations apart -----------------------------------------------------------------------


def _flat(tree: object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a nested configuration by dotted key."""
    entries: Iterator[tuple[Any, Any]] | None = None
    if isinstance(tree, Mapping):
        entries = iter(tree.items())
    elif isinstance(tree, list) and any(isinstance(part, Mapping) for part in tree):
        entries = iter(enumerate(tree))
    if entries is None:
        yield prefix, tree
        return
    for key, value in entries:
        yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))


def _labels(groups: Sequence[Sequence[StoredRun]]) -> list[str]:
    """What each group's configuration has otherwise than the others, in a few words; names where that is too much."""
    runs = [own[0] for own in groups]
    keys = dict.fromkeys(key for run in runs for key in run.values)
    differing = [key for key in keys if len({json.dumps(run.values.get(key)) for run in runs}) > 1]
    if not 0 < len(differing) <= _MOST_KEYS or any(run.config is None for run in runs):
        return _names_of(groups)
    return [", ".join(f"{key} {_written(run.values.get(key))}" for key in differing) for run in runs]


def _names_of(groups: Sequence[Sequence[StoredRun]]) -> list[str]:
    """Of the folders that hold each group, if they hold no other."""
    names = [_common_name(own) for own in groups]
    if len(set(names)) == len(names):
        return names
    return [f"{own[0].name}{f' and {len(own) - 1} more' if len(own) > 1 else ''}" for own in groups]


def _common_name(runs: Sequence[StoredRun]) -> str:
    """Of one run its name, of several that of the folder that holds them all."""
    if len(runs) == 1:
        return runs[0].name
    return one_line(Path(os.path.commonpath([run.folder.path.resolve() for run in runs])).name) or runs[0].name


def _written(value: object) -> str:
    if value is None:
        return "unset"
    return one_line(value, 60) if isinstance(value, str) else short(value)
