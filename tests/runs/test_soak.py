"""A run on two emulated machines with faults, killed with -9 again and again, ends as if nothing had happened.

``make validate`` kills it a hundred times; the tests do it ten times. After each death a person's part is played: an
uncertain job is looked up at the provider by its name, and attached if it is there or forgotten if it is not.
"""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qpu_sdk.devices.job_record import JobRecord, JobState
from qpu_sdk.devices.noise_text import parse_noise
from qpu_sdk.emulator.faults import Faults
from qpu_sdk.emulator.server import EmulatedCloud
from qpu_sdk.emulator.settings import CloudSettings
from qpu_sdk.runs.jobs import attach_job, forget_job, list_jobs
from tests.commands import Commands
from tests.digits import SMALLEST, train_arguments, write_small_digits
from tests.forked import Command, Death

PLATFORMS = ("sim:ideal", "qpu:ascella")
TOKEN = "_T_soak-secret"
COMMANDS = Commands(secrets=(TOKEN,))
SETTINGS = CloudSettings(
    seed=4,
    platforms=PLATFORMS,
    noise=parse_noise("transmittance=0.5,g2=0.02,indistinguishability=0.9"),
    time_scale=5000.0,
)
FAULTS = """
[[fault]]
endpoint = "status"
probability = 0.1
action = "answer"
status = 503

[[fault]]
endpoint = "result"
probability = 0.1
action = "drop"

[[fault]]
endpoint = "availability"
probability = 0.1
action = "html"

[[fault]]
endpoint = "create"
every = 19
action = "drop-after"

[[fault]]
endpoint = "create"
every = 23
action = "drop"
"""


def arguments(cloud: EmulatedCloud, digits: Path, out: Path, *, rounds: int) -> list[str]:
    """Two QNNs, each on a machine of its own; as many rounds as the kills need."""
    options = f"url={cloud.url}&poll_s=0.01&max_poll_s=0.05&deadline_s=30"
    training = {"training__rounds": rounds, "spsa__steps": 2, "training__shots": 5000, "spsa__shots": 5000}
    devices = [f'--set=qnn.{i}.device="quandela:{name}?{options}"' for i, name in enumerate(PLATFORMS)]
    return [*train_arguments(digits, out, base=SMALLEST, **training), *devices]


def test_killed_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", TOKEN)
    soak(tmp_path, kills=10)


def soak(tmp_path: Path, *, kills: int) -> tuple[int, int]:
    """Demand all that is said above; the jobs that there were and the settings that they ran."""
    digits, rounds = write_small_digits(tmp_path / "digits.npz"), max(3, kills // 5)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with EmulatedCloud(SETTINGS) as cloud:
        expected = COMMANDS.succeed(*arguments(cloud, digits, whole, rounds=rounds))
    port = int(cloud.url.rpartition(":")[2])  # the model's provenance names its devices: the same address again
    with EmulatedCloud(SETTINGS, Faults.parse(FAULTS), port=port) as cloud:
        last, output = survive(cloud, arguments(cloud, digits, killed, rounds=rounds), killed, kills=kills)
        jobs = cloud.jobs
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    got = json.loads(last)
    del expected["wall_s"], got["wall_s"]
    assert got == expected
    planned = len(PLATFORMS) * (3 * rounds + 1)  # less what came twice, where SPSA took a step back
    assert len(jobs) == expected["jobs"] <= planned
    assert_paid_once(jobs, list_jobs(killed))
    assert TOKEN not in output
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]
    return len(jobs), sum(job["iterations"] for job in jobs)


def survive(cloud: EmulatedCloud, arguments: list[str], out: Path, *, kills: int) -> tuple[str, str]:
    """Run, kill, reconcile and resume until it is done; the summary, and all that was said."""
    rng, left, said = np.random.default_rng(8), kills, ""
    resume = ["resume", str(out), "--wait", "--json"]
    while True:
        death = Death(sends=int(rng.integers(1, 12)), delay_s=float(rng.uniform(0, 0.05))) if left else None
        command = Command.start(arguments, out.parent / "said", death=death)
        code = command.wait()
        left -= code == -signal.SIGKILL
        said += command.stdout + command.stderr
        if code == 0:
            assert not left, f"{left} of {kills} kills were not needed"
            return command.stdout, said
        assert code in (-signal.SIGKILL, 3), command.stderr
        reconcile(cloud, out)
        arguments = resume if (out / "config.toml").is_file() else arguments


def reconcile(cloud: EmulatedCloud, out: Path) -> None:
    """What a person does about uncertain jobs."""
    if not (out / "journal.sqlite").is_file():
        return
    # a process that was killed leaves an intent, which the next one calls uncertain
    unsure = [r for r in list_jobs(out) if r.state in (JobState.UNCERTAIN, JobState.INTENT)]
    ids = {job["job_name"]: job["job_id"] for job in cloud.jobs}
    for record in unsure:
        if record.name in ids:
            attach_job(out, ids[record.name])
        else:
            forget_job(out, record.name)


def assert_paid_once(jobs: list[dict[str, Any]], records: list[JobRecord]) -> None:
    """Every job on the server is one row of the journal, done, and no setting was run by two of them."""
    done = [r for r in records if r.state is JobState.DONE]
    assert sorted(r.job_id for r in done) == sorted(job["job_id"] for job in jobs)
    assert all(r.state in (JobState.DONE, JobState.REFUSED) for r in records)
    settings = Counter((r.device, program, r.shots_each) for r in done for program in r.programs)
    assert set(settings.values()) == {1}
    assert sum(settings.values()) == sum(job["iterations"] for job in jobs)
