"""All runs under a folder: how far they are, and what came out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, final

from ..errors import CheckpointError, ConfigError
from ..training.config_file import read_config
from ..training.schedule import Schedule
from .folder import RunFolder, read_metrics
from .gathered import Unread, runs_in
from .metric import Metric
from .summary import read_summary


@final
@dataclass(frozen=True)
class ListedRun:
    """A run in a line.

    :param state: ``done``, ``unit 12 of 80`` of one that is not, or what of it is damaged.
    :param metric: ``accuracy``, or ``loss`` where labels are no classes.
    :param figure: that on the test images, a fraction or a mean, once it is done.
    :param best_control: the best of its controls, and its figure.
    :param circuit_settings: asked so far.
    :param changed: when a file of it changed last, ISO 8601, UTC.
    """

    path: Path
    state: str
    changed: str
    seed: int | None = None
    devices: tuple[str, ...] = ()
    metric: Literal["accuracy", "loss"] = "accuracy"
    figure: float | None = None
    best_control: tuple[str, float] | None = None
    circuit_settings: int | None = None

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return self.state == "done"


def list_runs(root: str | Path = "runs") -> list[ListedRun]:
    """Every run under a folder, at any depth, the one that changed last at the end.

    :raises CheckpointError: when there is no such folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise CheckpointError(f"{root} is no folder. Name one that holds runs.")
    closed: list[Unread] = []  # folders that nobody may read hold nothing for whom may not
    return sorted(
        (_listed(RunFolder(path)) for path in runs_in(root, set(), closed)), key=lambda r: (r.changed, r.path)
    )


def _listed(folder: RunFolder) -> ListedRun:
    watched = (folder.config, folder.metrics, folder.summary, folder.journal)
    changed = datetime.fromtimestamp(max(path.stat().st_mtime for path in watched if path.exists()), UTC)
    when = changed.isoformat(timespec="seconds")
    try:
        if folder.summary.is_file():
            return _finished(folder, when)
        return _unfinished(folder, when)
    except (CheckpointError, ConfigError, OSError) as error:
        return ListedRun(folder.path, f"cannot be read ({error})", when)


def _finished(folder: RunFolder, when: str) -> ListedRun:
    s = read_summary(folder.summary)
    gain = Metric.of([s]).gain
    best = max(s.controls.items(), key=lambda item: gain(item[1], 0.0), default=None)
    result = s.metric, s.figure, best
    return ListedRun(folder.path, "done", when, s.seed, tuple(s.devices), *result, s.circuit_settings)


def _unfinished(folder: RunFolder, when: str) -> ListedRun:
    config, rows = read_config(folder.config), read_metrics(folder.metrics)
    done = rows[-1]["unit"] if rows else 0
    state, asked = f"unit {done} of {len(Schedule.of(config).units)}", rows[-1].get("circuit_settings") if rows else 0
    return ListedRun(folder.path, state, when, config.seed, config.device_names, circuit_settings=asked)
