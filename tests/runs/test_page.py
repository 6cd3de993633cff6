"""The page of a run: one file, well formed, with the result and nothing from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from qpu_sdk.report.text import percent
from qpu_sdk.runs.page import run_page, training_curve
from qpu_sdk.runs.tables import summary_rows
from qpu_sdk.training.config import RunConfig
from tests.runs.test_summary import example

VOID = {"meta", "br", "link", "img", "hr", "input"}
LOADING = {"src", "href", "xlink:href", "data", "action", "poster", "srcset"}
NASTY = '<script>alert("1")</script>&amp;'


class Reader(HTMLParser):
    """Collects text, tags and whatever a browser would load; checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.loaded: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [value or "" for name, value in attrs if name in LOADING]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [value or "" for name, value in attrs if name in LOADING]

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def rows() -> list[dict[str, Any]]:
    fits = [{"unit": u, "kind": "fit", "round": 0, "loss": 2.0 / u, "accuracy": u / 10} for u in range(2, 6)]
    spsa = [{"unit": u, "kind": "spsa", "round": 0, "loss": 0.5} for u in (6, 7)]
    return [{"unit": 1, "kind": "measure", "round": 0, "samples": [1, 2]}, *fits, *spsa]


def page(name: str = "run", config: str = "", **changes: Any) -> str:
    return run_page(name, example(**changes), rows(), config or RunConfig().to_toml())


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader


def test_page_is_well_formed_and_holds_the_result() -> None:
    reader = read(page(test_accuracy=0.8765))
    assert "87.7 %" in reader.text or "87.6 %" in reader.text
    assert "6,690" in reader.text
    assert {"table", "svg", "h1", "pre"} <= reader.tags


def test_page_loads_nothing() -> None:
    text = page()
    reader = read(text)
    assert all(target.startswith(("#", "data:")) for target in reader.loaded)
    assert not {"script", "link", "iframe", "img", "object", "embed"} & reader.tags
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)'\"]+)", text))
    assert "@import" not in text


def test_names_are_escaped() -> None:
    text = page(name=NASTY, config=f'device = "{NASTY}"', devices=[NASTY], data=NASTY)
    reader = read(text)
    assert "script" not in reader.tags
    assert "<script>" not in text
    assert reader.text.count(NASTY) >= 4


def test_controls_stand_beside_the_result() -> None:
    reader = read(page(controls={"constant": 0.4321}, control_parameters={"constant": 77}))
    assert "control: p constant (77)" in reader.text
    assert "43.2 %" in reader.text


def test_rows_tell_everything_a_reader_needs() -> None:
    table = dict(summary_rows(example(validation_accuracy=0.5)))
    assert table["validation accuracy"] == "50.0 %"
    assert table["circuit settings"] == "12 in 6 jobs"
    assert table["shots"] == "12,000"
    assert table["trainable parameters"].startswith("30 = 10 phases + 20 generator")
    assert "validation accuracy" not in dict(summary_rows(example()))


def test_parameters_not_counted_are_said_to_be() -> None:
    trained = {"phases": 1, "generator": 2, "total": 3}
    assert dict(summary_rows(example(trainable_parameters=trained)))["identifiable of these"] == "not computed"


@pytest.mark.parametrize(("fraction", "text"), [(0.0, "0.0 %"), (1.0, "100.0 %"), (0.12349, "12.3 %")])
def test_percent(fraction: float, text: str) -> None:
    assert percent(fraction) == text


@pytest.mark.parametrize("kinds", [("fit",), ("spsa", "fit"), ("warm-start", "fit")])
def test_curve_is_one_svg(kinds: tuple[str, ...]) -> None:
    curve = [{"unit": i, "kind": k, "loss": 1.0, "accuracy": 0.5} for i, k in enumerate(kinds * 2, start=1)]
    svg = training_curve(curve)
    assert svg.startswith("<svg")
    assert svg.rstrip().endswith("</svg>")
    read(svg)


def test_one_unit_is_enough_for_a_curve() -> None:
    read(training_curve([{"unit": 1, "kind": "fit", "loss": 0.5, "accuracy": 1.0}]))
