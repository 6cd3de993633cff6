"""Our client meets every row of the fault table: the right result or error, and the right jobs."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("uvicorn")

from tests.devices.cloud.fault_table import ROWS, TOKEN, Row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_our_client_meets_the_row(row: Row) -> None:
    outcome = row.ours()
    assert outcome.unmet == ()
    assert outcome.ok
    assert outcome.jobs == row.jobs
    assert TOKEN not in outcome.text


def test_every_row_is_there_once() -> None:
    assert [row.id for row in ROWS] == [f"F{i}" for i in range(1, 52)]
    assert all(re.fullmatch(r"[^|\n]{5,80}", row.fault) for row in ROWS)
