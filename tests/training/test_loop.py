"""The training loop: what it spends, that it stops and goes on without a trace, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_sdk.devices.base import Device, DeviceSpec, Job, JobStatus
from qpu_sdk.devices.journal import Journal
from qpu_sdk.devices.registry import open_device
from qpu_sdk.errors import BudgetExceeded, ConfigError, DataError, MitigationError
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.program import Program
from qpu_sdk.runs.checkpoint import load_checkpoint, save_checkpoint
from qpu_sdk.training.config import TrainingConfig
from qpu_sdk.training.fit import evaluate
from qpu_sdk.training.loop import Checkpoint, Training
from qpu_sdk.training.schedule import planned_settings, schedule, total_epochs
from tests.training import tiny

EVERYTHING = {"training": {"warm_start_epochs": 2}, "spsa": {"blocking": True, "smoothing": "adam"}}
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


def finish(run: Training) -> torch.Tensor:
    for _ in run.run():
        pass
    return run.fitter.weights(run.p)


# -- running -----------------------------------------------------------------------------------------------


def test_a_run_learns_the_tiny_problem() -> None:
    config = tiny.config(training={"rounds": 1, "final_epochs": 40, "lr": 0.05}, spsa={"steps": 0})
    run, data = tiny.training(config), tiny.dataset(test=200)
    images, labels = torch.from_numpy(data.x_test), torch.from_numpy(data.y_test)
    before = evaluate(run.target, run.fitter.weights(torch.ones(36)), images, labels).accuracy
    after = evaluate(run.target, finish(run), images, labels).accuracy
    assert before < 0.7
    assert after > 0.9


def test_spent_settings_and_shots_are_those_planned() -> None:
    device, config = Recording(), tiny.config()
    run = tiny.training(config, devices={"local:slos": device})
    finish(run)
    spent = run.bank.spent
    assert (spent.settings, spent.shots) == planned_settings(config)
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
    assert tuple(asked) == planned_settings(config)
    done = [(program, job.shots_each) for job in run.bank.journal.jobs() for program in job.programs]
    assert run.bank.spent.settings == len(done) == len(set(done)) <= asked[0]  # none is run twice


def test_rows_count_up_to_the_totals() -> None:
    run = tiny.training(tiny.config())
    rows = [row for _, row in run.run()]
    assert [row["unit"] for row in rows] == list(range(1, len(schedule(run.config)) + 1))
    assert [row["epoch"] for row in rows if "epoch" in row] == list(range(1, total_epochs(run.config) + 1))
    assert rows[-1]["circuit_settings"] == planned_settings(run.config)[0]
    assert run.finished


def test_equal_seeds_give_equal_weights() -> None:
    weights = [finish(tiny.training(tiny.config(seed=seed))) for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_final_weights_are_those_of_the_last_measurement() -> None:
    run = tiny.training(tiny.config())
    for unit, _ in run.run():
        if unit.kind == "measure":
            measured = run.p.clone()
    assert torch.equal(run.p, measured)
    assert torch.equal(run.fitter.weights(measured), run.fitter.weights(run.p))


def test_running_leaves_the_global_random_states() -> None:
    torch_state = torch.random.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002  (the state that must not be touched)
    finish(tiny.training(tiny.config(**EVERYTHING)))
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


def test_warm_start_asks_no_device() -> None:
    device = Recording()
    run = tiny.training(tiny.config(training={"warm_start_epochs": 3}), devices={"local:slos": device})
    start = run.phases.x.copy()
    units = run.run()
    rows = [next(units)[1] for _ in range(3)]
    assert [row["kind"] for row in rows] == ["warm-start"] * 3
    assert not device.submissions
    assert run.bank.spent.settings == 0
    assert not np.array_equal(run.phases.x, start)


def test_warm_start_lowers_the_loss() -> None:
    run = tiny.training(tiny.config(training={"warm_start_epochs": 25, "lr": 0.05}))
    rows = [row for unit, row in run.run() if unit.kind == "warm-start"]
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


@pytest.mark.parametrize("changes", [{}, EVERYTHING, *LONGER])
def test_stopping_after_any_unit_changes_no_bit(changes: dict[str, dict[str, object]]) -> None:
    """By induction: resumed after a unit and gone on for one more, a run is where the whole one was after that."""
    config = tiny.config(**changes)
    whole, states = tiny.training(config), []
    for _, row in whole.run():
        states.append((whole.checkpoint(), whole.phases, whole.bank.spent, row, copied(whole.bank.journal)))
    assert len(states) == len(schedule(config))
    for (state, phases, spent, _, journal), (later, *those, _) in pairwise(states):
        resumed = tiny.training(config, journal=journal)
        resumed.restore(state)
        np.testing.assert_equal(asdict(resumed.phases), asdict(phases))
        assert resumed.bank.spent == spent
        _, row = next(resumed.run())
        assert_equal_states(resumed.checkpoint(), later)
        np.testing.assert_equal(asdict(resumed.phases), asdict(those[0]))
        assert (resumed.bank.spent, row | {"wall_s": 0}) == (those[1], those[2] | {"wall_s": 0})
    last = tiny.training(config, journal=states[-1][-1])
    last.restore(states[-1][0])
    assert torch.equal(finish(last), whole.fitter.weights(whole.p))


def assert_equal_states(one: Checkpoint, other: Checkpoint) -> None:
    """Bit for bit, but for the seconds that they took."""
    assert (one.unit, {**one.values, "wall_s": 0}) == (other.unit, {**other.values, "wall_s": 0})
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, other.tensors[name]), f"{name} after unit {one.unit}"


def test_a_checkpoint_on_disk_is_as_good(tmp_path: Path) -> None:
    folder, config = tmp_path, tiny.config(**EVERYTHING)
    whole = tiny.training(config)
    units = whole.run()
    for _ in range(8):
        next(units)
    save_checkpoint(folder, whole.checkpoint(), config=config.fingerprint)
    expected = finish(whole)
    resumed, loaded = tiny.training(config), load_checkpoint(folder, config=config.fingerprint)
    assert isinstance(loaded, Checkpoint)
    resumed.restore(loaded)
    assert resumed.done == 8
    assert torch.equal(finish(resumed), expected)


def test_a_checkpoint_does_not_follow_the_run() -> None:
    run = tiny.training(tiny.config(**EVERYTHING))
    units = run.run()
    next(units)
    state = run.checkpoint()
    before = {name: tensor.clone() for name, tensor in state.tensors.items()}
    for _ in units:
        pass
    assert all(torch.equal(before[name], state.tensors[name]) for name in before)


# -- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["settings", "shots"])
def test_a_budget_is_checked_before_anything_is_submitted(limit: str) -> None:
    planned = dict(zip(("settings", "shots"), planned_settings(tiny.config()), strict=True))[limit]
    device = Recording()
    with pytest.raises(BudgetExceeded, match=rf"{planned} {limit}.*--set budget.{limit}={planned}"):
        tiny.training(tiny.config(budget={limit: planned - 1}), devices={"local:slos": device})
    assert not device.submissions
    tiny.training(tiny.config(budget={limit: planned}), devices={"local:slos": device})


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
