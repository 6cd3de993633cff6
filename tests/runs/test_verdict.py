"""One line on what a result is worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from qpu_sdk.runs.paired import CONTROL_NAMES, seed_verdict
from qpu_sdk.runs.summary import RunSummary, TrainableParameters
from qpu_sdk.runs.tables import summary_rows
from qpu_sdk.training.control_names import CONTROLS
from tests.runs.test_page import page, read
from tests.runs.test_summary import example


def summary(
    accuracy: float, *, size: int = 1000, chance: float | None = 0.1, trained: int = 1, **controls: float
) -> RunSummary:
    return RunSummary(
        test_accuracy=accuracy,
        test_standard_error=(accuracy * (1 - accuracy) / size) ** 0.5,
        train_accuracy=accuracy,
        chance=chance,
        test_size=size,
        train_size=size,
        data="d",
        data_sha256="",
        trainable_parameters=TrainableParameters(phases=1, generator=1, total=2),
        target_parameters=1,
        circuit_settings=1,
        jobs=1,
        shots=1,
        events=[1],
        epochs=1,
        exact_gradient_epochs=0,
        wall_s=1.0,
        seed=0,
        devices=["local:slos"],
        controls=controls,
        control_parameters={name: 99 if name == "plain_network" else trained for name in controls},
        versions={},
    )


@pytest.mark.parametrize("accuracy", [0.02, 0.1, 0.115])
def test_a_result_at_chance_says_so(accuracy: float) -> None:
    assert seed_verdict([summary(accuracy, frozen_random=0.9)]).text.startswith("At chance: 10.0 %")
    assert dict(summary_rows(summary(accuracy)))["verdict"].startswith("At chance")


@pytest.mark.parametrize(
    ("own", "control", "words"),
    [
        (0.70, 0.81, "No benefit of the quantum part shown: worse than without it"),
        (0.81, 0.70, "Benefit of the quantum part shown: better than every control"),
        (0.80, 0.81, "No benefit of the quantum part shown: the intervals overlap"),
    ],
)
def test_a_result_stands_beside_its_controls(own: float, control: float, words: str) -> None:
    told = seed_verdict([summary(own, frozen_random=control, constant=0.3)]).text
    assert told.startswith(words)
    assert "minus frozen random" in told


@pytest.mark.parametrize("control", [0.6, 0.8, 0.9])
def test_table_and_page_say_the_same(tmp_path: Path, control: float) -> None:
    values = {"test_accuracy": 0.8, "controls": {"frozen_random": control, "plain_network": 0.97}}
    assert dict(summary_rows(example(**values)))["verdict"] in read(page(tmp_path, **values)).text


def test_where_nothing_tells_nothing_is_said() -> None:
    assert seed_verdict([summary(0.5)]).kind == "unknown"
    assert seed_verdict([summary(0.1, chance=None)]).kind == "unknown"
    assert "verdict" not in dict(summary_rows(summary(0.5)))


@pytest.mark.parametrize("others", [{}, {"constant": 0.3}])
def test_a_control_beyond_the_budget_decides_nothing(others: dict[str, float]) -> None:
    found = seed_verdict([summary(0.8, plain_network=0.97, **others)])
    assert "Plain network, all weights trained (99), reaches 97.0 % and is beyond the budget" in found.text
    assert found.kind == ("benefit" if others else "unknown")
    assert ("no control within the budget" in found.text) == (not others)


def test_what_decides_is_what_a_control_trains_and_not_its_name() -> None:
    """A plain network of a small target is within the budget, and a small network of one number more is not."""
    assert seed_verdict([summary(0.8, trained=2, small_network=0.9)]).kind == "worse"
    beyond = seed_verdict([summary(0.8, trained=3, small_network=0.9)])
    assert beyond.kind == "unknown"
    assert "Small network, as many weights (3), reaches 90.0 % and is beyond the budget" in beyond.text
    plain = summary(0.8, plain_network=0.9).model_copy(update={"control_parameters": {"plain_network": 2}})
    assert seed_verdict([plain]).kind == "worse"
    assert not seed_verdict([plain]).text.endswith("beyond the budget.")


def test_what_is_void_never_counts() -> None:
    assert seed_verdict([summary(0.5, fresh_random=0.9)]).kind == "unknown"
    found = seed_verdict([summary(0.5, fresh_random=0.9, constant=0.4)])
    assert found.kind == "benefit"
    assert "90.0" not in found.text


def test_controls_of_a_later_release_are_read() -> None:
    one = summary(0.5, of_tomorrow=0.9)
    assert seed_verdict([one]).kind == "worse"
    assert dict(summary_rows(one))["control: of tomorrow (1)"] == "90.0 %"
    uncounted = one.model_copy(update={"control_parameters": {}})
    assert seed_verdict([uncounted]).kind == "unknown"
    assert dict(summary_rows(uncounted))["control: of tomorrow"] == "90.0 %"


def test_every_control_has_a_name() -> None:
    assert set(CONTROL_NAMES) == set(CONTROLS)
    assert len(set(CONTROL_NAMES.values())) == len(CONTROLS)
