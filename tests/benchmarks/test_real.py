"""The command for real counts reads its files; these are simulated, and written as others wrote theirs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.photonics.meshes import RectangularMesh
from qpu_sdk.photonics.program import Program
from tests.benchmarks.mismatch import ROWS, Task, tasks_of
from tests.benchmarks.real import PUBLISHED, Job, judge, table
from tests.oracles.unitaries import haar


@pytest.fixture
def job(tmp_path: Path) -> Job:
    pairs = [[i, j] for i in range(4) for j in range(i + 1, 4)]
    settings = []
    for seed in range(3):
        unitary, mesh = haar(4, seed), RectangularMesh(4)
        program = Program(mesh, mesh.phases_of(unitary), (0, 1))
        counts = LocalDevice(seed=seed).run(program, shots=2000).collision_free()
        settings.append(
            {"unitary_real": unitary.real.tolist(), "unitary_imag": unitary.imag.tolist(), "counts": counts.tolist()}
        )
    vendor = {"Transmittance (%)": 5.0, "HOM (%)": 90.0, "g2 (%)": 2.0}
    data = {"modes": 4, "input_modes": [0, 1], "outcomes": pairs, "settings": settings, "vendor_figures": vendor}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data | {"device": "qpu:somewhere"}))
    return Job.read(path)


def test_a_file_of_an_ideal_machine_is_read_as_what_it_is(job: Job) -> None:
    for counts, truth in zip(job.counts, job.truths, strict=True):
        n = counts.collision_free()
        # Three standard deviations of the distance of so many ideal events are far below 0.06.
        assert 0.5 * np.abs(n / n.sum() - truth).sum() < 0.06
        assert counts.photons == 2
        assert counts.shots == n.sum()


def test_every_way_is_a_line(job: Job) -> None:
    cells = list(judge(job, range(3), job.published(), PUBLISHED))
    assert {c["asked"] for c in cells} == {"auto", "response", "subtract"}
    text = table(cells)
    assert text.count("\n") == 4
    assert all(c["raw"] < 0.06 for c in cells)


def test_tasks_of_the_mismatch_table_are_named_once() -> None:
    tasks = tasks_of(ROWS, 3)
    assert len({task.key for task in tasks}) == len(tasks)
    assert len({task.seed for task in tasks}) == 3
    assert all(isinstance(task, Task) and task.of.name == task.row for task in tasks)
