"""What several seeds say together: intervals that hold the truth as often as they say, verdicts that follow them."""

from __future__ import annotations

import numpy as np
import pytest

from qpu_sdk.runs.metric import points
from qpu_sdk.runs.paired import (
    image_interval,
    mean_interval,
    paired_difference,
    paired_differences,
    seed_verdict,
)
from qpu_sdk.runs.summary import RunSummary
from tests.runs.test_summary import example


def seeds(own: list[float], **controls: list[float]) -> list[RunSummary]:
    return [
        example(test_accuracy=a, seed=i, chance=0.1, controls={name: values[i] for name, values in controls.items()})
        for i, a in enumerate(own)
    ]


def test_an_interval_of_the_mean_holds_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for sample in rng.normal(0.9, 0.02, (2000, 4)):
        found = mean_interval(sample.tolist())
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.9 <= found.high
    assert abs(held / 2000 - 0.95) < 4 * (0.95 * 0.05 / 2000) ** 0.5


def test_an_interval_of_the_images_holds_the_accuracy_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for right in rng.binomial(1000, 0.97, 2000).tolist():
        low, high = image_interval(right / 1000, 1000)
        held += low <= 0.97 <= high
    assert abs(held / 2000 - 0.95) < 0.025


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_an_interval_of_the_images_stays_within_what_is_possible(accuracy: float) -> None:
    low, high = image_interval(accuracy, 100)
    assert 0.0 <= low < high <= 1.0


def test_what_seeds_share_falls_out_of_a_paired_difference() -> None:
    """Seeds that differ by far more than run and control do still tell these apart."""
    own, other = [0.80, 0.90, 0.85, 0.95], [0.79, 0.888, 0.841, 0.939]
    found = paired_difference(seeds(own, constant=other), "constant")
    assert found is not None
    assert found.seeds == 4
    assert 0.0 < found.low < found.mean < found.high
    assert found.mean == pytest.approx(0.0105)
    assert not found.by_images


def test_only_seeds_that_have_the_control_are_paired() -> None:
    summaries = [*seeds([0.9, 0.91], constant=[0.8, 0.82]), example(test_accuracy=0.1)]
    found = paired_difference(summaries, "constant")
    assert found is not None
    assert found.seeds == 2
    assert found.mean == pytest.approx(0.095)
    assert paired_difference(summaries, "frozen_random") is None


@pytest.mark.parametrize("number", [1, 3])
def test_without_spread_the_test_images_give_the_error(number: int) -> None:
    """One seed, and seeds that agree to the image, which is no proof that there is no error."""
    found = paired_difference(seeds([0.90] * number, constant=[0.89] * number), "constant")
    assert found is not None
    assert found.by_images
    assert found.low < 0.0 < found.high
    assert "1,000 test images" in str(found)


BETTER, SAME, WORSE = [0.95, 0.96, 0.955], [0.90, 0.93, 0.94], [0.60, 0.61, 0.605]


@pytest.mark.parametrize(
    ("own", "kind", "words"),
    [
        (BETTER, "benefit", "Benefit of the quantum part shown"),
        (SAME, "none", "No benefit of the quantum part shown: the intervals overlap"),
        (WORSE, "worse", "No benefit of the quantum part shown: worse than without it"),
    ],
)
def test_the_verdict_follows_from_the_intervals(own: list[float], kind: str, words: str) -> None:
    controls = {"frozen_random": [0.91, 0.925, 0.93], "random_subspace": [0.5, 0.51, 0.52]}
    # All weights trained: more than the budget, so that it decides nothing, and is told of.
    found = seed_verdict(seeds(own, **controls, plain_network=[0.99, 0.99, 0.99]))
    assert found.kind == kind
    assert found.text.startswith(words)
    assert "trained circuits minus frozen random: " in found.text
    assert "3 seeds" in found.text
    assert found.text.endswith("Plain network, all weights trained (6,690), reaches 99.0 % and is beyond the budget.")


def test_one_control_that_is_not_beaten_is_enough_for_no_benefit() -> None:
    found = seed_verdict(seeds(BETTER, frozen_random=WORSE, hashed=[0.951, 0.959, 0.955]))
    assert found.kind == "none"
    assert "minus hashed" in found.text
    found = seed_verdict(seeds(WORSE, frozen_random=[0.1, 0.1, 0.12], hashed=BETTER))
    assert found.kind == "worse"
    assert "a classical control does better" in found.text


def test_without_controls_nothing_tells() -> None:
    assert seed_verdict(seeds([0.9, 0.91])).kind == "unknown"
    assert seed_verdict(seeds([0.9], plain_network=[0.5])).kind == "unknown"
    assert "--controls" in seed_verdict(seeds([0.9])).text


def test_what_is_at_chance_is_said_to_be() -> None:
    found = seed_verdict(seeds([0.1, 0.11], constant=[0.05, 0.05]))
    assert found.kind == "chance"
    assert found.text.startswith("At chance")
    assert seed_verdict(seeds([0.1, 0.9])).kind == "unknown"


def test_the_best_control_comes_first() -> None:
    found = paired_differences(seeds(SAME, a=[0.1] * 3, b=[0.9] * 3, c=[0.5] * 3))
    assert [one.control for one in found] == ["b", "c", "a"]


@pytest.mark.parametrize(("fraction", "text"), [(0.0004, "0.0"), (-0.0004, "0.0"), (0.0126, "+1.3"), (-1.0, "-100.0")])
def test_points_have_their_sign(fraction: float, text: str) -> None:
    assert points(fraction) == text
