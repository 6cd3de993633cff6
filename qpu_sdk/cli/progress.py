"""A progress bar for runs: what they are at, loss, accuracy, settings, shots, and the times so far and left."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from types import TracebackType
from typing import Any, final

from rich.console import Console, RenderableType
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from ..words import printable
from .printing import plain

#: Columns of a terminal from which phase, loss and accuracy stand beside the bar, from which the time so far does, and
#: from which a name and the time left do: narrower ones have the bar alone.
WIDE, NARROW, NARROWEST = 200, 60, 36
_SDK = logging.getLogger("qpu_sdk")


@final
class Progress:
    """Shows a run advance on a console; where nothing can be drawn over, one line every tenth of the work.

    :param quiet: show nothing.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console, self._quiet = console, quiet
        self._live = _can_be_drawn_over(console)
        self._bars = _Bars(console=console, disable=quiet or not self._live)  # else advanced() prints lines
        self._stage, self._phase = "training", ""
        self._task = self._bars.add_task(self._stage, total=None, phase="", news="", said="")
        self._last: dict[str, Any] = {}
        self._level = logging.NOTSET
        self._tenth = 0
        self._handler = _Said(self)

    def __enter__(self) -> Progress:
        self._bars.start()
        _SDK.addHandler(self._handler)
        self._level = _SDK.level
        _SDK.setLevel(logging.INFO)  # unset, it has the root's WARNING, and nothing is told
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _SDK.removeHandler(self._handler)
        _SDK.setLevel(self._level)
        self._bars.stop()

    def said(self, text: str, *, warning: bool) -> None:
        """What a device has to tell: on a terminal below the bar, elsewhere and for warnings a line."""
        if warning or not self._live:
            if warning or not self._quiet:
                self._line(text)
        else:
            self._bars.update(self._task, said=text)

    def _line(self, text: str) -> None:
        self._console.print(plain(text), soft_wrap=True)

    def phase(self, what: str) -> None:
        """Say what is done now."""
        self._phase = printable(what)
        self._bars.update(self._task, phase=self._phase)

    def stage(self, name: str, *, number: int, of: int) -> None:
        """Begin another bar."""
        self._stage, self._phase, self._last, self._tenth = f"control {number}/{of}", printable(name), {}, 0
        self._task = self._bars.add_task(self._stage, total=None, phase=self._phase, news="", said="")

    def advanced(self, row: Mapping[str, Any], *, done: int, total: int) -> None:
        """Show one more unit."""
        self._last |= row
        news = self._news()
        self._bars.update(self._task, completed=done, total=total, news=news)
        tenth = 10 * done // total
        if not self._quiet and not self._live and tenth > self._tenth:
            self._tenth = tenth
            self._line("  ".join(part for part in (f"{self._stage} {10 * tenth} %", self._phase, news) if part))

    def _news(self) -> str:
        row, parts = self._last, []
        if "loss" in row:
            parts.append(f"loss {row['loss']:.3f}")
        if "accuracy" in row:
            parts.append(f"accuracy {100 * row['accuracy']:.1f} %")
        if "circuit_settings" in row:
            parts.append(f"{row['circuit_settings']} settings, {row['shots'] / 1e6:.1f}M shots")
        return "  ".join(parts)


@final
class _Bars(Bars):
    """Bar and times in whatever width there is; what has no room beside them stands below, cut."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, and lines of text below."""
        if not self.tasks:  # not yet: there is no console either
            return
        width, fields = self.console.width, self.tasks[-1].fields
        self.columns = tuple(_columns(width))
        yield self.make_tasks_table(self.tasks)
        now = "  ".join(text for text in (fields["phase"], fields["news"]) if text)
        lines = [(now, ""), (fields["said"], "dim")]
        for text, style in lines[1:] if width >= WIDE else lines:
            if text:
                line = plain(text)
                line.style, line.no_wrap, line.overflow = style, True, "ellipsis"
                yield line


def _columns(width: int) -> list[ProgressColumn]:
    """Of a terminal that is so wide."""
    if width < NARROWEST:
        return [BarColumn(bar_width=None)]
    wide = width >= WIDE
    return [
        _text(
            "{task.description}",
            Column(no_wrap=True, overflow="ellipsis", max_width=None if wide else max(width // 4, 12)),
        ),
        BarColumn(bar_width=min(width // 4, 30)),
        *([_text("{task.fields[phase]}  {task.fields[news]}")] if wide else []),
        *([TimeElapsedColumn(), _text("elapsed")] if width >= NARROW else []),
        _TimeLeft(),
    ]


@final
class _TimeLeft(TimeRemainingColumn):
    """The time left and its label, neither before there is a guess."""

    def render(self, task: Task) -> Text:
        """Of one bar."""
        found = super().render(task)
        return Text(f"{found.plain} left", style=found.style) if found.plain else found


def _can_be_drawn_over(console: Console) -> bool:
    """Whether what was printed can be changed: in a terminal that is not dumb, and in a notebook that has widgets."""
    if console.is_jupyter:
        return find_spec("ipywidgets") is not None
    return console.is_terminal and not console.is_dumb_terminal


@final
class _Said(logging.Handler):
    """Passes on what the SDK logs: devices, and what is missing to mitigate."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.INFO)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        self._progress.said(record.getMessage(), warning=record.levelno >= logging.WARNING)


def _text(template: str, column: Column | None = None) -> TextColumn:
    """A column in which [bold] is six characters, and a server's [/x] ends no run."""
    return TextColumn(template, markup=False, table_column=column)
