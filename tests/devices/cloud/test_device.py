"""The cloud device end to end against the loopback cloud: conformance, physics, and how much is asked of the server."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from qpu_sdk.devices.base import Device, JobStatus
from qpu_sdk.devices.cloud.decoding import UnusableAnswer
from qpu_sdk.devices.cloud.device import CloudDevice, CloudJob, fraction
from qpu_sdk.devices.conformance import CHECKS, IDEAL_CHECKS, Check, scrambling_program
from qpu_sdk.devices.job_record import JobState
from qpu_sdk.devices.journal import Journal
from qpu_sdk.devices.journalled import JournalledDevice
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.machines import MACHINES
from qpu_sdk.devices.noise_text import parse_noise
from qpu_sdk.devices.registry import open_device
from qpu_sdk.devices.sending import Terms
from qpu_sdk.devices.waiting import wait_all
from qpu_sdk.emulator.faults import Faults
from qpu_sdk.emulator.server import EmulatedCloud
from qpu_sdk.emulator.settings import CloudSettings
from qpu_sdk.errors import DeviceUnavailable, JobTimeout, ProgramError, QPUError
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh
from qpu_sdk.photonics.permanents import collision_free_tree, probabilities
from qpu_sdk.photonics.program import Program
from qpu_sdk.statistics import chi_square, chi_square_tail
from tests.helpers import Clock
from tests.training import tiny

FAST = "poll_s=0.01&max_poll_s=0.05&deadline_s=60"
P_VALUE = 1e-4


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", "_T_device-tests")


@pytest.fixture(scope="module", params=[1, 2], ids=["payload v1", "payload v2"])
def cloud(request: pytest.FixtureRequest) -> Iterator[EmulatedCloud]:
    settings = CloudSettings(seed=3, platforms=("sim:ideal",), time_scale=1e5, payload_version=request.param)
    with EmulatedCloud(settings) as running:
        yield running


def opened(cloud: EmulatedCloud, name: str = "sim:ideal", options: str = "") -> CloudDevice:
    device = open_device(f"quandela:{name}?url={cloud.url}&{FAST}{options}", seed=0)
    assert isinstance(device, CloudDevice)
    return device


@pytest.mark.parametrize("check", CHECKS + IDEAL_CHECKS, ids=lambda check: str(getattr(check, "__name__", check)))
def test_conforms(check: Check, cloud: EmulatedCloud) -> None:
    check(lambda seed: opened(cloud, options="&queue_s=60"))


def mixed_programs() -> list[Program]:
    """Three meshes, two sizes, several inputs."""
    rng = np.random.default_rng(2)
    meshes = [(IsometryMesh(5, 3), (0, 1, 2)), (RectangularMesh(4), (1, 3)), (BrickwallMesh(5), (0, 2, 4))]
    return [Program(m, rng.uniform(0, 2 * np.pi, m.declared), inputs) for m, inputs in (*meshes, *meshes[:2])]


def follows(counts: Counts, program: Program) -> bool:
    """Chi-square of the post-selected counts against the exact distribution, on both sides."""
    tree = collision_free_tree(program.modes, program.photons)
    exact = probabilities(program.mesh.columns(program.phases, program.input_modes), tree)
    observed = counts.collision_free().astype(np.float64)
    statistic, degrees = chi_square(observed, observed.sum() * exact / exact.sum())
    tail = chi_square_tail(statistic, degrees)
    return P_VALUE < tail < 1 - P_VALUE


def test_programs_on_several_meshes_are_one_job_with_the_right_distributions(cloud: EmulatedCloud) -> None:
    before = len(cloud.jobs)
    programs = mixed_programs()
    results = opened(cloud).submit(programs, shots=20_000).result(30)
    assert len(cloud.jobs) == before + 1
    for counts, program in zip(results, programs, strict=True):
        assert (counts.fingerprint, counts.modes, counts.shots) == (program.fingerprint, program.modes, 20_000)
        assert follows(counts, program)


def test_noise_and_threshold_detectors_are_those_of_the_local_simulator() -> None:
    """Loss and threshold detectors of the emulated machine against our own simulator with the same."""
    noise = parse_noise("transmittance=0.3")
    settings = CloudSettings(seed=5, platforms=("qpu:ascella",), noise=noise, time_scale=1e5)
    program = scrambling_program(5, 3, seed=4)
    with EmulatedCloud(settings) as cloud:
        device = opened(cloud, "qpu:ascella")
        assert device.spec.detector == "threshold"
        [remote] = device.submit([program], shots=200_000).result(30)
    local_device = open_device("local:slos?transmittance=0.3&detector=threshold", seed=1)
    assert isinstance(local_device, LocalDevice)
    [local] = local_device.submit([program], shots=2_000_000).result()
    expected = {tuple(o): n / 10 for o, n in zip(local.outcomes.tolist(), local.numbers.tolist(), strict=True) if n}
    got = {tuple(o): n for o, n in zip(remote.outcomes.tolist(), remote.numbers.tolist(), strict=True)}
    keys = sorted(expected)
    variance_ratio = 1.1  # the reference is sampled too, ten times longer
    statistic, degrees = chi_square(
        np.array([got.get(k, 0) for k in keys], dtype=float), np.array([expected[k] for k in keys])
    )
    assert chi_square_tail(statistic / variance_ratio, degrees) > P_VALUE
    assert set(got) <= set(expected)


def test_one_spsa_step_is_one_job_a_device_and_few_requests() -> None:
    settings = CloudSettings(seed=1, platforms=("sim:ideal", "sim:other"), time_scale=1e5)
    with EmulatedCloud(settings) as cloud:
        names = [f"quandela:{name}?url={cloud.url}&{FAST}" for name in settings.platforms]
        config = tiny.config(qnn=[{"modes": 4, "photons": 2, "device": name} for name in names])
        run = tiny.training(config)
        for _, row in run.run(run.init()):
            if row["kind"] in ("spsa", "measure"):
                assert row["jobs"] % 2 == 0
        steps = sum(unit.kind in ("spsa", "measure") for unit in run.schedule.units)
        jobs, requests = cloud.jobs, cloud.requests
    assert len(jobs) == run.bank.spent.jobs == 2 * steps
    count = {name: sum(methods.values()) for name, methods in requests["endpoints"].items()}
    polls = count.pop("status")
    assert count.pop("platform") <= 2 * len(names)  # once a device (twice where it has no architecture)
    assert sum(count.values()) <= 3 * len(jobs)
    assert polls >= len(jobs)


def test_a_job_is_asked_about_at_most_once_an_interval() -> None:
    with EmulatedCloud(CloudSettings(seed=1, platforms=("sim:ideal",), seconds_per_setting=1.0)) as cloud:
        device = open_device(f"quandela:sim:ideal?url={cloud.url}&poll_s=0.2&max_poll_s=0.2", seed=0)
        job = device.submit([scrambling_program(4, 2, seed=1)], shots=100)
        begun = time.monotonic()
        for _ in range(2000):
            job.status()
        assert cloud.requests["endpoints"]["status"]["GET"] <= 1 + (time.monotonic() - begun) / 0.2
        job.result(60)
        [asked] = cloud.requests["jobs"].values()
        assert asked["status"] <= 1 + (time.monotonic() - begun) / 0.2


def test_what_a_time_limit_cuts_off_is_sent_again_and_nothing_else(tmp_path: Path) -> None:
    settings = CloudSettings(
        seed=1, platforms=("qpu:belenos",), noise=parse_noise("ideal"), job_limit_s=100.0, time_scale=2000.0
    )
    programs = [scrambling_program(4, 2, seed=i) for i in range(16)]
    with EmulatedCloud(settings) as cloud, Journal(tmp_path / "journal.sqlite") as journal:
        device = JournalledDevice(opened(cloud, "qpu:belenos"), journal, Terms(label="cut"))
        results = device.submit(programs, shots=500, tag="all").result(60)
        jobs, records = cloud.jobs, journal.jobs()
    assert [c.fingerprint for c in results] == [p.fingerprint for p in programs]
    assert [job["iterations"] for job in jobs] == [16, 10, 4]  # six settings of 15 s fit into 100 s
    assert [r.state for r in records] == [JobState.CANCELLED, JobState.CANCELLED, JobState.DONE]
    assert [r.replaces for r in records] == ["", records[0].name, records[1].name]
    assert sum(r.cost.settings for r in records) == 16


def test_a_cloud_device_says_who_it_is_and_runs_one_program() -> None:
    with EmulatedCloud(CloudSettings(seed=1, platforms=("qpu:belenos",), time_scale=1e5)) as cloud:
        device, program = opened(cloud, "qpu:belenos"), scrambling_program(4, 2, seed=1)
        counts = device.run(program, shots=200, tag="one")
        assert len(cloud.jobs) == 1
    assert (counts.shots, counts.fingerprint, counts.tag) == (200, program.fingerprint, "one")
    spec = device.spec
    assert (spec.platform, spec.simulated, spec.rehearsal, spec.durable) == ("qpu:belenos", False, True, True)
    assert (spec.rates, spec.settings_per_job, spec.drifts) == (MACHINES["belenos"].rates, 20, True)
    assert (spec.noise, spec.published["HOM (%)"], len(spec.architecture_hash)) == (None, 82.7, 64)
    assert spec.record_names == (spec.name,)


def test_large_submissions_are_split_and_sent_as_there_is_room() -> None:
    settings = CloudSettings(seed=1, platforms=("sim:ideal",), max_waiting=1, seconds_per_setting=1.0)
    programs, clock = [scrambling_program(4, 2, seed=i) for i in range(7)], Clock()
    with EmulatedCloud(settings, clock=clock) as cloud:
        job = opened(cloud, options="&settings_per_job=2").submit(programs, shots=200)
        assert len(cloud.jobs) <= 2  # one running, one waiting
        clock.step = 0.5
        assert len(job.result(60)) == 7
        assert [j["iterations"] for j in cloud.jobs] == [2, 2, 2, 1]
        assert cloud.requests["endpoints"]["create"]["POST"] == 4


def test_two_platforms_work_at_the_same_time() -> None:
    settings = CloudSettings(seed=1, platforms=("sim:a", "sim:b"), seconds_per_setting=0.1)
    programs = [scrambling_program(4, 2, seed=i) for i in range(2)]
    with EmulatedCloud(settings) as cloud:
        jobs = [opened(cloud, name).submit(programs, shots=100) for name in settings.platforms]
        wait_all(jobs)
        assert all(job.status() is JobStatus.DONE for job in jobs)
        first, second = (record for record in cloud.jobs)
        assert {first["platform_name"], second["platform_name"]} == set(settings.platforms)


def test_capabilities_are_checked_before_anything_is_sent() -> None:
    with EmulatedCloud(CloudSettings(seed=1, platforms=("qpu:ascella",))) as cloud:
        device = opened(cloud, "qpu:ascella")
        with pytest.raises(ProgramError, match=r"13 modes; quandela:qpu:ascella.* has 12"):
            device.submit([scrambling_program(13, 2, seed=1)], shots=10)
        with pytest.raises(ProgramError, match=r"7 photons; quandela:qpu:ascella.* has 6"):
            device.submit([scrambling_program(12, 7, seed=1)], shots=10)
        cloud.change(status="maintenance")
        closed = opened(cloud, "qpu:ascella")
        with pytest.raises(DeviceUnavailable, match="maintenance"):
            closed.submit([scrambling_program(4, 2, seed=1)], shots=10)
        assert "create" not in cloud.requests["endpoints"]


def test_status_of_many_threads_is_one_request(cloud: EmulatedCloud) -> None:
    device: Device = opened(cloud)
    assert isinstance(device, CloudDevice)
    programs = [scrambling_program(4, 2, seed=1)]
    job_id = device.create(programs, shots=50, name="threads")
    job = device.attach(job_id, programs, shots=50, tag="")
    assert isinstance(job, CloudJob)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: job.result(30), range(4)))
    assert all(r[0].to_json() == results[0][0].to_json() for r in results)


@pytest.mark.parametrize(("said", "means"), [(0.5, 0.5), (50, 0.5), (1, 1.0), (100, 1.0), (None, None), (True, None)])
def test_progress_is_a_fraction(said: object, means: float | None) -> None:
    assert fraction(said) == means


# -- words and results of a server -----------------------------------------------------------------------------

HOSTILE = "\x1b[2J [/red] two\nlines \u202e _T_device-tests _T_DEVICE-TESTS device%2Dtests"
FAULTS = """
[[fault]]
endpoint = "status"
action = "replace"
body = {{ status = {status}, status_message = {message} }}

[[fault]]
endpoint = "result"
action = "replace"
body = {{ results = {results}, comment = {message} }}
"""


def spoiled(*, status: str = "completed", results: str = "{}") -> EmulatedCloud:
    """A cloud whose jobs end as told, in words that do harm where they are shown."""
    values = {"status": json.dumps(status), "message": json.dumps(HOSTILE), "results": json.dumps(results)}
    settings = CloudSettings(seed=1, platforms=("sim:ideal",), time_scale=1e5)
    return EmulatedCloud(settings, Faults.parse(FAULTS.format(**values)))


@pytest.mark.parametrize("status", ["error", "canceled", "completed"])
def test_words_of_a_server_are_harmless_wherever_they_are_kept(
    status: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with spoiled(status=status) as cloud, Journal(tmp_path / "journal.sqlite") as journal:
        job = JournalledDevice(opened(cloud), journal).submit([scrambling_program(4, 2, seed=1)], shots=100)
        with caplog.at_level(logging.DEBUG, "qpu_sdk"), pytest.raises(QPUError) as caught:
            job.result(60)
        [record] = journal.jobs()
        answer = journal.answer(record.name) or ""
    assert answer
    assert "comment" in answer
    for text in (str(caught.value), record.message, *(r.getMessage() for r in caplog.records)):
        assert text.isprintable()
        assert "device-tests" not in unquote(text).lower()
    assert "device-tests" not in unquote(answer).lower()


def test_an_unknown_status_is_told_once_as_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with spoiled(status=HOSTILE) as cloud, caplog.at_level(logging.INFO, "qpu_sdk"):
        job = opened(cloud).submit([scrambling_program(4, 2, seed=1)], shots=100)
        with pytest.raises(JobTimeout):
            job.result(0.5)
    told = [r for r in caplog.records if "unknown status" in r.getMessage()]
    assert [r.levelno for r in told[:2]] == [logging.WARNING, logging.INFO][: len(told)]
    assert told
    assert all(r.getMessage().isprintable() and "device-tests" not in r.getMessage().lower() for r in told)


@pytest.mark.parametrize(
    ("number", "ends"), [(101, "told"), (1000, "told"), (100, "silent"), (20_000, "refused"), (2**50, "refused")]
)
def test_more_shots_than_asked_are_never_counted_without_a_word(
    number: int, ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    results = json.dumps({"results": f":PCVL:BSCount:{{|1,0,1,0>={number}}}"})
    with spoiled(results=results) as cloud:
        job = opened(cloud).submit([scrambling_program(4, 2, seed=1)], shots=100)
        if ends == "refused":
            with pytest.raises(UnusableAnswer, match=r"shots where 100 were asked.*jobs forget .* --lost"):
                job.result(60)
            return
        assert [c.shots for c in job.result(60)] == [number]
    assert (f"{number} shots where 100 were asked" in caplog.text) == (ends == "told")
