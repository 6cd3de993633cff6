"""Rows, figure and page of a record: everything is there, within its axes, and nothing is loaded from outside."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest

from qpu_sdk.calibration.drift import record_changes
from qpu_sdk.calibration.figures import draw_panels, record_figures
from qpu_sdk.calibration.known import vendor_record
from qpu_sdk.calibration.page import change_rows, job_rows, record_page
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.rendering.text import quantity
from tests.calibration.test_record import IDENTITY, PERFS, example, job, number, pairs
from tests.runs.test_page import NASTY, read


def large(jobs: int = 20) -> CalibrationRecord:
    """24 modes, 12 sources, 66 pairs."""
    inputs = list(range(0, 24, 2))
    values: dict[str, Any] = {
        "modes": 24,
        "input_modes": inputs,
        "input_transmissions": {str(i): number(0.05 + i / 1000, 0.001) for i in inputs},
        "indistinguishability": [{"modes": [j, k], **number(0.9, 0.01)} for j in inputs for k in inputs if j < k],
        "output_efficiencies": [number(1.0 - i / 100, 0.01) for i in range(24)],
        "dark_counts": [number(i * 1e-7, 1e-7, "1/window") for i in range(24)],
        "jobs": [job(f"a setting with a long name {i}", "fit", 4.0 + i) for i in range(jobs)],
    }
    return example(**(pairs() | values))


def vendor() -> CalibrationRecord:
    return vendor_record(PERFS, IDENTITY, utc="2026-03-01T12:00:00Z")


RECORDS = {"example": example, "pairs": lambda: example(**pairs()), "large": large, "vendor": vendor}
RECORDS["no jobs"] = lambda: example(jobs=[])
RECORDS["empty jobs"] = lambda: example(jobs=[job("a", "fit", 0.0, dof=0)])
RECORDS["one source"] = lambda: example(
    **(pairs() | {"input_modes": [1], "input_transmissions": {"1": number(0.1, 0.01)}, "indistinguishability": []}),
    jobs=[],
)


@pytest.mark.parametrize("name", RECORDS)
def test_page_is_well_formed_and_loads_nothing(name: str) -> None:
    text = record_page(RECORDS[name]())
    reader = read(text)
    assert {"table", "svg", "h1"} <= reader.tags
    assert not {"script", "link", "iframe", "img", "object", "embed"} & reader.tags
    assert all(target.startswith(("#", "data:")) for target in reader.loaded)
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)'\"]+)", text))


@pytest.mark.parametrize("name", RECORDS)
def test_every_number_is_drawn_within_its_axes(name: str) -> None:
    record = RECORDS[name]()
    figures = list(draw_panels(record).values())
    for figure in figures:
        figure.draw_without_rendering()  # settles layout and limits
    panels = [figure.axes[0] for figure in figures]
    wanted = {
        0: [record.input_transmissions[mode] for mode in sorted(record.input_transmissions)],
        1: list(record.output_efficiencies),
        2: list(record.dark_counts),
        4: [record.g2],
    }
    for index, measured in wanted.items():
        heights = np.asarray(panels[index].lines[0].get_ydata(), dtype=float)
        np.testing.assert_allclose(heights, [m.value for m in measured])
        low, high = panels[index].get_ylim()
        errors = np.array([m.standard_error or 0.0 for m in measured])
        assert (heights - errors > low).all()
        assert (heights + errors < high).all()
    for figure, axes in zip(figures, panels, strict=True):
        frame = axes.get_tightbbox()
        assert frame is not None
        assert min(frame.x0, frame.y0) >= 0
        assert frame.x1 <= figure.bbox.x1
        assert frame.y1 <= figure.bbox.y1


def test_tick_labels_do_not_overlap() -> None:
    for figure in draw_panels(large()).values():
        figure.draw_without_rendering()
        [axes] = figure.axes
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [label.get_window_extent() for label in labels if label.get_text() and label.get_visible()]
            assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes)), axes.get_title()


def test_chi_squares_are_drawn_by_role() -> None:
    record = example()
    axes = draw_panels(record)["chi-square per degree of freedom"].axes[0]
    drawn = {str(line.get_label()): np.asarray(line.get_xdata()).tolist() for line in axes.lines}
    assert {k: drawn[k] for k in ("fit", "validation", "drift")} == {"fit": [0.9], "validation": [1.2], "drift": [0.6]}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["shift 0", "random 0", "repeat"]


def test_names_are_escaped_and_odd_characters_do_no_harm() -> None:
    odd = "$\\frac{_\u4e2d\U0001f600\n"
    for name in (NASTY, odd):
        record = example(device=name, platform=name, notes=name, jobs=[job(name, "fit", 5.0)])
        text = record_page(record)
        assert "<script>" not in text
        assert "script" not in read(text).tags
        assert name in read(text).text
        for svg in record_figures(record):
            read(svg)


def test_every_figure_is_an_svg_and_pairs_have_one_more() -> None:
    found = list(record_figures(example()))
    assert all(svg.startswith("<svg") and svg.rstrip().endswith("</svg>") for svg in found)
    assert len(list(record_figures(example(**pairs())))) == len(found) + 1


def test_the_origin_is_said_first() -> None:
    assert "Measured on a simulation, not on hardware" in record_page(example())
    assert "Published by the vendor, not measured" in record_page(vendor())
    assert "Measured on the device" in record_page(example(origin="measured", seed=None))


def test_rows_tell_everything() -> None:
    record = example()
    rows = dict(record.rows())
    assert rows["record"] == record.id
    assert rows["g2"] == "0.0200 +- 0.0020"
    assert rows["brightness"] == "1 (fixed)"
    assert rows["dark counts[0]"] == "5.0e-06 +- 1.0e-06 per window"
    assert rows["phase error"] == "0.0100 +- 0.0030 rad"
    assert rows["validation"] == "chi-square 6.0 on 5 degrees of freedom, p = 0.31"
    assert rows["jobs"] == "3 circuits, 3,000 shots"
    assert rows["gauge"] == record.gauge
    assert {name.replace("_", " ") for name in record.measured()} <= set(rows)
    assert dict(vendor().rows())["g2"] == "0.182 (no error given)"
    assert dict(vendor().rows())["fit"] == "not done"
    assert dict(job_rows(record))["random 0 (validation)"].startswith("1,000 shots in 9,000 windows (950 with 1, ")


def test_rows_of_a_comparison() -> None:
    changed = example(g2=number(0.024, 0.002))
    rows = dict(change_rows(record_changes(example(), changed)))
    assert rows["g2"] == "0.02 to 0.024: 0.0040 +- 0.0028, z = 1.41, p = 0.16"
    assert rows["brightness"] == "1 to 1 (fixed in both)"
    assert rows["all together"].startswith("chi-square")
    assert dict(change_rows(record_changes(example(), changed))) == rows
    published = vendor()
    rows = dict(change_rows(record_changes(published, published)))
    assert rows["g2"] == "0.182 to 0.182 (no error to compare with)"
    assert rows["all together"] == "no errors to compare with"


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.0, 1e-6, "0.0e+00 +- 1.0e-06"),
        (123.4, 20.0, "123 +- 20"),
        (123.4, 2.0, "123.4 +- 2.0"),
        (1e-9, 1e-6, "1.0e-09 +- 1.0e-06"),
        (-0.004, 0.0028, "-0.0040 +- 0.0028"),
        (0.5, 0.0996, "0.500 +- 0.100"),
    ],
)
def test_quantities_have_two_digits_of_their_error(value: float, error: float, text: str) -> None:
    assert quantity(value, error) == text


def test_a_record_is_printed_as_a_table() -> None:
    lines = str(vendor()).splitlines()
    assert len(lines) == len(vendor().rows())
    width = lines[0].index(vendor().device)
    assert all(line[:width].strip() and line[width - 1] == " " for line in lines)
    assert "Measured(" not in str(vendor())
