"""One line on what a result is worth."""

from __future__ import annotations

import pytest

from qpu_sdk.runs.summary import RunSummary, TrainableParameters
from qpu_sdk.runs.tables import summary_rows
from qpu_sdk.runs.verdict import CONTROL_NAMES, verdict
from qpu_sdk.training.control_names import CONTROLS


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
    assert str(verdict(summary(accuracy, frozen_random=0.9))).startswith("at chance: 10.0 %")
    assert dict(summary_rows(summary(accuracy)))["verdict"].startswith("at chance")


@pytest.mark.parametrize(
    ("own", "control", "words"),
    [(0.70, 0.81, "does better by more"), (0.81, 0.70, "better than every control"), (0.80, 0.81, "within the error")],
)
def test_a_result_stands_beside_its_controls(own: float, control: float, words: str) -> None:
    told = str(verdict(summary(own, frozen_random=control, constant=0.3)))
    assert words in told
    assert "p random and frozen reaches" in told
    assert ("the circuits brought nothing" in told) == (control > own + 0.05)


def test_where_nothing_tells_nothing_is_said() -> None:
    assert verdict(summary(0.5)) is None
    assert verdict(summary(0.1, chance=None)) is None
    assert "verdict" not in dict(summary_rows(summary(0.5)))


@pytest.mark.parametrize("others", [{}, {"constant": 0.3}])
def test_a_control_beyond_the_budget_decides_nothing(others: dict[str, float]) -> None:
    told = str(verdict(summary(0.8, plain_network=0.97, **others)))
    assert "plain network, all weights trained (99), reaches 97.0 % and is beyond the budget" in told
    assert told.startswith("better than every control within the budget" if others else "no control within the budget")
    assert "does better" not in told


def test_a_control_of_the_whole_budget_counts() -> None:
    assert str(verdict(summary(0.8, trained=2, small_network=0.9))).startswith(
        "a control within the budget does better"
    )
    assert str(verdict(summary(0.8, trained=3, small_network=0.9))).startswith("no control within the budget")


def test_what_is_void_never_counts() -> None:
    assert verdict(summary(0.5, fresh_random=0.9)) is None
    told = str(verdict(summary(0.5, fresh_random=0.9, constant=0.4)))
    assert told.startswith("better than every control")
    assert "90.0" not in told


def test_every_control_has_a_name() -> None:
    assert set(CONTROL_NAMES) == set(CONTROLS)
    assert len(set(CONTROL_NAMES.values())) == len(CONTROLS)
