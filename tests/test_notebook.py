"""What objects show of themselves: in a notebook a small table in its colours, elsewhere one line with what counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qpu_sdk as qs
from qpu_sdk.calibration.history import CalibrationHistory
from qpu_sdk.markup import notebook_table
from qpu_sdk.runs.report import report
from qpu_sdk.runs.run import Run
from qpu_sdk.runs.sweep_result import CellResult, Sweep
from tests.browser import browser, needs_chromium
from tests.calibration.test_record import example as record
from tests.runs.test_page import NASTY, read, write_run
from tests.runs.test_summary import example as summary


def program() -> qs.Program:
    return qs.Program.random(qs.IsometryMesh(5, 2), seed=1)


def counts(device: str = "") -> qs.Counts:
    outcomes = np.array([[1, 1, 0, 0, 0], [0, 1, 0, 0, 1], [1, 0, 0, 0, 0]])
    return qs.Counts(
        photons=2, outcomes=outcomes, numbers=np.array([70, 20, 10]), other=5, detector="threshold", device=device
    )


def sweep(folder: Path) -> Sweep:
    cells = (CellResult("a", {"seed": 0, "data": NASTY}, folder, summary()), CellResult("b", {"seed": 1}, folder, None))
    return Sweep(folder, cells)


#: What is shown, with a name of the user's where it has one, and what must be read in it.
SHOWN: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "program": (lambda _: program(), ("isometry", "into modes 0, 1")),
    "counts": (lambda _: counts(NASTY), (NASTY, "|1,1,0,0,0>", "70", "66.67 %", "90 shots show all 2 photons")),
    "distribution": (lambda _: qs.post_select(counts()), ("0.7778", "95 % interval", "90 events in 105 shots")),
    "record": (lambda _: record(device=NASTY), (NASTY, "0.0200 ± 0.0020", "chi-square")),
    "history": (lambda _: CalibrationHistory.of("d", [record(device=NASTY)]), ("first", "nothing to compare")),
    "run": (lambda folder: Run(folder / NASTY.replace("/", "|"), summary()), (NASTY.replace("/", "|"), "12 in 6 jobs")),
    "report": (lambda folder: report(write_run(folder / "run").path), ("report.html",)),
    "sweep": (sweep, (NASTY, "0 of 1")),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_shows_a_small_escaped_table_in_its_own_colours(name: str, tmp_path: Path) -> None:
    make, texts = SHOWN[name]
    shown = make(tmp_path)._repr_html_()
    reader = read(shown)
    assert reader.tags <= {"div", "b", "table", "tr", "td", "th"}
    assert all(text in reader.text for text in texts), reader.text
    assert shown.count("<tr>") <= 20
    colours = set(re.findall(r"(?<!-)(?:color|background): ([^;\"]+)", shown))
    assert colours <= {"inherit", "none"}


@pytest.mark.parametrize("name", SHOWN)
def test_a_line_of_it_has_no_address_and_no_dump(name: str, tmp_path: Path) -> None:
    line = repr(SHOWN[name][0](tmp_path))
    assert " object at 0x" not in line
    assert "\n" not in line
    assert len(line) < 300
    assert line.startswith(type(SHOWN[name][0](tmp_path / "again")).__name__)


def test_numbers_stand_in_the_line() -> None:
    assert repr(counts("lab")) == "Counts(105 shots of 2 photons in 5 modes, 90 events, threshold, 'lab')"
    assert repr(qs.post_select(counts())).startswith("Distribution({0,1: 0.7778, 1,4: 0.2222, 0,2: 0.0000, ...}, 10")


def test_a_job_says_which_it_is() -> None:
    job = qs.open_device("local:slos", seed=1).submit([program()], shots=10)
    assert repr(job) == f"LocalJob({job.id!r})"


def test_counts_of_nothing_are_shown() -> None:
    empty = qs.Counts(photons=1, outcomes=np.zeros((0, 2)), numbers=np.zeros(0, dtype=int))
    assert "0 shots" in read(empty._repr_html_()).text


@needs_chromium
@pytest.mark.parametrize("ground", ["white", "#111"])
def test_a_narrow_notebook_is_not_made_wider(ground: str, tmp_path: Path) -> None:
    """And its text is of the colour that is there."""
    ink = "rgb(1, 2, 3)" if ground == "white" else "rgb(250, 251, 252)"
    wide = notebook_table("t", [("x" * 200, "y" * 200)] * 3, head=("a", "b"))
    parts = [make(tmp_path / name)._repr_html_() for name, (make, _) in SHOWN.items()]
    body = "".join([*parts, wide, program().draw()._repr_html_()])
    text = f'<!doctype html><body style="margin: 0; background: {ground}; color: {ink}">{body}</body>'
    (tmp_path / "notebook.html").write_text(text, encoding="utf-8")
    with browser(tmp_path / "profile") as page:
        page.open((tmp_path / "notebook.html").as_uri(), width=600)
        page.wait("document.readyState == 'complete' && document.querySelectorAll('table').length > 5")
        assert page.value("document.documentElement.scrollWidth") <= 600
        colours = page.value("[...new Set([...document.querySelectorAll('td')].map(e => getComputedStyle(e).color))]")
        assert colours == [ink]
