"""The schedule: which units a run has, what each asks of the devices, and where it may be resumed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_sdk.training.config import RunConfig
from qpu_sdk.training.schedule import Schedule, Unit, open_spsa
from tests.training import tiny


@st.composite
def configs(draw: st.DrawFn) -> RunConfig:
    trials, trial_epochs = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    least = trial_epochs if trials > 1 else 0
    return tiny.config(
        training={
            "trials": trials,
            "trial_epochs": trial_epochs,
            "warm_start_epochs": draw(st.integers(least, 5)),
            "rounds": draw(st.integers(0, 3)),
            "generator_epochs": draw(st.integers(0, 3)),
            "final_epochs": draw(st.integers(1, 3)),
        },
        spsa={
            "steps": draw(st.integers(0, 3)),
            "resamplings": draw(st.integers(1, 3)),
            "calibration_pairs": draw(st.integers(1, 4)),
            "a": draw(st.none() | st.just(0.1)),
        },
    )


def kinds(config: RunConfig) -> list[str]:
    return [unit.kind for unit in Schedule.of(config).units]


def test_a_small_schedule_in_full() -> None:
    config = tiny.config(training={"warm_start_epochs": 1, "rounds": 1, "final_epochs": 2}, spsa={"steps": 2})
    assert Schedule.of(config).units == (
        Unit("warm-start", 0, 0, ends_round=True),
        Unit("measure", 0, 0, 1, 2000),
        Unit("fit", 0, 0),
        Unit("fit", 0, 1),
        Unit("spsa", 0, 0, 4, 1000),
        Unit("spsa", 0, 1, 2, 1000, ends_round=True),
        Unit("measure", 1, 0, 1, 5000),
        Unit("fit", 1, 0),
        Unit("fit", 1, 1, ends_round=True),
    )


@given(configs())
def test_every_kind_comes_as_often_as_configured(config: RunConfig) -> None:
    t, found = config.training, kinds(config)
    tried = t.trial_epochs if t.trials > 1 else 0
    assert found.count("trial") == tried * t.trials
    assert found.count("warm-start") == t.warm_start_epochs - tried
    assert found.count("measure") == t.rounds + 1
    assert found.count("spsa") == t.rounds * config.spsa.steps
    assert found.count("fit") == t.rounds * t.generator_epochs + t.final_epochs


@given(configs())
def test_epochs_add_up(config: RunConfig) -> None:
    t = config.training
    given_up = (t.trials - 1) * t.trial_epochs if t.trials > 1 else 0
    schedule = Schedule.of(config)
    assert schedule.epochs == t.warm_start_epochs + t.rounds * t.generator_epochs + t.final_epochs
    assert schedule.total_epochs == schedule.epochs + given_up
    assert schedule.exact_epochs == t.warm_start_epochs + given_up


@given(configs())
def test_what_follows_a_measurement_sees_it_and_the_last_fit_is_to_the_last_one(config: RunConfig) -> None:
    units = Schedule.of(config).units
    first = [unit.kind for unit in units].index("measure")
    assert all(unit.kind in ("trial", "warm-start") for unit in units[:first])
    assert all(b.round - a.round == (b.kind == "measure") for a, b in pairwise(units[first:]))
    last = [unit for unit in units if unit.round == config.training.rounds and unit.kind not in ("trial", "warm-start")]
    assert {unit.kind for unit in last} == {"measure", "fit"}


@given(configs())
def test_checkpoints_are_due_at_the_end_and_before_measurements(config: RunConfig) -> None:
    units = Schedule.of(config).units
    assert units[-1].ends_round
    assert all(a.ends_round for a, b in pairwise(units) if b.kind == "measure")


def test_only_measurements_and_spsa_ask_devices() -> None:
    config = tiny.config(training={"warm_start_epochs": 2, "trials": 2, "trial_epochs": 1})
    asked = {unit.kind for unit in Schedule.of(config).units if (unit.settings, unit.shots) != (0, 0)}
    assert asked == {"measure", "spsa"}


def test_the_last_measurement_has_shots_of_its_own() -> None:
    schedule = Schedule.of(tiny.config())
    found = [(unit.settings, unit.shots) for unit in schedule.units if unit.kind == "measure"]
    assert schedule.last_measurement.shots == 5000
    assert found == [(1, 2000), (1, 2000), (1, 5000)]


@pytest.mark.parametrize(
    ("gain", "pairs", "resamplings", "expected"),
    [(None, 4, 1, [8, 2, 2, 2]), (None, 1, 3, [6, 6, 6, 6]), (0.1, 4, 1, [2, 2, 2, 2])],
)
def test_the_first_step_calibrates_unless_the_gain_is_given(
    gain: float | None, pairs: int, resamplings: int, expected: list[int]
) -> None:
    config = tiny.config(spsa={"a": gain, "calibration_pairs": pairs, "resamplings": resamplings, "steps": 2})
    found = [(unit.settings, unit.shots) for unit in Schedule.of(config).units if unit.kind == "spsa"]
    assert found == [(settings, 1000) for settings in expected]


def test_spsa_takes_its_stability_from_all_steps_unless_given() -> None:
    spsa = open_spsa(tiny.config(spsa={"steps": 5}).spsa, rounds=3)
    given = open_spsa(tiny.config(spsa={"A": 7.0}).spsa, rounds=3)
    stabilities = [spsa.A, given.A]
    assert stabilities == pytest.approx([1.5, 7.0])


def test_devices_are_named_once_in_the_order_of_the_qnns() -> None:
    qnn = {"modes": 4, "photons": 2}
    config = tiny.config(device="fake:a", qnn=[qnn | {"device": "fake:b"}, qnn, qnn | {"device": "fake:b"}])
    assert config.device_names == ("fake:b", "fake:a")


@pytest.mark.parametrize(("values", "told"), [({"calibration_pairs": 1}, 1), ({"blocking": False}, 0), ({}, 0)])
def test_blocking_that_rests_is_told(values: dict[str, int], told: int, caplog: pytest.LogCaptureFixture) -> None:
    open_spsa(RunConfig(spsa=values).spsa, rounds=4)
    assert [record.message.partition(":")[0] for record in caplog.records] == ["spsa.blocking rests"] * told
