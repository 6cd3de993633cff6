"""``python -m tests.benchmarks.pictures [NAME ...]``: the pictures of the pages, docs/pictures/*.svg, by the SDK.

Their colours follow the reader's choice of light or dark, with a ground of their own, so that they can be read on any
page. ``training`` trains the default configuration, a minute or a few; the others take seconds.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import qpu_sdk as qs
from qpu_sdk.mitigation.page import distribution_figure
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.rendering.figures import NARROW, svg
from qpu_sdk.rendering.html import STYLE
from qpu_sdk.runs.figures import training_curves
from qpu_sdk.runs.mesh_drawing import draw_mesh
from qpu_sdk.runs.paired import MeanInterval

from .pages import ROOT
from .published.tables import groups, read

FOLDER = ROOT / "docs" / "pictures"
#: What of the style of pages is about colours: the variables, in the light and in the dark.
_COLOURS = STYLE[: STYLE.index("html {")]
_CONTROLS = {
    "frozen_random": "p frozen at random",
    "constant": "p constant",
    "random_subspace": "random subspace",
    "small_network": "small network",
}
#: Cells of the tables, and what they are called here.
_RUNS = {"chi=4": "688 numbers", "tapered, r = 8": "657 numbers", "chi=10": "3,292 numbers"}


def standing_alone(drawn: str) -> str:
    """An SVG of a page as a file of its own, with the colours of pages and their ground."""
    rules = f"{_COLOURS} svg {{ background: var(--paper); fill: var(--ink) }}"
    return re.sub(r"(<svg[^>]*>)", rf"\1<style>{' '.join(rules.split())}</style>", drawn, count=1) + "\n"


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#b0b0b0", linewidth=0.4)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def mesh() -> str:
    """An interferometer of six modes into which three photons are sent."""
    return draw_mesh(qs.Program.random(qs.IsometryMesh(modes=6, photons=3), seed=1))


def training() -> str:
    """The loss of the default run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        qs.train(qs.load_config(ROOT / "examples" / "lean.toml", overrides=["seed=1", "training.threads=1"]), out)
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return training_curves("the default run", [rows])[0]


def _noisy() -> tuple[qs.Program, qs.CalibrationRecord, Counts]:
    program = qs.Program.random(qs.IsometryMesh(modes=6, photons=3), seed=1)
    device = qs.open_device("local:slos?transmittance=0.1&indistinguishability=0.9&g2=0.02", seed=1)
    record = qs.calibrate(device, modes=6, inputs=program.input_modes, shots=1_000_000, seed=0)
    return program, record, device.run(program, shots=1_000_000)


def mitigation() -> str:
    """Raw and mitigated probabilities, as ``Distribution.plot`` draws them."""
    program, record, counts = _noisy()
    return distribution_figure(qs.mitigate(counts, record, program=program, seed=0))


def clicks() -> str:
    """How many shots have how many clicks."""
    _, _, counts = _noisy()
    classes = np.minimum(counts.outcomes, 1).sum(axis=1)
    shots = [int(counts.numbers[classes == n].sum()) for n in range(1, int(classes.max()) + 1)]
    one = Figure(figsize=(NARROW, 2.4), layout="constrained")
    axes = one.subplots()
    axes.bar(range(1, len(shots) + 1), shots, color="tab:blue", width=0.6)
    axes.set_yscale("log")
    axes.set(xlabel="modes that clicked", ylabel="shots of a million", xticks=range(1, len(shots) + 1))
    axes.set_ylim(0.5, 4e6)
    for clicked, number in enumerate(shots, start=1):
        axes.text(clicked, max(number, 0.5) * 1.25, f"{number:,}", ha="center", fontsize=8)
    _plain(axes)
    return svg(one, title="Shots by the number of modes that clicked")


def events() -> str:
    """The chance that a shot shows all of its photons, by transmittance: docs/explanation/scarce-settings.md."""
    eta = np.geomspace(0.01, 1.0, 200)
    one = Figure(figsize=(NARROW, 3.0), layout="constrained")
    axes = one.subplots()
    for photons, colour in zip((2, 3, 4, 5), ("tab:blue", "tab:green", "tab:orange", "tab:red"), strict=True):
        axes.loglog(eta, eta**photons / (1 - (1 - eta) ** photons), color=colour, label=f"{photons} photons")
    axes.set(xlabel="chance that a photon is detected", ylabel="chance that a shot shows all")
    axes.legend(frameon=False, fontsize=8)
    _plain(axes)
    return svg(one, title="Events among shots, by the chance that a photon is detected")


def controls() -> str:
    """Trained circuits minus each control, from docs/results/bond.json and lean.json."""
    found: Any = {"rows": [row for name in ("bond", "lean") for row in (read(name) or {})["rows"]]}
    rows = [
        (f"{said}: {spoken}", group.minus(name, "second_controls", "second"))
        for start, said in _RUNS.items()
        for name, spoken in _CONTROLS.items()
        for cell, group in groups(found).items()
        if cell in (start, f"{start} compression")
    ]
    known: list[tuple[str, MeanInterval]] = [(label, one) for label, one in rows if one is not None]
    drawn = Figure(figsize=(NARROW + 1.2, 0.8 + 0.24 * len(known)), layout="constrained")
    axes = drawn.subplots()
    for y, (_, one) in enumerate(known):
        assert one.low is not None
        assert one.high is not None
        axes.plot([one.low, one.high], [y, y], color="tab:blue", linewidth=1.4)
        axes.plot([one.mean], [y], "o", color="tab:blue", markersize=5)
    axes.axvline(0.0, color="#000000", linewidth=0.8)
    axes.set_yticks(range(len(known)), [label for label, _ in known])
    axes.set_ylim(len(known) - 0.4, -0.6)
    axes.set_xlabel("trained circuits minus this, points\n(10,000 test images; lines are 95 % intervals)")
    _plain(axes)
    return svg(drawn, title="Trained circuits minus their controls")


PICTURES: dict[str, Callable[[], str]] = {
    "mesh": mesh,
    "training": training,
    "mitigation": mitigation,
    "clicks": clicks,
    "events": events,
    "controls": controls,
}


def main(names: list[str]) -> None:
    """Draw those that are named, or all."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or PICTURES:
        (FOLDER / f"{name}.svg").write_text(standing_alone(PICTURES[name]()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
