"""Who sees a run advance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final


class Observer(Protocol):
    """Sees a run advance; it cannot change it."""

    def advanced(self, row: Mapping[str, Any], *, done: int, total: int) -> None:
        """One more unit is done; ``row`` is what metrics.jsonl got."""

    def phase(self, what: str) -> None:
        """A unit begins, which is of this phase: ``round 1/4, SPSA step 3/5``."""

    def stage(self, name: str, *, number: int, of: int) -> None:
        """Something else than training begins: a control, the so manieth of so many."""


@final
@dataclass(frozen=True)
class _Calls(Observer):
    """Passes every row to a function."""

    on_progress: Callable[[Mapping[str, Any]], None]

    def advanced(self, row: Mapping[str, Any], *, done: int, total: int) -> None:
        self.on_progress({**row, "done": done, "total": total})

    def phase(self, what: str) -> None:
        pass

    def stage(self, name: str, *, number: int, of: int) -> None:
        pass


def watched(observer: Observer | None, on_progress: Callable[[Mapping[str, Any]], None] | None) -> Observer | None:
    """The observer, or one that passes rows to a function; None for neither."""
    return _Calls(on_progress) if observer is None and on_progress is not None else observer
