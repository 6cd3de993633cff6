"""Perceval's clients, unchanged, are the oracle of the protocol; its simulator at full precision, of the counts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import perceval as pcvl
import pytest
import requests
from perceval.algorithm import Sampler
from perceval.providers.quandela import QuandelaCommunicationLayer
from perceval.runtime import ExecutionFactory, PayloadGenerator, RemoteComputer, SimulatedComputer
from perceval.serialization import deserialize, serialize
from perceval.utils.logging import channel, get_logger, level

from qpu_sdk.errors import ConfigError
from qpu_sdk.photonics.noise import Noise
from tests.oracles.statistics import chi_square_p
from tests.oracles.unitaries import haar

pytest.importorskip("uvicorn")

from qpu_sdk.emulator.faults import Faults
from qpu_sdk.emulator.server import EmulatedCloud, serve
from qpu_sdk.emulator.settings import CloudSettings
from qpu_sdk.emulator.state import CloudState
from tests.helpers import Clock

FAST = 1e5
NOISE = Noise(transmittance=0.3, indistinguishability=0.85, g2=0.1)
TOKEN = {"Authorization": "Bearer any"}
QUICK_POLLS = 0.002

get_logger().set_level(level.err, channel.user)


@pytest.fixture(scope="module")
def cloud() -> Iterator[EmulatedCloud]:
    with EmulatedCloud(CloudSettings(seed=7, noise=NOISE, time_scale=FAST)) as running:
        yield running


def experiment(*, least: int = 1) -> Any:
    """Four modes, three photons, a phase of each setting's choice."""
    out = pcvl.Experiment(4)
    out.add(0, pcvl.Unitary(pcvl.Matrix(haar(4, seed=5))))
    out.add(1, pcvl.PS(pcvl.P("phi")))
    out.add(0, pcvl.Unitary(pcvl.Matrix(haar(4, seed=6))))
    out.with_input(pcvl.BasicState([1, 1, 0, 1]))
    out.min_detected_photons_filter(least)
    return out


def at(phi: float, *, least: int = 1) -> Any:
    out = experiment(least=least)
    out.get_circuit_parameters()["phi"].set_value(phi)
    return out


def exact(phi: float, *, least: int, noise: Noise = NOISE, threshold: bool = True) -> dict[Any, float]:
    asked = at(phi, least=least)
    for mode in range(4 if threshold else 0):
        asked.add(mode, pcvl.Detector.threshold())
    computer = SimulatedComputer("SLOS")
    computer.noise = noise.to_perceval()
    return dict(computer.probs(asked, precision=0.0)["results"].items())


def p_value(counts: Any, probabilities: dict[Any, float]) -> float:
    drawn = dict(counts.items())
    assert set(drawn) <= set(probabilities)
    total = sum(drawn.values())
    outcomes = list(probabilities)
    return chi_square_p([drawn.get(o, 0) for o in outcomes], [total * probabilities[o] for o in outcomes])


def envelope(
    phis: list[float], *, platform: str = "qpu:belenos", shots: int = 1000, name: str = "job"
) -> dict[str, Any]:
    """A v1 create request as the legacy client sends it."""
    limits = {"max_shots": shots, "max_samples": shots, "iterator": [{"circuit_params": {"phi": p}} for p in phis]}
    body = PayloadGenerator.generate_payload("sample_count", experiment(), platform_name=platform, **limits)
    return {**serialize(body), "job_name": name}


#: Only keeps what hangs from keeping the tests.
GUARD_S = 120.0


def post(cloud: EmulatedCloud, path: str, body: Any = None, **headers: str) -> requests.Response:
    return requests.post(cloud.url + path, json=body, headers=headers or TOKEN, timeout=GUARD_S)


def get(cloud: EmulatedCloud, path: str, **headers: str) -> requests.Response:
    return requests.get(cloud.url + path, headers=headers or TOKEN, timeout=GUARD_S)


def create(cloud: EmulatedCloud, body: dict[str, Any]) -> str:
    answer = post(cloud, "/api/job", body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["job_id"])


def wait(cloud: EmulatedCloud, ended: tuple[str, ...] = ("completed", "canceled", "error")) -> None:
    deadline = time.monotonic() + GUARD_S
    while not all(job["status"] in ended for job in cloud.jobs):
        assert time.monotonic() < deadline, cloud.jobs
        time.sleep(QUICK_POLLS)


def results(cloud: EmulatedCloud, job_id: str) -> Any:
    return deserialize(json.loads(get(cloud, f"/api/job/result/{job_id}").json()["results"]), strict=False)


def remote(cloud: EmulatedCloud, platform: str, **keywords: Any) -> Any:
    processor = pcvl.RemoteProcessor(platform, url=cloud.url, token="any", m=4, **keywords)
    for modes, component in experiment().components:
        processor.add(modes[0], component)
    processor.with_input(pcvl.BasicState([1, 1, 0, 1]))
    return processor


# Perceval's clients


@pytest.mark.parametrize("platform", ["qpu:belenos", "sim:belenos"])
def test_legacy_sampler_with_iterations(cloud: EmulatedCloud, platform: str) -> None:
    processor = remote(cloud, platform)
    processor.min_detected_photons_filter(1)
    assert processor.specs.architecture.detection_type == pcvl.DetectionType.Threshold
    assert processor.constraints["max_mode_count"] == 24
    sampler = Sampler(processor, max_shots_per_call=200_000)
    sampler.add_iteration(circuit_params={"phi": 0.3})
    sampler.add_iteration(circuit_params={"phi": 1.2}, min_detected_photons=2)
    sampler.add_iteration(circuit_params={"phi": 1.2}, max_samples=77)
    job = sampler.sample_count.execute_async(200_000)
    wait(cloud)
    assert job.is_success
    first, second, third = job.get_results()["results_list"]
    assert first["iteration"] == {"circuit_params": {"phi": 0.3}}
    assert sum(first["results"].values()) == first["nb_shots_used"] == 200_000
    assert sum(third["results"].values()) == third["nb_shots_used"] == 77
    assert p_value(first["results"], exact(0.3, least=1)) > 0.001
    assert p_value(second["results"], exact(1.2, least=2)) > 0.001
    clicks = {1: exact_performance(1), 2: exact_performance(2)}
    chance, samples = clicks[2] / clicks[1], sum(second["results"].values())
    assert second["nb_shots_used"] == 200_000
    assert abs(samples - 200_000 * chance) < 5 * np.sqrt(200_000 * chance)
    assert second["global_perf"] == pytest.approx(clicks[2], rel=1e-9)


def exact_performance(least: int) -> float:
    asked = at(1.2, least=least)
    for mode in range(4):
        asked.add(mode, pcvl.Detector.threshold())
    computer = SimulatedComputer("SLOS")
    computer.noise = NOISE.to_perceval()
    return float(computer.probs(asked, precision=0.0)["global_perf"])


def test_legacy_single_job_samples_and_resume(cloud: EmulatedCloud) -> None:
    processor = remote(cloud, "sim:ascella")
    processor.experiment.get_circuit_parameters()["phi"].set_value(0.3)
    processor.min_detected_photons_filter(2)
    job = Sampler(processor, max_shots_per_call=5000).samples.execute_async(100)
    wait(cloud)
    samples = processor.resume_job(job.id).get_results()["results"]
    assert len(samples) == 100
    assert all(sum(state) >= 2 and max(state) == 1 for state in samples)


def test_legacy_probs_on_a_qpu_are_converted(cloud: EmulatedCloud) -> None:
    processor = remote(cloud, "qpu:belenos")
    processor.experiment.get_circuit_parameters()["phi"].set_value(0.3)
    processor.min_detected_photons_filter(1)
    job = Sampler(processor, max_shots_per_call=20_000).probs.execute_async()
    wait(cloud)
    assert job.get_results()["results"][pcvl.BasicState([1, 0, 0, 0])] == pytest.approx(
        exact(0.3, least=1)[pcvl.BasicState([1, 0, 0, 0])], abs=0.03
    )


@pytest.mark.parametrize("version", [1, 2])
def test_new_client_in_both_payload_versions(version: int) -> None:
    settings = CloudSettings(seed=7, noise=NOISE, time_scale=FAST, payload_version=version, platforms=("qpu:belenos",))
    with EmulatedCloud(settings) as cloud:
        computer = RemoteComputer(QuandelaCommunicationLayer("qpu:belenos", token="any", url=cloud.url))
        factory = ExecutionFactory(computer, experiment(least=2), max_shots_per_call=300_000)
        factory.add_iteration(circuit_params={"phi": 0.3})
        factory.add_iteration(circuit_params={"phi": 1.2})
        execution = factory.sample_count.execute_async(300_000)
        wait(cloud)
        assert execution.is_success
        entries = execution.get_results()["results_list"]
        assert [job["payload_version"] for job in cloud.jobs] == [version]
    for phi, entry in zip((0.3, 1.2), entries, strict=True):
        assert entry["iteration"] == {"circuit_params": {"phi": phi}}
        assert p_value(entry["results"], exact(phi, least=2)) > 0.001


def test_new_client_single_job_and_exact_probabilities(cloud: EmulatedCloud) -> None:
    computer = RemoteComputer(QuandelaCommunicationLayer("sim:ideal", token="any", url=cloud.url))
    computer.noise = pcvl.NoiseModel(indistinguishability=0.5)
    execution = ExecutionFactory(computer, at(0.3, least=3), max_shots_per_call=1000).probs.execute_async()
    wait(cloud)
    told = dict(execution.get_results()["results"].items())
    expected = exact(0.3, least=3, noise=Noise(indistinguishability=0.5), threshold=False)
    assert told == pytest.approx(expected, abs=1e-9)


# What is computed


def test_user_noise_counts_on_simulators_only(cloud: EmulatedCloud) -> None:
    body = envelope([0.3], platform="sim:belenos")
    loud = experiment()
    loud.noise = pcvl.NoiseModel(transmittance=0.9)
    body["payload"]["experiment"] = serialize(loud)
    on_simulator = create(cloud, body)
    on_qpu = create(cloud, {**body, "platform_name": "qpu:belenos"})
    wait(cloud)
    performance = {
        name: results(cloud, job)["results_list"][0]["global_perf"]
        for name, job in (("sim", on_simulator), ("qpu", on_qpu))
    }
    assert performance["sim"] > 0.95
    assert performance["qpu"] == pytest.approx(exact_performance(1))


def test_heralds_post_selection_and_lossy_components(cloud: EmulatedCloud) -> None:
    asked = pcvl.Experiment(4)
    asked.add(0, pcvl.Unitary(pcvl.Matrix(haar(4, seed=5))))
    asked.add_herald(3, 1)
    asked.set_postselection(pcvl.PostSelect("[0,1]>0"))
    asked.with_input(pcvl.BasicState([1, 1, 0]))
    asked.min_detected_photons_filter(1)
    lossy = asked.copy()
    lossy.add(0, pcvl.LC(0.2))
    for one in (asked, lossy):
        body = PayloadGenerator.generate_payload(
            "probs", one, {"compute_physical_logical_perf": True}, platform_name="sim:belenos", max_shots=1000
        )
        job_id = create(cloud, {**serialize(body), "job_name": "selected"})
        wait(cloud)
        told = results(cloud, job_id)
        for mode in range(4):
            one.detectors[mode] = pcvl.Detector.threshold()
        computer = SimulatedComputer("SLOS")
        computer.noise = NOISE.to_perceval()
        computer.compute_physical_logical_perf(True)
        expected = computer.probs(one, precision=0.0)
        assert dict(told["results"].items()) == pytest.approx(dict(expected["results"].items()), abs=1e-5)
        for key in ("global_perf", "physical_perf", "logical_perf"):
            assert told[key] == pytest.approx(expected[key], rel=1e-4)


def test_phase_errors_move_the_result_and_are_fresh_for_every_job() -> None:
    settings = CloudSettings(seed=1, time_scale=FAST, platforms=("sim:ideal",), noise=Noise(phase_error=1.0))
    body = envelope([0.3], platform="sim:ideal")
    body["payload"]["command"] = "probs"
    with EmulatedCloud(settings) as cloud:
        jobs = [create(cloud, body) for _ in range(2)]
        wait(cloud)
        first, second = (dict(results(cloud, job)["results_list"][0]["results"].items()) for job in jobs)
    ideal = exact(0.3, least=1, noise=Noise(), threshold=False)
    distances = [sum(abs(a[k] - b[k]) for k in ideal) for a, b in ((first, ideal), (second, ideal), (first, second))]
    assert min(distances) > 1e-3


# Random numbers


def test_streams_follow_from_seed_and_content_and_a_repeat_is_fresh() -> None:
    def run(seed: int, phis: list[list[float]]) -> list[Any]:
        with EmulatedCloud(CloudSettings(seed=seed, time_scale=FAST, max_waiting=9)) as cloud:
            jobs = [create(cloud, envelope(one, name=str(i))) for i, one in enumerate(phis)]
            wait(cloud)
            return [[dict(e["results"].items()) for e in results(cloud, job)["results_list"]] for job in jobs]

    (first,), (again,) = run(1, [[0.1, 0.2]])[0:1], run(1, [[0.3], [0.1, 0.2]])[1:2]
    assert first == again
    one, repeat = run(1, [[0.1, 0.2], [0.1, 0.2]])
    assert one == first
    assert all(a != b for a, b in zip(one, repeat, strict=True))
    assert run(2, [[0.1, 0.2]]) != [first]
    same, same_again = run(1, [[0.1, 0.1]])[0]
    assert same != same_again


# The schedule, on a clock that stands still


@pytest.fixture
def state() -> Iterator[Callable[..., tuple[CloudState, Clock]]]:
    opened: list[CloudState] = []

    def build(**settings: Any) -> tuple[CloudState, Clock]:
        clock = Clock(now=1000.0)
        opened.append(CloudState(CloudSettings(seed=1, platforms=("qpu:belenos",), **settings), clock))
        return opened[-1], clock

    yield build
    for one in opened:
        one.close()


def computed(state: CloudState) -> None:
    deadline = time.monotonic() + GUARD_S
    while not all(np.isfinite(job.computed) for job in state.jobs()):
        assert time.monotonic() < deadline
        time.sleep(QUICK_POLLS)


Build = Callable[..., tuple[CloudState, Clock]]


def test_jobs_run_one_after_the_other(state: Build) -> None:
    cloud, clock = state(queue_s=10.0, max_waiting=2)
    first, second = (cloud.create(envelope([0.1, 0.2])) for _ in range(2))
    computed(cloud)
    assert [job.state(clock()) for job in (first, second)] == ["waiting", "waiting"]
    assert cloud.availability()["max_jobs_in_queue"] - cloud.availability()["num_jobs_in_queue"] == 0
    clock.now += 25.0
    answer = cloud.job(first.job_id).status_answer(clock())
    assert (answer["status"], answer["progress"], answer["progress_message"]) == ("running", 0.5, "Iteration 2/2")
    assert (answer["start_time"], answer["duration"], answer["shots"]) == (1010.0, None, 1000)
    assert cloud.result(first.job_id)["results"] is None
    clock.now += 15.0
    cloud.refresh()
    assert [job.state(clock()) for job in (first, second)] == ["completed", "running"]
    answer = first.status_answer(clock())
    assert (answer["duration"], answer["shots"], answer["progress"]) == (30, 2000, 1.0)
    clock.now += 30.0
    assert cloud.job(second.job_id).state(clock()) == "completed"
    [report] = cloud.usage()
    assert report["usage"][0] | {"credits": 0} == {
        "platform_name": "qpu:belenos",
        "nb_jobs": 2,
        "duration_seconds": 60,
        "credits": 0,
        "free_credits": 0.0,
    }
    assert report["usage"][0]["credits"] == pytest.approx(4000e-6)


def test_nobody_has_to_ask_for_time_to_pass(state: Build) -> None:
    cloud, clock = state()
    first, second = (cloud.create(envelope([0.1])) for _ in range(2))
    while len(first.done_at) + len(second.done_at) < 2:
        time.sleep(QUICK_POLLS)
    clock.now += 100.0
    assert cloud.job(second.job_id).state(clock()) == "completed"
    assert (first.end, second.start, second.end) == (1015.0, 1015.0, 1030.0)


def test_time_limit_keeps_what_is_finished(state: Build) -> None:
    cloud, clock = state(job_limit_s=50.0)
    job = cloud.create(envelope([0.1, 0.2, 0.3, 0.4]))
    computed(cloud)
    clock.now += 49.0
    assert cloud.job(job.job_id).state(clock()) == "running"
    clock.now += 1.0
    answer = cloud.job(job.job_id).status_answer(clock())
    assert (answer["status"], answer["duration"], answer["shots"]) == ("canceled", 50, 3000)
    assert "Time limit of 50 s" in answer["status_message"]
    assert len(json.loads(cloud.result(job.job_id)["results"])["results_list"]) == 3


def test_cancelled_jobs(state: Build) -> None:
    cloud, clock = state()
    running, waiting = cloud.create(envelope([0.1, 0.2])), cloud.create(envelope([0.1]))
    computed(cloud)
    cloud.cancel(waiting.job_id)
    clock.now += 20.0
    cloud.cancel(running.job_id)
    third = cloud.create(envelope([0.3]))
    assert [job.state(clock()) for job in (running, waiting, third)] == ["canceled", "canceled", "running"]
    assert running.status_answer(clock())["shots"] == 1000
    assert cloud.result(waiting.job_id)["results"] is None
    with pytest.raises(Exception, match="Can not cancel job"):
        cloud.cancel(running.job_id)


def test_credits_are_reserved_and_then_spent(state: Build) -> None:
    cloud, clock = state(credits=0.0031, max_waiting=5)
    job = cloud.create(envelope([0.1, 0.2]))
    computed(cloud)
    with pytest.raises(Exception, match="Not enough credits: all remaining credits are reserved"):
        cloud.create(envelope([0.1, 0.2]))
    with pytest.raises(Exception, match=r"^Not enough credits$"):
        cloud.create(envelope([0.1, 0.2, 0.3, 0.4]))
    cloud.cancel(job.job_id)
    clock.now += 1.0
    cloud.refresh()
    assert cloud.credits_left() == 0.0031
    cloud.create(envelope([0.1, 0.2, 0.3]))
    computed(cloud)
    clock.now += 45.0
    cloud.refresh()
    assert cloud.credits_left() == pytest.approx(0.0001)
    cloud.change(credits=1.0)
    assert cloud.credits_left() == 1.0


# Refusals


def test_refusals_have_the_vendors_words(cloud: EmulatedCloud) -> None:
    good = envelope([0.1])
    payload = good["payload"]
    for body, status, error in (
        ([], 400, "Invalid payload, expected a json object"),
        ({**good, "platform_name": "qpu:nowhere"}, 404, "Platform not found"),
        ({**good, "platform_name": None}, 400, "Require platform_id or platform_name"),
        ({**good, "platform_name": None, "platform_id": "x"}, 400, "Invalid platform: x"),
        ({**good, "job_name": None}, 422, "Validation error"),
        ({**good, "max_duration": 0}, 400, "Max duration must not be zero"),
        ({**good, "max_duration": 1e9}, 400, "Max duration too large, exceeding 864000"),
        ({**good, "payload": {**payload, "max_shots": 0}}, 400, "Invalid max_shots, should be a positive number"),
        ({**good, "payload": {**payload, "iterator": []}}, 400, "Invalid iterator: must be a non-empty list"),
        (
            {**good, "payload": {**payload, "command": "probs"}},
            400,
            "Command 'probs' is not available on platform 'qpu:belenos'",
        ),
    ):
        answer = post(cloud, "/api/job", body)
        assert (answer.status_code, answer.json()["error"]) == (status, error)
        assert "detail" in answer.json()
    for path, status, error in (
        ("/api/platform/nowhere", 404, "Platform not found"),
        ("/api/job/status/none", 404, "Not found"),
        ("/api/nothing", 404, "Not found"),
    ):
        answer = get(cloud, path)
        assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert post(cloud, "/api/job/cancel/none").json()["error"] == "invalid job_id: none"
    assert post(cloud, "/emulator/set", {"seed": 1}).status_code == 400


def test_what_an_administrator_can_change() -> None:
    settings = CloudSettings(seed=1, platforms=("qpu:belenos",), max_shots=5000)
    with EmulatedCloud(settings, clock=Clock()) as cloud:
        create(cloud, envelope([0.1]))
        create(cloud, envelope([0.1]))
        full = post(cloud, "/api/job", envelope([0.1]))
        assert (full.status_code, full.json()["error"]) == (400, "Cannot create more than 1 jobs")
        assert post(cloud, "/emulator/set", {"max_waiting": 9, "credits": 0.0011, "status": "maintenance"}).ok
        closed = post(cloud, "/api/job", envelope([0.1]))
        assert closed.json()["error"] == "Create job disabled, Platform in maintenance status"
        assert get(cloud, "/api/platform/qpu%3Abelenos").json()["status"] == "maintenance"
        cloud.change(status="available")
        poor = post(cloud, "/api/job", envelope([0.1]))
        assert (poor.status_code, poor.json()["error"][:18]) == (401, "Not enough credits")
        cloud.change(credits=None)
        many = post(cloud, "/api/job", envelope([0.1], shots=5001))
        assert many.json()["error"] == "Max shots must less than or equal to 5000"
        cloud.change(tokens=["right"])
        for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}, {"X": "y"}):
            refused = get(cloud, "/api/jobs/availability", **headers)
            assert (refused.status_code, refused.json()["error"]) == (401, "Invalid or expired job token")
        assert get(cloud, "/api/jobs/availability", Authorization="Bearer right").ok
        assert "right" not in repr(cloud._state.settings)


def test_a_job_that_cannot_run_ends_in_error(cloud: EmulatedCloud) -> None:
    broken = envelope([0.1])
    broken["payload"]["experiment"] = "nonsense"
    crowded = envelope([0.1], platform="sim:ascella")
    wide = pcvl.Experiment(13)
    wide.add(0, pcvl.Unitary(pcvl.Matrix.eye(13)))
    wide.with_input(pcvl.BasicState([1] + [0] * 12))
    crowded["payload"] |= {"experiment": serialize(wide)}
    del crowded["payload"]["iterator"]
    jobs = [create(cloud, broken), create(cloud, crowded)]
    wait(cloud)
    answers = [get(cloud, f"/api/jobs/{job}/status").json() for job in jobs]
    assert [answer["status"] for answer in answers] == ["error", "error"]
    assert "cannot be decoded" in answers[0]["status_message"]
    assert "13 modes; sim:ascella has 12" in answers[1]["status_message"]
    assert get(cloud, f"/api/job/result/{jobs[0]}").json()["results"] is None


def with_settings(values: dict[str, Any], number: int = 1, *, command: str = "sample_count") -> dict[str, Any]:
    """A request whose iterations all have these values."""
    body = envelope([0.1], platform="sim:ideal")
    iterations = [{"circuit_params": {"phi": 0.1 * n}, **values} for n in range(number)]
    return {**body, "payload": {**body["payload"], "iterator": iterations, "command": command}}


@pytest.mark.parametrize(
    "body",
    [
        *[with_settings({name: n}) for name in ("max_shots", "max_samples") for n in (0, -1, 1.5, True, 10**13, 2**70)],
        with_settings({"max_shots": 3 * 10**8, "max_samples": 3 * 10**8}, command="samples"),
        with_settings({"max_shots": 10**6, "max_samples": 10**6}, 6, command="samples"),
        with_settings({}, 10_001),
    ],
)
def test_what_would_fill_the_memory_or_is_no_number_is_refused(cloud: EmulatedCloud, body: dict[str, Any]) -> None:
    known = len(cloud.jobs)
    answer = post(cloud, "/api/job", body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Invalid payload: ")
    assert len(cloud.jobs) == known


def test_no_samples_are_refused(cloud: EmulatedCloud) -> None:
    body = envelope([0.1])
    answer = post(cloud, "/api/job", {**body, "payload": {**body["payload"], "max_samples": 0}})
    assert (answer.status_code, "max_samples is 0" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize(("modes", "photons"), [(20, 10), (20, 8)])
def test_a_job_within_the_published_limits_may_still_be_too_large(
    cloud: EmulatedCloud, modes: int, photons: int
) -> None:
    large = pcvl.Experiment(modes)
    large.add(0, pcvl.Unitary(pcvl.Matrix(haar(modes, seed=5))))
    large.with_input(pcvl.BasicState([1] * photons + [0] * (modes - photons)))
    body = envelope([0.1], platform="sim:ideal")
    body["payload"] |= {"experiment": serialize(large)}
    del body["payload"]["iterator"]
    job_id = create(cloud, body)
    wait(cloud)
    answer = get(cloud, f"/api/jobs/{job_id}/status").json()
    assert answer["status"] == "error"
    assert "outcomes" in answer["status_message"]
    assert answer["status_message"].endswith("Use fewer photons or modes.")


@pytest.mark.parametrize(("limit", "most"), [("MOST_JOBS", 3), ("MOST_STORED", 4_000)])
def test_old_jobs_make_room_for_new_ones(monkeypatch: pytest.MonkeyPatch, limit: str, most: int) -> None:
    values = {"MOST_JOBS": 1000, "MOST_STORED": 2**29, limit: most}
    for name, value in values.items():
        monkeypatch.setattr(f"qpu_sdk.emulator.state.{name}", value)
    with EmulatedCloud(CloudSettings(seed=1, time_scale=FAST, platforms=("sim:ideal",))) as running:
        jobs = []
        for number in range(8):
            jobs.append(create(running, envelope([0.1], platform="sim:ideal", name=f"job-{number}")))
            wait(running)
        kept = [job["job_id"] for job in running.jobs]
        assert 1 <= len(kept) < 8
        assert kept == jobs[-len(kept) :]  # the newest
        assert get(running, f"/api/job/status/{jobs[0]}").status_code == 404


def test_open_jobs_are_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qpu_sdk.emulator.state.MOST_JOBS", 2)
    with EmulatedCloud(CloudSettings(seed=1, queue_s=1e6, platforms=("sim:ideal",))) as running:
        jobs = [create(running, envelope([0.1], platform="sim:ideal")) for _ in range(2)]
        full = post(running, "/api/job", envelope([0.1], platform="sim:ideal"))
        assert (full.status_code, full.json()["error"][:18]) == (400, "Cannot create more")
        assert [job["job_id"] for job in running.jobs] == jobs


def test_a_job_is_not_computed_for_ever(cloud: EmulatedCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qpu_sdk.emulator.state.LONGEST_COMPUTING_S", -1.0)
    job_id = create(cloud, envelope([0.1, 0.2]))
    wait(cloud)
    answer = get(cloud, f"/api/jobs/{job_id}/status").json()
    assert (answer["status"], "to simulate" in answer["status_message"]) == ("error", True)


def test_each_job_is_told_of_in_a_line_when_it_comes_and_when_it_ends() -> None:
    told: list[str] = []
    clock = Clock()
    state = CloudState(CloudSettings(seed=1, platforms=("sim:ideal",)), clock, told.append)
    try:
        body = envelope([0.1, 0.2], platform="sim:ideal", name="a\x1b[2Jb\nc" + "d" * 300)
        job = state.create(body)
        assert told == [f"job {shown_name} ({job.job_id}) waiting: 2 settings on sim:ideal" for shown_name in NAME]
        while state.job(job.job_id).state(clock()) != "completed":
            clock.now += 1.0
        assert told[1:] == [told[0].replace("waiting: 2", "completed: 2 of 2")]
        assert all(line.isprintable() for line in told)
    finally:
        state.close()


NAME = [f"a\\x1b[2Jb c{'d' * 86}..."]


# Endpoints


def test_both_spellings_and_the_rest_of_the_endpoints(cloud: EmulatedCloud) -> None:
    old = get(cloud, "/api/platform/sim%3Aideal").json()
    assert old == get(cloud, "/api/platforms/sim%3Aideal/processor").json()
    job_id = post(cloud, "/api/jobs", envelope([0.1], name="both")).json()["job_id"]
    wait(cloud)
    for what in ("status", "result"):
        assert get(cloud, f"/api/job/{what}/{job_id}").json() == get(cloud, f"/api/jobs/{job_id}/{what}").json()
    for path in (f"/api/job/rerun/{job_id}", f"/api/jobs/{job_id}/rerun"):
        again = post(cloud, path).json()["job_id"]
        assert get(cloud, f"/api/jobs/{again}/data").json()["rerun_from"] == job_id
        wait(cloud)
        assert results(cloud, again) != results(cloud, job_id)
    for path in (f"/api/job/cancel/{job_id}", f"/api/jobs/{job_id}/cancel"):
        assert post(cloud, path).json()["error"] == "Can not cancel job"
    data = get(cloud, f"/api/jobs/{job_id}/data").json()
    assert (data["job_name"], data["platform_name"], data["shots"]) == ("both", "qpu:belenos", 1000)
    assert data["payload"] == envelope([0.1])["payload"]
    [usage] = get(cloud, "/api/tokens/usage/report").json()
    assert usage["total_jobs"] == len(cloud.jobs)
    assert requests.get(cloud.url + "/health", timeout=GUARD_S).ok
    assert get(cloud, "/emulator/jobs").json() == cloud.jobs
    counts = get(cloud, "/emulator/requests").json()
    assert counts == cloud.requests
    assert counts["jobs"][job_id] == {"status": 2, "result": 4, "data": 1, "rerun": 2, "cancel": 2}


def test_eight_clients_at_once(cloud: EmulatedCloud) -> None:
    before = {job["job_id"] for job in cloud.jobs}
    cloud.change(max_waiting=100)
    with ThreadPoolExecutor(8) as pool:
        bodies = [envelope([0.01 * i, 0.02 * i], name=f"many-{i}") for i in range(16)]
        jobs = list(pool.map(lambda body: create(cloud, body), bodies))
        wait(cloud)
        answers = list(pool.map(lambda job: results(cloud, job), jobs))
    cloud.change(max_waiting=None)
    assert len(set(jobs)) == 16
    assert {job["job_id"] for job in cloud.jobs} == before | set(jobs)
    for i, answer in enumerate(answers):
        assert [e["iteration"]["circuit_params"]["phi"] for e in answer["results_list"]] == [0.01 * i, 0.02 * i]


# Faults


def with_faults(toml: str) -> EmulatedCloud:
    return EmulatedCloud(CloudSettings(seed=1, time_scale=FAST, platforms=("sim:ideal",)), Faults.parse(toml))


BODY = envelope([0.1], platform="sim:ideal")


def test_dropped_connections(capfd: pytest.CaptureFixture[str]) -> None:
    toml = """
        [[fault]]
        endpoint = "create"
        action = "drop"
        calls = [1]
        [[fault]]
        endpoint = "create"
        action = "drop-after"
        calls = [2]
    """
    with with_faults(toml) as cloud:
        for jobs in (0, 1):
            with pytest.raises(requests.ConnectionError):
                post(cloud, "/api/job", BODY)
            deadline = time.monotonic() + GUARD_S
            while len(cloud.jobs) < jobs and time.monotonic() < deadline:
                time.sleep(QUICK_POLLS)
            assert len(cloud.jobs) == jobs
        create(cloud, BODY)
        assert len(cloud.jobs) == 2
        assert cloud.requests["endpoints"] == {"create": {"POST": 3}}
    assert capfd.readouterr() == ("", "")


def test_wrong_answers() -> None:
    toml = """
        [[fault]]
        endpoint = "create"
        action = "answer"
        calls = [1]
        status = 503
        body = { error = "try later" }
        headers = { Retry-After = "1" }
        [[fault]]
        endpoint = "create"
        action = "answer"
        calls = [2]
        status = 400
        body = { error = "budget reduced" }
        handled = true
        include_job_id = true
        [[fault]]
        endpoint = "create"
        action = "html"
        calls = [3]
        handled = true
        [[fault]]
        endpoint = "create"
        action = "empty"
        calls = [4]
        [[fault]]
        endpoint = "status"
        action = "truncate"
        calls = [1]
        [[fault]]
        endpoint = "status"
        action = "replace"
        job = 2
        body = { status = "odd", progress = 50 }
        null = ["duration"]
        remove = ["shots"]
        [[fault]]
        endpoint = "status"
        action = "delay"
        delay_s = 0.2
        every = 2
    """
    with with_faults(toml) as cloud:
        later = post(cloud, "/api/job", BODY)
        assert (later.status_code, later.json(), later.headers["Retry-After"]) == (503, {"error": "try later"}, "1")
        assert not cloud.jobs
        created = post(cloud, "/api/job", BODY)
        assert created.status_code == 400
        assert created.json() == {"error": "budget reduced", "job_id": cloud.jobs[0]["job_id"]}
        html = post(cloud, "/api/job", BODY)
        assert (html.status_code, html.headers["content-type"], len(cloud.jobs)) == (200, "text/html", 2)
        empty = post(cloud, "/api/job", BODY)
        assert (empty.status_code, empty.content, len(cloud.jobs)) == (200, b"", 2)
        first, second = (f"/api/job/status/{job['job_id']}" for job in cloud.jobs)
        half = get(cloud, first)
        assert half.status_code == 200
        with pytest.raises(requests.JSONDecodeError):
            half.json()
        odd = get(cloud, second).json()
        assert (odd["status"], odd["progress"], odd["duration"]) == ("odd", 50, None)
        assert "shots" not in odd
        assert get(cloud, first).json()["msg"] == "ok"
        start = time.monotonic()
        assert get(cloud, first).json()["msg"] == "ok"
        assert time.monotonic() - start >= 0.2


def test_when_faults_happen() -> None:
    def met(rule: str, calls: int = 6) -> list[int]:
        faults = Faults.parse(f'[[fault]]\nendpoint = "status"\naction = "empty"\n{rule}')
        assert faults.next("create", seed=1) is None
        return [n for n in range(1, calls + 1) if faults.next("status", seed=1, job=3) is not None]

    assert met("") == [1, 2, 3, 4, 5, 6]
    assert met("calls = [2, 5]") == [2, 5]
    assert met("every = 3") == [3, 6]
    assert met("first = 2") == [1, 2]
    assert met("job = 3") == [1, 2, 3, 4, 5, 6]
    assert met("job = 2") == []
    some = met("probability = 0.1", 1000)
    assert some == met("probability = 0.1", 1000)
    assert 60 < len(some) < 140
    everything = Faults.parse('[[fault]]\nendpoint = "any"\naction = "drop"\ncalls = [2]')
    assert [everything.next(e, seed=1) is None for e in ("create", "status", "status")] == [True, False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[fault]", "faults are not TOML"),
        ("[fault]\n", "fault is not a list of tables"),
        ("[[faults]]\n", "faults have an unknown key 'faults'"),
        ('[[fault]]\naction = "drop"', "fault has no endpoint"),
        ('[[fault]]\nendpoint = "create"\naction = "explode"', "fault action is 'explode'"),
        ('[[fault]]\nendpoint = "nowhere"\naction = "drop"', "fault endpoint is 'nowhere'"),
        ('[[fault]]\nendpoint = "create"\naction = "drop"\nstatus = 500', "fault status does not go with"),
        ('[[fault]]\nendpoint = "create"\naction = "drop"\ncall = 1', "fault has an unknown key 'call'"),
        ('[[fault]]\nendpoint = "create"\naction = "drop"\ncalls = [0]', "fault calls is"),
        ('[[fault]]\nendpoint = "create"\naction = "drop"\nevery = 0', "fault every is 0"),
        ('[[fault]]\nendpoint = "create"\naction = "drop"\nprobability = 2', "fault probability is 2"),
        ('[[fault]]\nendpoint = "create"\naction = "answer"\nstatus = 99', "fault status is 99"),
        ('[[fault]]\nendpoint = "create"\naction = "delay"\ndelay_s = -1', "fault delay_s is -1"),
        ('[[fault]]\nendpoint = "create"\naction = "replace"\nbody = 1', "fault body is 1"),
        ('[[fault]]\nendpoint = "create"\naction = "answer"\ninclude_job_id = true\nbody = {}', "handled is not"),
        ('[[fault]]\nendpoint = "create"\naction = "drop"\ncalls = []', "fault calls is \\[\\]"),
        ('[[fault]]\nendpoint = "create"\naction = "drop"\ncalls = [true]', "fault calls is \\[True\\]"),
        ('[[fault]]\nendpoint = "create"\naction = "drop"\ncalls = 1', "fault calls is 1"),
        ('[[fault]]\nendpoint = "create"\naction = "drop"\nfirst = 1.5', "fault first is 1.5"),
        ('[[fault]]\nendpoint = "create"\naction = "drop"\nprobability = nan', "fault probability is nan"),
        ('[[fault]]\nendpoint = "create"\naction = "drop"\nprobability = "1"', "fault probability is '1'"),
        ('[[fault]]\nendpoint = "create"\naction = "delay"\ndelay_s = inf', "fault delay_s is inf"),
        ('[[fault]]\nendpoint = "create"\naction = "html"\nhandled = 1', "fault handled is 1"),
        ('[[fault]]\nendpoint = "create"\naction = "answer"\nheaders = 1', "fault headers is 1"),
        ('[[fault]]\nendpoint = "create"\naction = "answer"\nheaders = { Retry-After = 1 }', "fault headers is"),
        ('[[fault]]\nendpoint = "create"\naction = "replace"\nnull = "id"', "fault null is 'id'"),
        ('[[fault]]\nendpoint = "create"\naction = "replace"\nremove = [1]', "fault remove is \\[1\\]"),
    ],
)
def test_faults_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Faults.parse(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_delay_does_not_hold_up_the_end() -> None:
    with with_faults('[[fault]]\nendpoint = "availability"\naction = "delay"\ndelay_s = 3600') as cloud:
        asking = threading.Thread(target=lambda: get(cloud, "/api/jobs/availability"), daemon=True)
        asking.start()
        while not cloud.requests["endpoints"]:
            time.sleep(QUICK_POLLS)
    asking.join(GUARD_S / 2)
    assert not asking.is_alive()


# Settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"time_scale": 0}, "time_scale is 0; it must be a number > 0"),
        ({"queue_s": -1}, "queue_s is -1"),
        ({"status": "open"}, "status 'open' is unknown"),
        ({"platforms": ("belenos",)}, "platform 'belenos' is not"),
        ({"platforms": ()}, "platforms are none"),
        ({"payload_version": 3}, "payload_version is 3"),
        ({"max_shots": 0}, "max_shots is 0"),
    ],
)
def test_settings_that_make_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CloudSettings(seed=1, **values)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match=r'Run pip install "uvicorn>=[\d.]+,<[\d.]+"'):
        EmulatedCloud(CloudSettings(seed=1, platforms=("sim:ideal",)))


def test_serving_until_ctrl_c_without_torch() -> None:
    code = """
import sys
from qpu_sdk.emulator import CloudSettings, serve
serve(CloudSettings(seed=1, platforms=("sim:ideal",)), ready=lambda url: print(url, flush=True))
print("ended", "torch" in sys.modules)
"""
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    url = run.stdout.readline().strip()
    assert requests.get(url + "/health", timeout=GUARD_S).json() == {"status": "ok"}
    run.send_signal(signal.SIGINT)
    assert run.communicate(timeout=GUARD_S) == ("ended False\n", "")
    assert run.returncode == 0


def test_a_port_that_is_taken(cloud: EmulatedCloud) -> None:
    port = int(cloud.url.rsplit(":", 1)[1])
    with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 cannot be used"):
        serve(CloudSettings(seed=1, platforms=("sim:ideal",)), port=port)
