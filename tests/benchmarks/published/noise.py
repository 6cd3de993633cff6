"""Rows of the table of noise: which figure of it, which value, which method."""

from __future__ import annotations

from qpu_sdk.runs.sweep_result import CellResult
from tests.benchmarks.published.tables import Row, row_of

#: Windows with a click that a source of 80 MHz gives in the seconds that a setting takes anyway; five times at the end.
NOISE_SHOTS = ("training.shots=20_000_000", "spsa.shots=20_000_000", "training.final_shots=100_000_000")


def noise_rows(done: CellResult) -> Row:
    """A row of one run."""
    figure, _, method = str(done.values["cell"]).partition(",")
    axis, _, value = figure.partition("=")
    return {"axis": axis, "value": float(value), "method": method or "auto"} | row_of(done)
