"""The local simulator: exact distributions against Perceval and plain loss, sampling against chi-square."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import perceval as pcvl
import pytest
from scipy.stats import chi2

from qpu_sdk.devices import local
from qpu_sdk.devices.base import JobStatus
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.simulation import LocalModel, exact_probabilities, shot_distribution
from qpu_sdk.errors import ConfigError, JobCancelled, JobFailed, JobTimeout, ProgramError
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program
from tests.helpers import program
from tests.oracles.permanents import Matrix, boson_probability, outcomes
from tests.oracles.statistics import chi_square_p
from tests.oracles.unitaries import haar

Shown = dict[tuple[int, ...], float]
SIGMAS = 5.0


SMALL = program(IsometryMesh(4, 2), 2, seed=1)
LARGE = program(RectangularMesh(5), 3, seed=2)
SPREAD = program(RectangularMesh(4), 2, seed=11)


def table(counts: Counts) -> dict[tuple[int, ...], int]:
    pairs = zip(counts.outcomes.tolist(), counts.numbers.tolist(), strict=True)
    return {tuple(row): n for row, n in pairs if n} | ({(): counts.other} if counts.other else {})


def shown(columns: Matrix, model: LocalModel) -> Shown:
    rows, p = shot_distribution(columns[None], model)
    return {tuple(row): float(w) for row, w in zip(rows.tolist(), p[0], strict=True)}


def lossy_oracle(columns: Matrix, eta: float) -> Shown:
    """Photons of every Fock outcome are lost one by one behind the interferometer; empty windows are dropped."""
    modes, photons = columns.shape
    after: Counter[tuple[int, ...]] = Counter()
    for s in outcomes(modes, photons):
        p = boson_probability(columns, s)
        for kept in itertools.product((False, True), repeat=photons):
            weight = math.prod(eta if k else 1.0 - eta for k in kept)
            seen = [mode for mode, k in zip(s, kept, strict=True) if k]
            after[tuple(seen.count(mode) for mode in range(modes))] += p * weight  # type: ignore[assignment]
    empty = after.pop((0,) * modes, 0.0)
    return {s: p / (1.0 - empty) for s, p in after.items() if p > 0.0}


def clicks_of(pattern: Shown) -> Shown:
    found: dict[tuple[int, ...], float] = {}
    for s, p in pattern.items():
        click = tuple(min(n, 1) for n in s)
        found[click] = found.get(click, 0.0) + p
    return found


def assert_same(found: Shown, expected: Shown, tolerance: float) -> None:
    for outcome in found.keys() | expected.keys():
        assert abs(found.get(outcome, 0.0) - expected.get(outcome, 0.0)) < tolerance, outcome


# -- exact distributions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("collision_free", [False, True])
@pytest.mark.parametrize(("modes", "photons"), [(1, 1), (2, 2), (5, 1), (4, 4), (6, 3), (9, 4), (8, 5)])
def test_slos_equals_permanents(modes: int, photons: int, collision_free: bool) -> None:
    columns = np.stack([haar(modes, seed)[:, :photons] for seed in (1, 2)])
    both = [exact_probabilities(columns, collision_free=collision_free, engine=e) for e in ("slos", "permanents")]
    assert both[0].shape == both[1].shape
    np.testing.assert_allclose(both[0], both[1], atol=1e-10)
    auto = exact_probabilities(columns, collision_free=collision_free)
    np.testing.assert_allclose(auto, both[0], atol=1e-10)


@pytest.mark.parametrize("eta", [1.0, 0.6, 0.05])
@pytest.mark.parametrize(("modes", "photons"), [(3, 2), (4, 3), (5, 1)])
def test_lossy_shots_equal_loss_behind_the_interferometer(modes: int, photons: int, eta: float) -> None:
    columns = haar(modes, seed=3)[:, :photons]
    found = shown(columns, LocalModel(noise=Noise(transmittance=eta), detector="pnr"))
    assert abs(sum(found.values()) - 1.0) < 1e-12
    assert_same(found, lossy_oracle(columns, eta), 1e-12)


def test_lossy_shots_equal_percevals_noise_model() -> None:
    unitary = haar(4, seed=4)
    processor = pcvl.Processor(
        "SLOS", pcvl.Unitary(pcvl.Matrix(unitary)), noise=pcvl.NoiseModel(brightness=0.7, transmittance=0.4)
    )
    processor.min_detected_photons_filter(1)
    processor.with_input(pcvl.BasicState([1, 1, 1, 0]))
    expected = {tuple(state): p for state, p in processor.probs()["results"].items()}
    assert_same(
        shown(unitary[:, :3], LocalModel(noise=Noise(brightness=0.7, transmittance=0.4), detector="pnr")),
        expected,
        1e-9,
    )


@pytest.mark.parametrize("eta", [1.0, 0.4])
def test_threshold_detectors_cannot_count(eta: float) -> None:
    columns = haar(4, seed=5)[:, :3]
    found = shown(columns, LocalModel(noise=Noise(transmittance=eta), detector="threshold"))
    assert_same(found, clicks_of(lossy_oracle(columns, eta)), 1e-12)


@pytest.mark.parametrize("engine", ["slos", "permanents"])
def test_collision_free_shots_are_those_of_the_whole_distribution(engine: Any) -> None:
    columns = haar(5, seed=6)[:, :3]
    found = shown(columns, LocalModel(noise=Noise(transmittance=0.5), outcomes="collision_free", engine=engine))
    expected = {s: p for s, p in lossy_oracle(columns, 0.5).items() if sum(s) == 3 and max(s) == 1}
    assert len(found) == math.comb(5, 3)
    assert_same(found, expected, 1e-12)


# -- sampling --------------------------------------------------------------------------------------------------

MODELS = {
    "ideal": LocalModel(),
    "lossy": LocalModel(noise=Noise(brightness=0.8, transmittance=0.5), detector="pnr"),
    "threshold": LocalModel(noise=Noise(transmittance=0.5)),
    "collision_free": LocalModel(noise=Noise(transmittance=0.5), outcomes="collision_free"),
}


def expected_shots(p: Program, model: LocalModel, shots: int) -> Shown:
    columns = p.mesh.columns(p.phases, p.input_modes)
    every = lossy_oracle(columns, model.noise.click_probability)
    if model.detects == "threshold":
        every = clicks_of(every)
    if model.outcomes == "collision_free":
        kept = {s: w for s, w in every.items() if sum(s) == p.photons and max(s) == 1}
        every = kept | {(): 1.0 - sum(kept.values())}
    return {s: shots * w for s, w in every.items()}


@pytest.mark.parametrize("name", list(MODELS))
def test_counts_follow_the_exact_distribution(name: str) -> None:
    shots = 20_000
    [counts] = LocalDevice(seed=1, model=MODELS[name]).submit([LARGE], shots=shots).result()
    expected, found = expected_shots(LARGE, MODELS[name], shots), table(counts)
    assert set(found) <= set(expected)
    assert counts.shots == shots
    p = chi_square_p([found.get(s, 0) for s in expected], list(expected.values()))
    assert 1e-5 < p < 1 - 1e-5


def test_jobs_are_independent_samples() -> None:
    """The chi-square sums of 60 jobs add up to a chi-square: neither too large nor too small (no outcome is rare)."""
    device, shots, jobs = LocalDevice(seed=2), 2000, 60
    expected = expected_shots(SPREAD, LocalModel(), shots)
    assert min(expected.values()) > 40.0
    total = 0.0
    for job in [device.submit([SPREAD], shots=shots, tag=f"step-{i // 3}") for i in range(jobs)]:
        [counts] = job.result()
        found = table(counts)
        total += sum((found.get(s, 0) - e) ** 2 / e for s, e in expected.items())
    assert 1e-5 < chi2.sf(total, jobs * (len(expected) - 1)) < 1 - 1e-5


@pytest.mark.parametrize("eta", [0.3, 0.7])
def test_number_of_full_events_is_binomial(eta: float) -> None:
    shots, p = 50_000, eta**3 / (1.0 - (1.0 - eta) ** 3)
    [counts] = (
        LocalDevice(seed=3, model=LocalModel(noise=Noise(transmittance=eta), detector="pnr"))
        .submit([LARGE], shots=shots)
        .result()
    )
    assert abs(counts.events - shots * p) < SIGMAS * math.sqrt(shots * p * (1.0 - p))


def test_loss_leaves_the_post_selected_distribution_alone() -> None:
    model = LocalModel(noise=Noise(transmittance=0.3), detector="pnr")
    [counts] = LocalDevice(seed=4, model=model).submit([LARGE], shots=100_000).result()
    columns = LARGE.mesh.columns(LARGE.phases, LARGE.input_modes)
    exact = np.array([boson_probability(columns, s) for s in itertools.combinations(range(5), 3)])
    assert chi_square_p(counts.collision_free(), counts.collision_free().sum() * exact / exact.sum()) > 1e-5


# -- seeds, tags, order ----------------------------------------------------------------------------------------


def draw(device: LocalDevice, tag: str, programs: tuple[Program, ...] = (LARGE,)) -> list[dict[tuple[int, ...], int]]:
    return [table(c) for c in device.submit(programs, shots=500, tag=tag).result()]


def test_same_seed_and_tag_give_the_same_counts() -> None:
    assert draw(LocalDevice(seed=5), "a") == draw(LocalDevice(seed=5), "a")


def test_seed_tag_and_repetition_all_draw_afresh() -> None:
    device = LocalDevice(seed=5)
    drawn = [draw(device, "a"), draw(device, "a"), draw(device, "b"), draw(LocalDevice(seed=6), "a")]
    assert all(one != other for one, other in itertools.combinations(drawn, 2))


def test_order_of_differently_tagged_submissions_does_not_matter() -> None:
    one, other = LocalDevice(seed=5), LocalDevice(seed=5)
    forwards = {tag: draw(one, tag) for tag in ("a", "b", "c")}
    backwards = {tag: draw(other, tag) for tag in ("c", "b", "a")}
    assert forwards == backwards


def test_a_program_twice_in_one_job_is_drawn_twice() -> None:
    first, second = draw(LocalDevice(seed=5), "a", (LARGE, LARGE))
    assert first != second


def test_counts_do_not_depend_on_the_other_programs_of_a_job() -> None:
    alone = draw(LocalDevice(seed=5), "a", (LARGE,))
    assert draw(LocalDevice(seed=5), "a", (LARGE, SMALL, SMALL))[:1] == alone


def test_mixed_sizes_and_meshes_come_back_in_order() -> None:
    meshes = [IsometryMesh(4, 2), RectangularMesh(5), IsometryMesh(4, 2), BrickwallMesh(4), RectangularMesh(4)]
    programs = [program(m, 3 if m.modes == 5 else 2, seed=i) for i, m in enumerate(meshes)]
    results = LocalDevice(seed=7).submit(programs, shots=5000, tag="mixed").result()
    for p, counts in zip(programs, results, strict=True):
        assert (counts.fingerprint, counts.modes, counts.photons) == (p.fingerprint, p.modes, p.photons)
        assert (counts.tag, counts.device, counts.shots) == ("mixed", "local:slos", 5000)
        expected, found = expected_shots(p, LocalModel(), 5000), table(counts)
        assert chi_square_p([found.get(s, 0) for s in expected], list(expected.values())) > 1e-5


def test_each_program_of_a_job_keeps_its_own_input_modes() -> None:
    """Bar-state interferometers return the photons to whatever modes they came from."""
    mesh = IsometryMesh(4, 2)
    phases = np.zeros(mesh.declared)
    phases[[gate.theta for gate in mesh.gates]] = np.pi
    pairs = list(itertools.combinations(range(4), 2))
    results = LocalDevice(seed=8).submit([Program(mesh, phases, pair) for pair in pairs], shots=10).result()
    for pair, counts in zip(pairs, results, strict=True):
        assert table(counts) == {tuple(int(m in pair) for m in range(4)): 10}


# -- jobs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Holds every job in its run until the event is set."""
    opened, real = threading.Event(), local.shot_distribution

    def held(columns: Matrix, model: LocalModel) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
        opened.wait()
        return real(columns, model)

    monkeypatch.setattr(local, "shot_distribution", held)
    yield opened
    opened.set()


def test_a_queued_job_can_be_cancelled(gate: threading.Event) -> None:
    device = LocalDevice(seed=9)
    running, queued = (device.submit([SMALL], shots=10) for _ in range(2))
    assert queued.status() is JobStatus.QUEUED
    queued.cancel()
    assert queued.status() is JobStatus.CANCELLED
    with pytest.raises(JobCancelled, match=queued.id) as caught:
        queued.result()
    assert caught.value.job_id == queued.id
    gate.set()
    assert running.result()[0].shots == 10
    assert queued.status() is JobStatus.CANCELLED


def test_a_result_that_is_late_is_a_timeout_and_the_job_goes_on(gate: threading.Event) -> None:
    job = LocalDevice(seed=9).submit([SMALL], shots=10)
    with pytest.raises(JobTimeout, match=job.id) as caught:
        job.result(timeout_s=0.01)
    assert caught.value.job_id == job.id
    assert not job.status().final
    gate.set()
    assert job.result()[0].shots == 10
    assert job.status() is JobStatus.DONE


def test_a_failure_of_the_simulation_is_a_failed_job(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(columns: Matrix, model: LocalModel) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(local, "shot_distribution", broken)
    job = LocalDevice(seed=9).submit([SMALL], shots=10)
    with pytest.raises(JobFailed, match="no room") as caught:
        job.result()
    assert caught.value.job_id == job.id
    assert job.status() is JobStatus.FAILED


def test_the_list_of_counts_belongs_to_the_caller() -> None:
    job = LocalDevice(seed=9).submit([SMALL], shots=10)
    job.result().clear()
    assert len(job.result()) == 1


# -- limits ----------------------------------------------------------------------------------------------------


def test_too_many_outcomes_are_refused_before_submission() -> None:
    crowded = program(IsometryMesh(40, 8), 8, seed=1)
    with pytest.raises(ProgramError, match="outcomes"):
        LocalDevice(seed=1).submit([crowded], shots=1)
    with pytest.raises(ProgramError, match="outcomes"):
        LocalDevice(seed=1, model=LocalModel(outcomes="collision_free")).submit([crowded], shots=1)


@pytest.mark.parametrize("name", ["brightness", "transmittance", "efficiency"])
@pytest.mark.parametrize("value", [0.0, -0.1, 1.1, math.nan, math.inf])
def test_efficiencies_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        LocalModel(noise=Noise(**{name: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["detector", "outcomes", "engine"])
def test_unknown_choices_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 'other'"):
        LocalModel(**{name: "other"})  # type: ignore[arg-type]


def test_a_very_dim_device_still_counts_single_clicks() -> None:
    """To first order in eta a shot is one photon, spread as sum_j |U_ij|^2 / N."""
    columns = haar(4, seed=7)[:, :3]
    found = shown(columns, LocalModel(noise=Noise(transmittance=1e-13), detector="pnr"))
    expected = (np.abs(columns) ** 2).sum(axis=1) / 3.0
    for mode in range(4):
        assert abs(found[tuple(int(m == mode) for m in range(4))] - expected[mode]) < 1e-9


@pytest.mark.parametrize(
    ("model", "modes", "photons"),
    [
        (LocalModel(outcomes="collision_free"), 24, 12),
        (LocalModel(), 24, 12),
        (LocalModel(noise=Noise(transmittance=0.5)), 16, 10),
        (LocalModel(noise=Noise(g2=0.02, transmittance=0.5)), 24, 12),
        (LocalModel(noise=Noise(g2=0.02, transmittance=0.02), detector="pnr"), 12, 12),
    ],
)
def test_what_would_take_minutes_is_refused_before_submission(model: LocalModel, modes: int, photons: int) -> None:
    """By its products, not only by its outcomes: 24 modes and 12 photons have 2.7 million collision-free ones."""
    mesh = BrickwallMesh(modes)
    program = Program(mesh, np.zeros(mesh.declared), tuple(range(photons)))
    begun = time.perf_counter()
    with pytest.raises(ProgramError, match=r"Use .*fewer photons"):
        LocalDevice(seed=1, model=model).submit([program], shots=1)
    with pytest.raises(ProgramError, match="Use fewer photons"):
        Program(BrickwallMesh(24), np.zeros(BrickwallMesh(24).declared), tuple(range(12))).probabilities()
    assert time.perf_counter() - begun < 5.0
