"""What came of a sweep."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from ..markup import Html, notebook_table
from ..rendering.text import number_of, typeset
from .metric import Metric
from .paired import decides
from .summary import RunSummary, read_summary
from .sweep_folder import SweepFolder


@final
@dataclass(frozen=True)
class CellResult:
    """A cell of a sweep.

    :param path: of its run, which may be that of a cell with an equal configuration.
    :param summary: None for one that is not done.
    :param error: why it failed; "" for one that did not, or waits.
    """

    name: str
    values: Mapping[str, Any]
    path: Path
    summary: RunSummary | None = field(repr=False)
    error: str = ""


@final
@dataclass(frozen=True, repr=False)
class Sweep:
    """The runs of a sweep, in the order in which they were asked for."""

    path: Path
    cells: tuple[CellResult, ...]

    @classmethod
    def load(cls, out: str | Path) -> Sweep:
        """Of a folder; raises :class:`CheckpointError` when it holds no sweep, or a summary is damaged."""
        folder = SweepFolder.of(out)
        cells = []
        for entry in folder.entries():
            run = folder.run(entry.same_as or entry.name)
            summary = read_summary(run.summary) if run.summary.is_file() else None
            cells.append(CellResult(entry.name, entry.values, run.path, summary, entry.error))
        return cls(folder.path, tuple(cells))

    @property
    def failed(self) -> tuple[CellResult, ...]:
        """Cells that failed twice."""
        return tuple(cell for cell in self.cells if cell.error and cell.summary is None)

    def rows(self) -> list[list[str]]:
        """A head and a row for each combination of values but the seed: mean and spread (ddof = 1) over its seeds."""
        groups: dict[str, list[CellResult]] = {}
        for cell in self.cells:
            told = {key: value for key, value in cell.values.items() if key != "seed"}
            groups.setdefault(json.dumps(told), []).append(cell)
        keys = list(dict.fromkeys(key for cell in self.cells for key in cell.values if key != "seed"))
        losses = any(cell.summary is not None and cell.summary.metric == "loss" for cell in self.cells)
        unit = "loss" if losses else "%"
        rows = [[*keys, "seeds", "parameters", "settings", f"test {unit}", f"control of these, best {unit}"]]
        for cells in groups.values():
            values = cells[0].values
            rows.append([*(_text(values.get(key, "")) for key in keys), *_figures(cells)])
        return rows

    def __repr__(self) -> str:
        done = sum(cell.summary is not None for cell in self.cells)
        return f"Sweep({str(self.path)!r}, {done} of {number_of(len(self.cells), 'cell')} done)"

    def _repr_html_(self) -> Html:
        head, *rows = typeset(self.rows())
        failed = ", ".join(cell.name for cell in self.failed)
        return notebook_table(f"Sweep {self.path.name}", rows, head=head, note=f"failed: {failed}" if failed else "")

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines += [f"{cell.name}: failed: {cell.error}" for cell in self.failed]
        return "\n".join(lines)


def _figures(cells: list[CellResult]) -> list[str]:
    done = [cell.summary for cell in cells if cell.summary is not None]
    seeds = f"{len(done)}" if len(done) == len(cells) else f"{len(done)} of {len(cells)}"
    if not done:
        return [seeds, "", "", "", ""]
    first = done[0]
    names = {name for summary in done for name in summary.controls if decides(summary, name)}
    metric = Metric.of(done)
    scale = metric.scale
    means = {name: _mean([scale * s.controls[name] for s in done if name in s.controls]) for name in names}
    best = max(means, key=lambda name: metric.gain(means[name][0], 0.0), default=None)
    told = "" if best is None else f"{_spread(*means[best])} ({best.replace('_', ' ')})"
    accuracy = _spread(*_mean([scale * summary.figure for summary in done]))
    return [seeds, f"{first.trainable_parameters.total:,}", f"{first.circuit_settings:,}", accuracy, told]


def _mean(values: list[float]) -> tuple[float, float | None]:
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None


def _spread(mean: float, deviation: float | None) -> str:
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} +- {deviation:.2f}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
