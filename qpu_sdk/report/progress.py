"""A progress bar for runs: loss, accuracy, settings, shots and the time left."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, final

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


@final
class Progress:
    """Shows a run advance on a console; on a console that is no terminal, one line every tenth of the work.

    :param quiet: show nothing.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console, self._quiet = console, quiet
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[news]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._stage = "training"
        self._task = self._bars.add_task(self._stage, total=None, news="")
        self._last: dict[str, Any] = {}
        self._tenth = 0

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def stage(self, name: str) -> None:
        """Begin another bar."""
        self._stage, self._last, self._tenth = f"control {name}", {}, 0
        self._task = self._bars.add_task(self._stage, total=None, news="")

    def advanced(self, row: Mapping[str, Any], *, done: int, total: int) -> None:
        """Show one more unit."""
        self._last |= row
        news = self._news()
        self._bars.update(self._task, completed=done, total=total, news=news)
        tenth = 10 * done // total
        if not self._quiet and not self._console.is_terminal and tenth > self._tenth:
            self._tenth = tenth
            self._console.print(f"{self._stage} {10 * tenth} %  {news}", highlight=False, soft_wrap=True)

    def _news(self) -> str:
        row, parts = self._last, []
        if "loss" in row:
            parts.append(f"loss {row['loss']:.3f}")
        if "accuracy" in row:
            parts.append(f"accuracy {100 * row['accuracy']:.1f} %")
        if "circuit_settings" in row:
            parts.append(f"{row['circuit_settings']} settings, {row['shots'] / 1e6:.1f}M shots")
        return "  ".join(parts)
