"""Rows of the table of circuits: how many, of how many photons."""

from __future__ import annotations

import math

from qpu_sdk.runs.folder import RunFolder
from qpu_sdk.runs.sweep_result import CellResult
from qpu_sdk.training.config_file import read_config
from tests.benchmarks.published.tables import Row, row_of


def circuit_rows(done: CellResult) -> Row:
    """A row of one run."""
    qnns = read_config(RunFolder(done.path).config).qnn
    return {
        "qnns": len(qnns),
        "photons": qnns[0].photons,
        "modes": ", ".join(str(qnn.modes) for qnn in qnns),
        "outcomes": math.prod(math.comb(qnn.modes, qnn.photons) for qnn in qnns),
    } | row_of(done)
