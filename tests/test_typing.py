"""A user's script under ``mypy --strict``: every name of the front door has types that take what users write."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import qpu_sdk as qs

ROOT = Path(__file__).parents[1]
RIGHT = """
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import qpu_sdk as qs

program = qs.Program.random(qs.IsometryMesh(modes=6, photons=3), seed=1)
other = qs.Program.random(qs.RectangularMesh(4), photons=2, seed=1)
third = qs.Program.random(qs.BrickwallMesh(4), (0, 1), seed=1)
device: qs.Device = qs.open_device("local:slos?noise=ascella", seed=1)
spec: qs.DeviceSpec = device.spec
counts: qs.Counts = device.run(program, shots=200_000)
job: qs.Job = device.submit([program], shots=1000)
spent: int = qs.Metered(qs.open_device(qs.Noise(g2=0.1), seed=1), credits=5, settings=10).spent.settings
awaited: list[qs.Counts] = job.as_future().result()
record: qs.CalibrationRecord = qs.calibrate(device, modes=6, inputs=program.input_modes, shots=200_000, seed=0)
again: qs.CalibrationRecord = qs.calibrate_from([device.run(program, shots=100)], [program], device=device)
found: qs.Distribution = qs.mitigate(counts, record, program=program, seed=0)
print(qs.total_variation(found.probabilities, program.probabilities()), qs.post_select(counts))
found.plot("p.png")
print(found, record)
path: Path = qs.CalibrationStore("records").save(record)
programs: list[qs.Program] = qs.load_programs(path, inputs=(0, 2))
settings: list[qs.Counts] = qs.load_counts(path, programs=programs, photons=2, detector="pnr", total=100)
same: bool = qs.load_record(path) == record and qs.twin(record, seed=2).spec == spec
noise: qs.Noise = record.noise()

x, y = np.zeros((4, 8, 8)), np.array([0, 1, 0, 1])
net: nn.Module = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Tanh(), nn.Linear(4, 2))
data = qs.Dataset.of(x, y, torch.zeros(4, 8, 8), torch.tensor(y), scale=2)
config = qs.RunConfig(qnn=[{"modes": 6, "photons": 2}, {"modes": 7, "photons": 2}], seed=1)
config = qs.RunConfig(
    qnn=({"modes": 6, "photons": 2, "mesh": "rectangular"}, *config.qnn),
    device="local:slos",
    controls=False,
    data={"scale": 16, "source": "digits.npz"},
    target={"factory": "mine:network"},
    generator={"kind": "lean"},
    training={"rounds": 1},
    spsa={"steps": 1, "c": 0.1},
    mitigation={"method": "auto"},
    budget=qs.RunConfig().budget,
)
tables: dict[str, Any] = {"training": {"rounds": 1}}
config = qs.RunConfig(**tables, seed=1, controls=["pruned", "hashed"])
config = qs.load_config("run.toml", overrides=["seed=1"])
total: int = qs.plan(config).total.settings


def show(row: Any) -> None:
    print(row)


run = qs.train(config, "runs/stripes", target=net, data=data, on_progress=show)
run = qs.resume(Path("runs/stripes"), target=net, data=data)
accuracy: float = run.summary.test_accuracy
page: Path = run.report
page = qs.report(run.path, "runs/other", out="page.html").page
over = {"seed": range(3), "generator.bond_dim": [2, 4]}
cells = qs.sweep(config, "runs/many", over=over, budget={"shots": 1e9}).cells
best: float = max(cell.summary.test_accuracy for cell in cells if cell.summary is not None)
page = qs.sweep("run.toml", Path("runs/many"), over=["seed=1..3"], workers=2).path
net = qs.load_model("runs/stripes").module()
generators = qs.MPSGenerator(10, 2, seed=1), qs.LeanMPSGenerator(10, 2, seed=1), qs.TaperedMPSGenerator(10, 2, seed=1)
optimiser: type[qs.SPSA] = qs.SPSA
layer = qs.PhotonicLayer(qs.IsometryMesh(4, 2), device=device, shots=100, gradient="spsa", budget={"jobs": 9}, seed=1)
layer.attach(path)(torch.zeros(2, layer.declared)).sum().backward()
with qs.EmulatedCloud(seed=1, platforms="sim:ideal", noise=noise, time_scale=1e4) as cloud:
    print(cloud.url)
plugged: type[qs.CalibratedMitigation] = qs.CalibratedMitigation
try:
    qs.RunConfig(seed=-1)
except qs.QPUError as error:
    print(error)
"""
WRONG = """
import qpu_sdk as qs

qs.RunConfig(devise="local:slos")
qs.RunConfig(seed="one")
qs.RunConfig(qnn=3)
qs.train("run.toml", "runs/first")
"""


def test_the_right_script_uses_every_name() -> None:
    used = set(re.findall(r"\bqs\.(\w+)", RIGHT))
    assert used == {name for name in qs.__all__ if not name.startswith("_")}


@pytest.mark.slow
def test_a_script_of_a_user_has_no_errors_and_mistakes_are_found(tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip("mypy")
    folder, base = tmp_path_factory.mktemp("typing"), tmp_path_factory.getbasetemp()
    # One cache for all sessions: what there is to know of torch and numpy takes long to find out.
    shared = next((p for p in base.parents if p.name.startswith("pytest-of-")), base)
    cache = shared / f"mypy-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"
    for name, text in (("right", RIGHT), ("wrong", WRONG)):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    options = ["--strict", "--no-pretty", "--no-sqlite-cache", "--config-file", str(ROOT / "pyproject.toml")]
    scripts = map(str, sorted(folder.glob("*.py")))
    command = [sys.executable, "-m", "mypy", *options, "--cache-dir", str(cache), *scripts]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stdout + done.stderr
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert [line for line in errors if "wrong.py" not in line] == []
    lines = {int(line.split(":")[1]) for line in errors}
    assert lines == {n for n, line in enumerate(WRONG.splitlines(), start=1) if line.startswith("qs.")}
