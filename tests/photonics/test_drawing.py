"""Programs as Perceval draws them: every phase is there, the terminal's and the notebook's, and nothing is opened."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from qpu_sdk.errors import ConfigError, DataError
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh
from qpu_sdk.photonics.program import Program
from tests.runs.test_page import read

PROGRAMS = {
    "isometry": Program.random(IsometryMesh(5, 2), seed=1),
    "rectangular": Program.random(RectangularMesh(3), photons=2, seed=2),
    "brickwall": Program.random(BrickwallMesh(4), photons=2, seed=3),
}


def phases(program: Program) -> set[str]:
    """Those that light meets, to the three digits that Perceval writes, but for those that are 0."""
    slots = {slot for gate in program.mesh.gates for slot in gate.slots} | set(program.mesh.input_phases)
    return {f"{program.phases[slot]:.3f}".rstrip("0").rstrip(".") for slot in slots}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_text_has_every_phase_and_the_photons(name: str) -> None:
    program = PROGRAMS[name]
    text = str(program.draw())
    assert text.startswith(f"photons enter modes {', '.join(map(str, program.input_modes))}\n")
    assert phases(program) <= set(re.findall(r"(?:phi|theta)=([\d.]+)", text))
    assert [line[0] for line in text.splitlines() if line[0].isdigit()] == [str(k) for k in range(program.modes)]
    assert repr(program.draw()) == text  # which a terminal shows


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_notebook_sees_a_drawing_in_its_own_colours(name: str) -> None:
    program = PROGRAMS[name]
    shown = program.draw()._repr_html_()
    reader = read(shown)
    assert {"svg", "path", "text"} <= reader.tags
    assert not {"script", "img", "iframe"} & reader.tags
    found = [float(number) for number in re.findall(r"(?:Φ|Θ)=(-?[\d.]+)", reader.text)]
    assert all(np.isclose(found, float(phase), atol=1e-3).any() for phase in phases(program))
    assert '"black"' not in shown
    assert "currentColor" in shown


def test_drawing_touches_no_figures_of_others() -> None:
    from matplotlib import pyplot

    before, backend = pyplot.get_fignums(), matplotlib.get_backend()
    settings = dict(matplotlib.rcParams)
    for kind in ("text", "svg", "html", "latex"):
        assert str(PROGRAMS["isometry"].draw(kind))
    assert pyplot.get_fignums() == before
    assert (matplotlib.get_backend(), dict(matplotlib.rcParams)) == (backend, settings)


@pytest.mark.parametrize(
    ("suffix", "begin"), [(".txt", "photons"), (".svg", "<svg"), (".html", "<div"), (".tex", "\\")]
)
def test_files_are_what_their_suffix_says(tmp_path: Path, suffix: str, begin: str) -> None:
    PROGRAMS["brickwall"].draw().save(tmp_path / f"circuit{suffix}")
    assert (tmp_path / f"circuit{suffix}").read_text(encoding="utf-8").lstrip().startswith(begin)


def test_what_cannot_be_drawn_is_one_line(tmp_path: Path) -> None:
    drawing = PROGRAMS["brickwall"].draw()
    with pytest.raises(ConfigError, match=r"format is 'png'. Use one of text, svg, html, latex"):
        PROGRAMS["brickwall"].draw("png")
    with pytest.raises(DataError, match=r"\.png is no kind of drawing"):
        drawing.save(tmp_path / "circuit.png")
    with pytest.raises(DataError, match="cannot write"):
        drawing.save("/proc/nowhere/a.svg")
