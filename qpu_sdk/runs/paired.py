"""What several seeds say together: means with intervals, differences to controls seed by seed, and a verdict.

The mean of n seeds has the interval ``m +- t s / sqrt(n)`` with the standard deviation s (ddof 1) and Student's t at
n - 1 degrees of freedom. A run and its controls share seed, images and test images, so the differences are taken seed
by seed, and what the seeds share falls out of them. One seed has no spread: there the test images alone give the error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

from ..rendering.text import number_of, percent
from ..statistics import normal_quantile, student_quantile
from .summary import RunSummary
from .verdict import CONTROL_NAMES, verdict

#: Probability that an interval holds the truth.
CONFIDENCE = 0.95
#: Controls that get more than the run's budget, so that they say nothing of its circuits.
_MORE_BUDGET = ("plain_network",)
#: Controls that lack nothing but the trained circuits.
_NO_CIRCUITS = ("frozen_random", "constant", "untrained_circuits", "fresh_random")

#: Differences of fractions are equal up to this.
_ROUNDING = 1e-12

VerdictKind = Literal["benefit", "none", "worse", "unknown"]
#: Each kind of verdict in a cell of a table.
KIND_NAMES: dict[VerdictKind, str] = {
    "benefit": "benefit shown",
    "none": "no benefit shown",
    "worse": "worse than a control",
    "unknown": "no control to compare with",
}


@final
@dataclass(frozen=True)
class MeanInterval:
    """The mean of some numbers with its interval at :data:`CONFIDENCE`.

    :param values: the numbers.
    :param spread: their standard deviation (ddof 1), None for one number.
    :param low: end of the interval, None where nothing tells it.
    :param high: the other end.
    """

    values: tuple[float, ...]
    mean: float
    spread: float | None
    low: float | None
    high: float | None


@final
@dataclass(frozen=True)
class PairedDifference:
    """Test accuracy of a run minus that of one of its controls, a mean over the seeds that have both.

    :param control: its name in summaries.
    :param mean: a fraction of the test images, as are ``low`` and ``high``, the interval at :data:`CONFIDENCE`.
    :param seeds: pairs.
    :param by_images: True where the interval is that of the test images, because the seeds have no spread to tell.
    :param test_size: images behind each accuracy.
    """

    control: str
    mean: float
    low: float
    high: float
    seeds: int
    by_images: bool
    test_size: int

    @property
    def decides(self) -> bool:
        """Whether the control has no more than the run's budget."""
        return self.control not in _MORE_BUDGET

    def __str__(self) -> str:
        """In one line.

        >>> print(PairedDifference("frozen_random", 0.002, -0.005, 0.009, 5, False, 1000))
        trained circuits minus frozen random: +0.2 points, 95 % -0.5 to +0.9, 5 seeds
        """
        return f"trained circuits minus {spoken(self.control)}: {self.figures}"

    @property
    def figures(self) -> str:
        """Difference, interval and what they rest on."""
        rests = number_of(self.seeds, "seed")
        if self.by_images:
            rests += f", by {self.test_size:,} test images"
        return f"{self.interval}, {rests}"

    @property
    def interval(self) -> str:
        """Difference and interval alone."""
        level = f"{100 * CONFIDENCE:.0f} %"
        return f"{points(self.mean)} points, {level} {points(self.low)} to {points(self.high)}"


@final
@dataclass(frozen=True)
class SeedVerdict:
    """What the circuits have to do with a result.

    :param text: the same in plain words.
    """

    kind: VerdictKind
    text: str


def spoken(control: str) -> str:
    """A control within a sentence.

    >>> spoken("frozen_random")
    'frozen random'
    """
    return control.replace("_", " ")


def control_title(control: str) -> str:
    """A control in a table, also one that this release does not know.

    >>> control_title("constant"), control_title("of_tomorrow")
    ('p constant', 'of tomorrow')
    """
    return CONTROL_NAMES.get(control, spoken(control)).removeprefix("control: ")


def points(fraction: float) -> str:
    """A difference of accuracies in percentage points, with its sign.

    >>> points(0.0021), points(-0.0004), points(-0.012)
    ('+0.2', '0.0', '-1.2')
    """
    text = f"{100 * fraction:+.1f}"
    return "0.0" if float(text) == 0.0 else text


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Mean, spread and interval of at least one number.

    >>> found = mean_interval([0.90, 0.92, 0.94])
    >>> round(found.mean, 3), round(found.spread, 3), round(found.low, 3), round(found.high, 3)
    (0.92, 0.02, 0.87, 0.97)
    """
    n, mean = len(values), math.fsum(values) / len(values)
    if n == 1:
        return MeanInterval(tuple(values), mean, None, None, None)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = student_quantile(0.5 + CONFIDENCE / 2.0, n - 1) * spread / math.sqrt(n)
    return MeanInterval(tuple(values), mean, spread, mean - half, mean + half)


def image_interval(accuracy: float, size: int) -> tuple[float, float]:
    """Interval at :data:`CONFIDENCE` of one accuracy, by its test images (Wilson's, which stays within 0 and 1).

    >>> low, high = image_interval(0.94, 1000)
    >>> round(low, 3), round(high, 3)
    (0.924, 0.953)
    """
    z2 = normal_quantile(CONFIDENCE) ** 2
    centre = (accuracy + z2 / (2 * size)) / (1 + z2 / size)
    half = math.sqrt(z2 * accuracy * (1 - accuracy) / size + z2**2 / (4 * size**2)) / (1 + z2 / size)
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_difference(summaries: Sequence[RunSummary], control: str) -> PairedDifference | None:
    """The run minus one control, over the seeds that have both; None where none has.

    :param summaries: of runs that differ by their seeds alone.
    """
    pairs = [(s.test_accuracy, s.controls[control], s.test_size) for s in summaries if control in s.controls]
    if not pairs:
        return None
    found, size = mean_interval([own - other for own, other, _ in pairs]), min(size for *_, size in pairs)
    if found.spread is not None and found.spread > _ROUNDING:
        assert found.low is not None
        assert found.high is not None
        return PairedDifference(control, found.mean, found.low, found.high, len(pairs), False, size)
    # Of one seed, or of several that agree to the image: equal differences are no proof that there is no error.
    variance = sum((own * (1 - own) + other * (1 - other)) / n for own, other, n in pairs) / len(pairs)
    half = normal_quantile(CONFIDENCE) * math.sqrt(variance)
    return PairedDifference(control, found.mean, found.mean - half, found.mean + half, len(pairs), True, size)


def paired_differences(summaries: Sequence[RunSummary]) -> list[PairedDifference]:
    """The run minus each control that any of the seeds has, the best control first."""
    names = dict.fromkeys(name for summary in summaries for name in summary.controls)
    found = [paired_difference(summaries, name) for name in names]
    return sorted((one for one in found if one is not None), key=lambda one: one.mean)


def seed_verdict(summaries: Sequence[RunSummary]) -> SeedVerdict:
    """Whether the quantum part is shown to help, by the intervals of the paired differences.

    A benefit is shown where every interval lies above 0, one over each control of no more budget. Where one lies below
    0, the run is worse than that control.

    :param summaries: of runs that differ by their seeds alone.
    """
    chances = [verdict(summary.model_copy(update={"controls": {}})) for summary in summaries]
    if all(chances):
        return SeedVerdict("unknown", str(chances[0])[:1].upper() + str(chances[0])[1:])
    found = [one for one in paired_differences(summaries) if one.decides]
    if not found:
        return SeedVerdict(
            "unknown",
            "Nothing tells what the quantum part contributes: no control of equal budget was trained. Train with "
            "--controls.",
        )
    worse = [one for one in found if one.high < 0.0]
    if worse:
        without = [one for one in worse if one.control in _NO_CIRCUITS]
        if without:
            return SeedVerdict("worse", f"No benefit of the quantum part shown: worse than without it ({without[0]}).")
        return SeedVerdict(
            "worse", f"No benefit of the quantum part shown: a classical control does better ({worse[0]})."
        )
    open_ = [one for one in found if one.low <= 0.0]
    if open_:
        return SeedVerdict("none", f"No benefit of the quantum part shown: the intervals overlap ({open_[0]}).")
    against = "every control of equal budget" if len(found) > 1 else "the one control of equal budget"
    return SeedVerdict("benefit", f"Benefit of the quantum part shown: better than {against} ({found[0]}).")


def accuracy_text(summaries: Sequence[RunSummary]) -> str:
    """Test accuracy of all seeds together, with its interval."""
    found = mean_interval([summary.test_accuracy for summary in summaries])
    if found.low is None or found.high is None:
        low, high = image_interval(found.mean, summaries[0].test_size)
        return f"{percent(found.mean)} ({percent(low)} to {percent(high)} by {summaries[0].test_size:,} test images)"
    return f"{percent(found.mean)} ({percent(found.low)} to {percent(found.high)}, {len(summaries)} seeds)"
