"""The training loop: what it spends, that it stops and goes on without a trace, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_sdk.devices.base import Device, DeviceSpec, Job, JobStatus
from qpu_sdk.devices.journal import Journal
from qpu_sdk.devices.registry import open_device
from qpu_sdk.errors import ConfigError, DataError, MitigationError
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.program import Program
from qpu_sdk.runs.checkpoint import RunOrigin, load_checkpoint, save_checkpoint
from qpu_sdk.training.config import TrainingConfig
from qpu_sdk.training.evaluation import evaluate
from qpu_sdk.training.loop import EXACT_BETA2, Training, TrainingState
from qpu_sdk.training.optimiser import open_optimiser
from tests.training import tiny

EVERYTHING = {"training": {"warm_start_epochs": 2}, "spsa": {"blocking": True, "smoothing": "adam"}}
TRIALS = {"training": {"trials": 3, "trial_epochs": 2, "warm_start_epochs": 3, "optimiser": "rotated-adam"}}
OPTIMISERS = get_args(TrainingConfig.model_fields["optimiser"].annotation)
LONGER = [{"training": {"optimiser": name, "final_epochs": 8}} for name in OPTIMISERS]


class Recording(Device):
    """A local device that keeps what it was asked."""

    def __init__(self, name: str = "local:slos") -> None:
        self._inner = open_device("local:slos", seed=3)
        self.spec = DeviceSpec(name=name, max_modes=64, max_photons=16)
        self.submissions: list[tuple[int, int, str]] = []

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        self.submissions.append((len(programs), shots, tag))
        return self._inner.submit(programs, shots=shots, tag=tag)


class Meeting(Device):
    """A device whose results come only after the other device has been asked."""

    def __init__(self, name: str, asked: list[str]) -> None:
        self._inner = open_device("local:slos", seed=3)
        self.spec = DeviceSpec(name=name, max_modes=64, max_photons=16)
        self._name, self._asked = name, asked

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        self._asked.append(f"{self._name} {tag}")
        return Blocked(self._inner.submit(programs, shots=shots, tag=tag), tag, self._asked)


class Blocked(Job):
    def __init__(self, job: Job, tag: str, asked: list[str]) -> None:
        self.id, self._job, self._tag, self._asked = job.id, job, tag, asked

    def status(self) -> JobStatus:
        return self._job.status()

    def result(self, timeout_s: float | None = None) -> list[Counts]:
        waiting = {entry.partition(" ")[0] for entry in self._asked if entry.endswith(f" {self._tag}")}
        if waiting != {"fake:a", "fake:b"}:
            raise AssertionError(f"{self._tag}: waits for {waiting} before the other device was asked")
        return self._job.result(timeout_s)

    def cancel(self) -> None:
        self._job.cancel()


def finish(run: Training, state: TrainingState | None = None) -> TrainingState:
    """The state after the last unit."""
    state = state if state is not None else run.init()
    for after, _ in run.run(state):
        state = after
    return state


def weights(run: Training, state: TrainingState) -> torch.Tensor:
    return run.weights(state, state.p)


def bits(value: Any, name: str = "state") -> dict[str, Any]:
    """Everything in a state by its name, arrays as their bytes; without the seconds that it took."""
    parts: Mapping[str, Any] = {}
    if is_dataclass(value):
        parts = {field.name: getattr(value, field.name) for field in fields(value) if field.name != "wall_s"}
    elif isinstance(value, Mapping):
        parts = value
    elif isinstance(value, torch.Tensor):
        return bits(value.detach().numpy(), name)
    elif isinstance(value, np.ndarray):
        return {name: (value.dtype, value.shape, value.tobytes())}
    else:
        return {name: value}
    return {key: part for own, inner in parts.items() for key, part in bits(inner, f"{name}.{own}").items()}


# -- running -----------------------------------------------------------------------------------------------


def test_a_run_learns_the_tiny_problem() -> None:
    config = tiny.config(training={"rounds": 1, "final_epochs": 40, "lr": 0.05}, spsa={"steps": 0})
    run, data = tiny.training(config), tiny.dataset(test=200)
    images, labels = data.test.tensors()
    before = evaluate(run.target, run.weights(run.init(), torch.ones(36)), images, labels).accuracy
    after = evaluate(run.target, weights(run, finish(run)), images, labels).accuracy
    assert before < 0.7
    assert after > 0.9


@pytest.mark.parametrize("kind", ["tapered", "lean", "paper"])
def test_the_kind_of_generator_chooses_the_optimiser_of_the_phases_unless_it_is_given(kind: str) -> None:
    usual = "rotated-adam" if kind == "tapered" else "adam"
    for named, expected in ((None, usual), ("adam", "adam"), ("rotated-adam", "rotated-adam")):
        training = {"warm_start_epochs": 1} | ({} if named is None else {"warm_start_optimiser": named})
        run = tiny.training(tiny.config(generator={"kind": kind}, training=training))
        assert run.exact == open_optimiser(expected, beta2=EXACT_BETA2 if expected == "adam" else run.config.beta2)


@pytest.mark.parametrize("name", ["adam", "rotated-adam"])
def test_a_warm_start_that_is_stopped_and_shifted_goes_on_with_the_same_bits(name: str) -> None:
    training = {"warm_start_epochs": 12, "rounds": 0, "warm_start_optimiser": name, "augment_shift": 1}
    config = tiny.config(training=training)
    whole, run = tiny.training(config), tiny.training(config)
    state = run.init()
    for unit in run.schedule.units[:9]:  # after the first basis
        state, _ = run.step(state, unit)
    assert bits(finish(tiny.training(config), state)) == bits(finish(whole))


def test_shifts_change_what_is_learnt_and_none_does_not() -> None:
    plain, none, moved = (
        finish(tiny.training(tiny.config(training={"warm_start_epochs": 1, "rounds": 0} | more))).learnt.fit
        for more in ({}, {"augment_shift": 0}, {"augment_shift": 1})
    )
    assert bits(plain) == bits(none) != bits(moved)


def test_spent_settings_and_shots_are_those_planned() -> None:
    device, config = Recording(), tiny.config()
    run = tiny.training(config, devices={"local:slos": device})
    finish(run)
    spent = run.bank.spent
    assert (spent.settings, spent.shots) == (run.schedule.settings, run.schedule.shots)
    assert spent.settings == sum(n for n, _, _ in device.submissions)
    assert spent.shots == sum(n * shots for n, shots, _ in device.submissions)
    assert spent.jobs == len(device.submissions)


@given(
    rounds=st.integers(0, 3),
    steps=st.integers(0, 3),
    resamplings=st.integers(1, 3),
    pairs=st.integers(1, 4),
    gain=st.none() | st.just(0.1),
)
@settings(deadline=None, derandomize=True, max_examples=25)
def test_the_plan_is_exact_for_every_schedule(
    rounds: int, steps: int, resamplings: int, pairs: int, gain: float | None
) -> None:
    config = tiny.config(
        training={"rounds": rounds, "generator_epochs": 0, "final_epochs": 1, "batch_size": 48},
        spsa={"steps": steps, "resamplings": resamplings, "calibration_pairs": pairs, "a": gain},
    )
    run = tiny.training(config)
    asked, measure = [0, 0], run.bank.measure

    def counting(phases: np.ndarray, *, shots: int, tag: str) -> object:
        asked[0] += len(phases) * len(run.bank.qnns)
        asked[1] += len(phases) * len(run.bank.qnns) * shots
        return measure(phases, shots=shots, tag=tag)

    run.bank.measure = counting  # type: ignore[assignment,method-assign]
    finish(run)
    assert asked == [run.schedule.settings, run.schedule.shots]
    done = [(program, job.shots_each) for job in run.bank.journal.jobs() for program in job.programs]
    assert run.bank.spent.settings == len(done) == len(set(done)) <= asked[0]  # none is run twice


def test_rows_count_up_to_the_totals() -> None:
    run = tiny.training(tiny.config())
    states, rows = zip(*run.run(run.init()), strict=True)
    units = list(range(1, len(run.schedule.units) + 1))
    assert [row["unit"] for row in rows] == [state.done for state in states] == units
    assert [row["epoch"] for row in rows if "epoch" in row] == list(range(1, run.schedule.total_epochs + 1))
    assert rows[-1]["circuit_settings"] == run.schedule.settings
    assert [state.wall_s for state in states] == sorted(state.wall_s for state in states)


def test_equal_seeds_give_equal_weights() -> None:
    runs = [tiny.training(tiny.config(seed=seed)) for seed in (1, 1, 2)]
    found = [weights(run, finish(run)) for run in runs]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_final_weights_are_those_of_the_last_measurement() -> None:
    run = tiny.training(tiny.config())
    for state, row in run.run(run.init()):
        if row["kind"] == "measure":
            measured = state
    assert torch.equal(state.p, measured.p)
    assert state.measured == measured.measured
    assert measured.done == run.schedule.units.index(run.schedule.last_measurement) + 1


def test_running_leaves_the_global_random_states() -> None:
    torch_state = torch.random.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002  (the state that must not be touched)
    finish(tiny.training(tiny.config(**EVERYTHING)))
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


def test_warm_start_asks_no_device() -> None:
    device = Recording()
    run = tiny.training(tiny.config(training={"warm_start_epochs": 3}), devices={"local:slos": device})
    units = run.run(run.init())
    states, rows = zip(*(next(units) for _ in range(3)), strict=True)
    assert [row["kind"] for row in rows] == ["warm-start"] * 3
    assert not device.submissions
    assert run.bank.spent.settings == 0
    assert not np.array_equal(states[-1].learnt.spsa.x, run.init().learnt.spsa.x)


def test_warm_start_lowers_the_loss() -> None:
    run = tiny.training(tiny.config(training={"warm_start_epochs": 25, "lr": 0.05}))
    rows = [row for _, row in run.run(run.init()) if row["kind"] == "warm-start"]
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]


def test_two_devices_are_asked_before_either_is_waited_for() -> None:
    asked: list[str] = []
    qnns = [{"modes": 4, "photons": 2, "device": name} for name in ("fake:a", "fake:b")]
    run = tiny.training(tiny.config(qnn=qnns), devices={name: Meeting(name, asked) for name in ("fake:a", "fake:b")})
    finish(run)
    assert len(asked) == run.bank.spent.jobs == 2 * len({entry.partition(" ")[2] for entry in asked})


# -- stopping and going on ---------------------------------------------------------------------------------


def copied(journal: Journal) -> Journal:
    """The journal as a process that dies now would leave it."""
    copy = Journal(None).__enter__()
    journal._sql.backup(copy._sql)
    return copy


@pytest.mark.parametrize("changes", [{}, EVERYTHING, TRIALS, *LONGER])
def test_stopping_after_any_unit_changes_no_bit(changes: dict[str, Any], tmp_path: Path) -> None:
    """By induction: read back after a unit and gone on for one more, a run is where the whole one was after that."""
    config = tiny.config(**changes)
    whole, origin = tiny.training(config), RunOrigin("config", "data", 1)
    steps = [(whole.init(), {}, whole.bank.spent, copied(whole.bank.journal))]
    for state, row in whole.run(steps[0][0]):
        steps.append((state, row, whole.bank.spent, copied(whole.bank.journal)))
    assert len(steps) == len(whole.schedule.units) + 1
    for (state, _, spent, journal), (later, row, later_spent, _) in pairwise(steps):
        save_checkpoint(tmp_path, state, origin)
        loaded = load_checkpoint(tmp_path, config="config")
        assert loaded is not None
        assert bits(loaded[0]) == bits(state)
        assert loaded == (loaded[0], origin)
        resumed = tiny.training(config, journal=journal)
        assert resumed.bank.spent == spent
        after, found = next(resumed.run(loaded[0]))
        assert bits(after) == bits(later), f"after unit {later.done}"
        assert (resumed.bank.spent, found | {"wall_s": 0}) == (later_spent, row | {"wall_s": 0})


@pytest.mark.parametrize("changes", [EVERYTHING, TRIALS, *LONGER])
def test_a_step_is_a_function_of_state_and_unit(changes: dict[str, Any]) -> None:
    run = tiny.training(tiny.config(**changes))
    state = run.init()
    for unit in run.schedule.units:
        before = bits(state)
        one, other = run.step(state, unit), run.step(state, unit)
        assert bits(state) == before, unit
        assert (bits(one[0]), one[1]) == (bits(other[0]), other[1]), unit
        state = one[0]
    assert state.done == len(run.schedule.units)


def test_a_run_learns_nothing_of_its_own() -> None:
    """Two runs from two states of one training, in turns, are as if each were alone."""
    run, alone = tiny.training(tiny.config()), tiny.training(tiny.config())
    states = [run.init(), replace(run.init(), learnt=tiny.training(tiny.config(seed=5)).init().learnt)]
    turns = zip(*(run.run(state) for state in states), strict=True)
    assert [bits(one[0]) for one, _ in turns] == [bits(state) for state, _ in alone.run(alone.init())]


def test_the_trial_with_the_lowest_loss_goes_on() -> None:
    run = tiny.training(tiny.config(**TRIALS))
    tried = [(state, row) for state, row in run.run(run.init()) if row["kind"] == "trial"]
    ends = [(row["loss"], state.best_loss) for state, row in tried[1::2]]
    assert [best for _, best in ends[:-1]] == [min(loss for loss, _ in ends[: i + 1]) for i in range(len(ends) - 1)]
    best = min((row["loss"], i) for i, (_, row) in enumerate(tried) if i % 2)[1]
    chosen = tried[-1][0]
    assert (chosen.best, chosen.best_loss) == (None, np.inf)
    assert bits(chosen.learnt) == bits(tried[best][0].learnt)


def test_trials_of_which_none_has_a_loss_are_told() -> None:
    run = tiny.training(tiny.config(**TRIALS))
    last = [unit for unit in run.schedule.units if unit.kind == "trial"][-1]
    with pytest.raises(ConfigError, match=r"diverged in all 3 trials.*Lower"):
        run.step(replace(run.init(), best_loss=-np.inf), last)


# -- refusals ----------------------------------------------------------------------------------------------


def test_a_target_larger_than_the_outcome_space_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"68 weights and needs 68 joint outcomes; the QNNs have 36"):
        tiny.training(tiny.config(), module=tiny.Linear(classes=4))


def test_labels_beyond_the_classes_are_refused() -> None:
    with pytest.raises(DataError, match=r"label 2; the target tells 2 classes apart"):
        tiny.training(tiny.config(), data=tiny.dataset(classes=3))


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"does not take images of shape \(1, 6, 6\)"):
        tiny.training(tiny.config(), data=tiny.dataset(side=6))


def test_no_event_at_all_is_a_mitigation_error() -> None:
    config = tiny.config(device="local:slos?transmittance=1e-6", training={"shots": 1})
    with pytest.raises(MitigationError, match="no collision-free 2-photon event in 1 shots"):
        finish(tiny.training(config))
