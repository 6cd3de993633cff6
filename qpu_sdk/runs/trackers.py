"""Trackers: who else is told of a run, such as TensorBoard; whatever they do, the run goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, final

from ..errors import ConfigError
from ..files import user_path
from ..words import one_line
from .observer import Observer

log = logging.getLogger(__name__)

_METHODS = ("start", "log", "finish")
#: Of a row, what says where it stands and is no figure.
_PLACES = {"unit", "round", "done", "total", "kind", "control"}


class Tracker(Protocol):
    """Is told of a run (docs/how-to/tracking.md). What it raises is a warning, after which it is told nothing more."""

    def start(self, config: Mapping[str, Any]) -> None:
        """The run begins, or goes on: its configuration, as nested tables."""

    def log(self, row: Mapping[str, Any]) -> None:
        """One more row: of a unit, as in ``metrics.jsonl``, or of an epoch of a ``control``."""

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        """The run is done, and this is ``summary.json``; None where it stopped and can go on."""


@final
class TensorBoard(Tracker):
    """Writes figures where ``tensorboard --logdir FOLDER`` shows them, each kind of unit by itself, over the units.

    :param folder: for its files.
    :raises ConfigError: when tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        path = user_path(folder, "the folder of TensorBoard")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                f"TensorBoard is not installed ({one_line(error, 120)}). Install it with: pip install tensorboard"
            ) from error
        self._open: Callable[[], Any] = partial(SummaryWriter, str(path))

    def start(self, config: Mapping[str, Any]) -> None:
        """Open the files; the configuration is a text."""
        self._writer = self._open()
        self._writer.add_text("configuration", f"```\n{json.dumps(config, indent=1)}\n```")

    def log(self, row: Mapping[str, Any]) -> None:
        """Every figure of a row."""
        kind = f"control {row['control']}" if "control" in row else row["kind"]
        for key, value in row.items():
            if key not in _PLACES and isinstance(value, int | float):
                self._writer.add_scalar(f"{kind}/{key}", value, row["unit"])

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        """Test results, and the end of the files."""
        for key, value in (summary or {}).items():
            if key.startswith(("test_", "train_", "second_test_")) and isinstance(value, float):
                self._writer.add_scalar(f"result/{key}", value)
        self._writer.close()


@final
@dataclass
class _Guarded(Tracker):
    """A tracker that can do no harm."""

    inner: Tracker
    silent: bool = field(default=False, init=False)

    def start(self, config: Mapping[str, Any]) -> None:
        self._told(lambda: self.inner.start(config))

    def log(self, row: Mapping[str, Any]) -> None:
        self._told(lambda: self.inner.log(row))

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        self._told(lambda: self.inner.finish(summary))

    def _told(self, tell: Callable[[], None]) -> None:
        if self.silent:
            return
        try:
            tell()
        except Exception as error:  # it is somebody else's: it may raise anything
            self.silent = True
            log.warning(
                "tracker %s raised %s (%s); it is told nothing more, and the run goes on",
                type(self.inner).__name__,
                type(error).__name__,
                one_line(error, 160),
            )


@final
@dataclass
class Tracked(Observer):
    """Passes a run on to an observer and to trackers.

    :param summary: to be set when there is one.
    """

    observer: Observer | None
    trackers: Sequence[Tracker] = ()
    summary: Mapping[str, Any] | None = None
    _control: str | None = None

    @classmethod
    def by(cls, observer: Observer | None, trackers: Sequence[Tracker], tensorboard: str | Path | None) -> Tracked:
        """Everybody who is told.

        :param tensorboard: folder of :class:`TensorBoard`, None for none.
        :raises ConfigError: for a tracker without the three methods, or TensorBoard that is not installed.
        """
        found = [_checked(one) for one in (trackers if isinstance(trackers, Sequence) else [trackers])]
        found += [] if tensorboard is None else [TensorBoard(tensorboard)]
        return cls(observer, [_Guarded(tracker) for tracker in found])

    @contextmanager
    def telling(self, config: Mapping[str, Any]) -> Iterator[None]:
        """Trackers are told of start and end.

        :param config: of the run, as nested tables.
        """
        for tracker in self.trackers:
            tracker.start(config)
        try:
            yield
        finally:
            for tracker in self.trackers:
                tracker.finish(self.summary)

    def advanced(self, row: Mapping[str, Any], *, done: int, total: int) -> None:
        """One more unit, or an epoch of a control."""
        told = row if self._control is None else {"control": self._control, "unit": done, **row}
        for tracker in self.trackers:
            tracker.log({**told, "done": done, "total": total})
        if self.observer is not None:
            self.observer.advanced(row, done=done, total=total)

    def phase(self, what: str) -> None:
        """A unit begins."""
        if self.observer is not None:
            self.observer.phase(what)

    def stage(self, name: str, *, number: int, of: int) -> None:
        """A control begins."""
        self._control = name
        if self.observer is not None:
            self.observer.stage(name, number=number, of=of)


def _checked(tracker: Tracker) -> Tracker:
    if isinstance(tracker, type) or not all(callable(getattr(tracker, name, None)) for name in _METHODS):
        what = f"the class {tracker.__name__}" if isinstance(tracker, type) else f"a {type(tracker).__name__}"
        raise ConfigError(f"trackers= has {what}, no tracker with {', '.join(_METHODS)}. See docs/how-to/tracking.md.")
    return tracker
