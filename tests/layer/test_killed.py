"""A training on an emulated cloud that is killed again and again ends as one that was left alone, and pays once."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from qpu_sdk.devices.job_record import JobState
from qpu_sdk.devices.noise_text import parse_noise
from qpu_sdk.emulator.server import EmulatedCloud
from qpu_sdk.runs.jobs import attach_job, forget_job, list_jobs
from tests.forked import Command, Death

TOKEN = "_T_layer-secret"
STEPS, SHOTS = 3, 2000


def train() -> None:
    """A layer by SPSA, in the folder and with the device of the process's arguments; prints its phases."""
    import torch

    from qpu_sdk.layer.photonic_layer import PhotonicLayer
    from qpu_sdk.photonics.meshes import IsometryMesh

    torch.set_num_threads(1)
    _, folder, device = sys.argv
    layer = PhotonicLayer(
        IsometryMesh(4, 2), device=device, shots=SHOTS, gradient="spsa", pairs=2, budget={"settings": 5 * STEPS}, seed=1
    ).attach(folder)
    rule = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(STEPS):
        rule.zero_grad()
        layer()[2].backward()
        rule.step()
    sys.stdout.write(json.dumps(layer.phases.tolist()))


def opened() -> EmulatedCloud:
    return EmulatedCloud(
        seed=4, platforms=("sim:ideal",), noise=parse_noise("transmittance=0.5,g2=0.02"), time_scale=5000.0
    )


def device_of(cloud: EmulatedCloud) -> str:
    return f"quandela:sim:ideal?url={cloud.url}&poll_s=0.01&max_poll_s=0.05&deadline_s=30"


def test_killed_and_resumed_training_pays_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", TOKEN)
    with opened() as cloud:
        whole = Command.start([tmp_path / "whole", device_of(cloud)], tmp_path / "said", function=train)
        assert whole.wait() == 0, whole.stderr
        expected = json.loads(whole.stdout)
        assert len(cloud.jobs) == 2 * STEPS
    with opened() as cloud:  # another, which draws the same for the same jobs
        rng, killed, kills = np.random.default_rng(5), tmp_path / "killed", 3
        while True:
            death = Death(int(rng.integers(2, 9)), float(rng.uniform(0, 0.05))) if kills else None
            command = Command.start([killed, device_of(cloud)], tmp_path / "said", function=train, death=death)
            code = command.wait()
            if code == 0:
                break
            assert code == -signal.SIGKILL, command.stderr
            kills -= 1
            reconcile(cloud, killed / "layer.sqlite")
        assert kills == 0
        assert json.loads(command.stdout) == expected
        assert len(cloud.jobs) == 2 * STEPS
        assert sum(job["iterations"] for job in cloud.jobs) == 5 * STEPS
    assert all(job.state in (JobState.DONE, JobState.REFUSED) for job in list_jobs(killed / "layer.sqlite"))
    assert TOKEN not in command.stdout + command.stderr


def reconcile(cloud: EmulatedCloud, journal: Path) -> None:
    """What a person does about uncertain jobs."""
    if not journal.is_file() or not journal.stat().st_size:
        return
    ids = {job["job_name"]: job["job_id"] for job in cloud.jobs}
    for record in list_jobs(journal):
        if record.state in (JobState.UNCERTAIN, JobState.INTENT):
            if record.name in ids:
                attach_job(journal, ids[record.name])
            else:
                forget_job(journal, record.name)
