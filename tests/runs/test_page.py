"""The page of a run: one file, well formed, with the result and nothing from outside."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qpu_sdk.photonics.interferometer import Mesh
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh
from qpu_sdk.photonics.program import Program
from qpu_sdk.rendering.text import percent
from qpu_sdk.runs.figures import training_curves
from qpu_sdk.runs.folder import RunFolder
from qpu_sdk.runs.mesh_drawing import draw_mesh
from qpu_sdk.runs.page import run_page
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


def write_run(folder: Path, config: str | None = None, **changes: Any) -> RunFolder:
    """A folder as a finished run without journal and checkpoint leaves it."""
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    seed = int(changes.get("seed", 0))
    run.config.write_text(RunConfig(seed=seed).to_toml() if config is None else config, encoding="utf-8")
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    run.summary.write_text(example(**changes).model_dump_json())
    return run


def page(folder: Path, name: str = "run", config: str | None = None, **changes: Any) -> str:
    return run_page(name, write_run(folder / "run", config, **changes), example(**changes))


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader


def test_page_is_well_formed_and_holds_the_result(tmp_path: Path) -> None:
    reader = read(page(tmp_path, test_accuracy=0.8765))
    assert "87.7 %" in reader.text or "87.6 %" in reader.text
    assert "6,690" in reader.text
    assert {"table", "svg", "h1", "pre"} <= reader.tags


def test_page_loads_nothing(tmp_path: Path) -> None:
    text = page(tmp_path)
    reader = read(text)
    assert all(target.startswith(("#", "data:")) for target in reader.loaded)
    assert not {"script", "link", "iframe", "img", "object", "embed"} & reader.tags
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)'\"]+)", text))
    assert "@import" not in text


def test_names_are_escaped(tmp_path: Path) -> None:
    text = page(tmp_path, name=NASTY, config=f'device = "{NASTY}"', devices=[NASTY], data=NASTY)
    reader = read(text)
    assert "script" not in reader.tags
    assert "<script>" not in text
    assert reader.text.count(NASTY) >= 4


def test_controls_stand_beside_the_result(tmp_path: Path) -> None:
    controls = {"constant": 0.4321, "of_tomorrow": 0.5}
    reader = read(page(tmp_path, controls=controls, control_parameters={"constant": 77}))
    assert "p constant (77)" in reader.text
    assert "43.2 %" in reader.text
    assert "of tomorrow" in reader.text  # a control that this release does not know


def test_colours_are_the_pages_own_in_the_light_and_in_the_dark(tmp_path: Path) -> None:
    """No figure brings a ground of its own, and every colour of text and lines has another in the dark."""
    text = page(tmp_path, controls={"constant": 0.4})
    assert "color-scheme: light dark" in text
    assert "prefers-color-scheme: dark" in text
    body = text[text.index("<body>") :]
    fixed = re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", body)
    assert fixed == []
    named = set(re.findall(r"var\(--(\w+)", body))
    light, dark = text.split("prefers-color-scheme: dark")
    assert named
    assert all(f"--{name}:" in light and f"--{name}:" in dark[: dark.index("body {")] for name in named)


def test_every_figure_says_what_it_is(tmp_path: Path) -> None:
    found = re.findall(r"<svg [^>]*>", page(tmp_path, controls={"constant": 0.4}))
    assert len(found) >= 3
    labels = [re.search(r'role="img" aria-label="([^"]+)"', one) for one in found]
    assert all(labels)
    assert len({one[1] for one in labels if one}) == len(found)


def test_no_figure_refers_to_another(tmp_path: Path) -> None:
    """What is folded away is not drawn, and what refers to it would vanish."""
    text = page(tmp_path, controls={"constant": 0.4})
    figures = re.findall(r"<svg .*?</svg>", text, flags=re.DOTALL)
    ids = [set(re.findall(r' id="([^"]+)"', one)) for one in figures]
    assert all(not a & b for i, a in enumerate(ids) for b in ids[:i])
    for one, own in zip(figures, ids, strict=True):
        assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', one)) <= own


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
@pytest.mark.parametrize("seeds", [1, 3])
def test_curves_are_two_svgs(kinds: tuple[str, ...], seeds: int) -> None:
    curve = [{"unit": i, "epoch": i, "kind": k, "loss": 1.0, "accuracy": 0.5} for i, k in enumerate(kinds * 2, start=1)]
    found = training_curves("run", [curve] * seeds)
    assert len(found) == 2
    for svg in found:
        assert svg.startswith("<svg")
        assert svg.rstrip().endswith("</svg>")
        read(svg)


@pytest.mark.parametrize(
    "row", [{"loss": 0.5, "accuracy": 1.0}, {"loss": None}, {"loss": float("nan"), "accuracy": "?"}, {"loss": 1.0}]
)
def test_one_unit_is_enough_for_a_curve_whatever_it_holds(row: dict[str, Any]) -> None:
    for svg in training_curves("run", [[{"unit": 1, "kind": "fit", **row}]]):
        read(svg)


@pytest.mark.parametrize(
    ("mesh", "gates"), [(IsometryMesh(9, 4), 26), (RectangularMesh(20), 190), (BrickwallMesh(20), 181)]
)
def test_an_interferometer_is_drawn_gate_by_gate(mesh: Mesh, gates: int) -> None:
    program = Program.random(mesh, photons=4, seed=1)
    svg = draw_mesh(program)
    read(svg)
    assert svg.count('class="gate"') == len(mesh.gates) == gates
    assert svg.count("one photon") == 4
    phases = {f"{phase % (2 * np.pi) / np.pi:.3f} pi" for g in mesh.gates for phase in program.phases[list(g.slots)]}
    assert all(phase in svg for phase in phases)
    width = float(re.search(r'width="(\d+)"', svg)[1])  # type: ignore[index]
    assert all(float(x) < width for x in re.findall(r' x="([\d.]+)"', svg))


def test_what_crosses_over_is_what_the_light_does() -> None:
    """At a Mach-Zehnder interferometer theta = pi crosses nothing, at a beam splitter everything."""
    for mesh, share in ((RectangularMesh(2), "0 % crosses"), (BrickwallMesh(2), "100 % crosses")):
        phases = np.zeros(mesh.declared)
        phases[mesh.gates[0].theta] = np.pi
        assert f" {share}" in draw_mesh(Program(mesh, phases, (0,)))
        assert abs(mesh.unitary(phases)[1, 0]) ** 2 == pytest.approx(float(share.partition(" ")[0]) / 100)


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_stretch_of_one_point_is_drawn(seeds: int) -> None:
    rows = [{"unit": 1, "epoch": 1, "kind": "fit", "round": 0, "loss": 1.0, "accuracy": 0.5}]
    for svg in training_curves("run", [rows] * seeds):
        assert re.search(r"<use [^>]*var\(--orange", svg)  # a marker, and no tick of an axis
