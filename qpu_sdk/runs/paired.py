"""What several seeds say together: means with intervals, differences to controls seed by seed, and a verdict.

The mean of n seeds has the interval ``m +- t s / sqrt(n)`` with the standard deviation s (ddof 1) and Student's t at
n - 1 degrees of freedom. A run and its controls share seed, images and test images, so the differences are taken seed
by seed, and what the seeds share falls out of them. One seed has no spread: there the test images alone give the error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, final

from ..rendering.text import number_of, percent
from ..statistics import normal_quantile, student_quantile
from ..training.control_names import VOID
from .metric import ACCURACY, Metric
from .summary import RunSummary

#: What each control is, where names alone would not say it.
CONTROL_NAMES = {
    "frozen_random": "control: p random and frozen",
    "constant": "control: p constant",
    "random_subspace": "control: random subspace, as many parameters",
    "plain_network": "control: plain network, all weights trained",
    "small_network": "control: small network, as many weights",
    "untrained_circuits": "control: p of untrained circuits",
    "fresh_random": "void control: p random at every call",
    "pruned": "control: plain network, pruned to as many weights",
    "weight_sharing": "control: largest layer of a few shared rows",
    "hashed": "control: weights share as many numbers by a hash",
    "low_rank": "control: layers of low rank, as many parameters",
}
#: Probability that an interval holds the truth.
CONFIDENCE = 0.95
#: Controls that lack nothing but the trained circuits.
_NO_CIRCUITS = ("frozen_random", "constant", "untrained_circuits")
#: Standard errors above chance from which a result is no accident.
_ABOVE_CHANCE = 2.0

#: Differences of fractions are equal up to this.
_ROUNDING = 1e-12

VerdictKind = Literal["benefit", "none", "worse", "chance", "unknown"]
#: Each kind of verdict in a cell of a table.
KIND_NAMES: dict[VerdictKind, str] = {
    "benefit": "benefit shown",
    "none": "no benefit shown",
    "worse": "worse than a control",
    "chance": "at chance",
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

    Of losses it is the control's minus the run's, so that more is better of both.

    :param control: its name in summaries.
    :param mean: a fraction of the test images, as are ``low`` and ``high``, the interval at :data:`CONFIDENCE`,
        infinite where nothing tells it.
    :param seeds: pairs.
    :param by_images: True where the interval is that of the test images, because the seeds have no spread to tell.
    :param test_size: images behind each accuracy.
    :param decides: whether the control tells what the circuits contribute (:func:`decides`).
    """

    control: str
    mean: float
    low: float
    high: float
    seeds: int
    by_images: bool
    test_size: int
    decides: bool = True
    metric: Metric = ACCURACY

    def __str__(self) -> str:
        """In one line.

        >>> print(PairedDifference("frozen_random", 0.002, -0.005, 0.009, 5, False, 1000))
        trained circuits minus frozen random: +0.2 points, 95 % -0.5 to +0.9, 5 seeds
        """
        if self.metric.name == "loss":
            return f"loss of {spoken(self.control)} minus that of trained circuits: {self.figures}"
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
        told = self.metric
        if not self.known:
            return told.difference(self.mean)
        level = f"{100 * CONFIDENCE:.0f} %"
        return f"{told.difference(self.mean)}, {level} {told.signed(self.low)} to {told.signed(self.high)}"

    @property
    def known(self) -> bool:
        """Whether anything tells its error."""
        return math.isfinite(self.low)


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
    return control_row(control).removeprefix("control: ")


def control_row(control: str) -> str:
    """A control among other rows.

    >>> control_row("constant"), control_row("of_tomorrow")
    ('control: p constant', 'control: of tomorrow')
    """
    return CONTROL_NAMES.get(control, f"control: {spoken(control)}")


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


def decides(summary: RunSummary, control: str) -> bool:
    """Whether a control trains no more numbers than the run, and stays what it was trained to be.

    One whose numbers the summary does not count decides nothing.
    """
    count = summary.control_parameters.get(control)
    return count is not None and count <= summary.trainable_parameters.total and control not in VOID


def paired_difference(summaries: Sequence[RunSummary], control: str) -> PairedDifference | None:
    """The run minus one control, over the seeds that have both; None where none has.

    :param summaries: of runs that differ by their seeds alone.
    """
    have = [summary for summary in summaries if control in summary.controls]
    pairs = [(s.figure, s.controls[control], s.test_size) for s in have]
    if not pairs:
        return None
    metric = Metric.of(have)
    n, tells = len(pairs), all(decides(summary, control) for summary in have)
    found, size = mean_interval([metric.gain(own, other) for own, other, _ in pairs]), min(size for *_, size in pairs)
    if found.spread is not None and found.spread > _ROUNDING:
        assert found.low is not None
        assert found.high is not None
        return PairedDifference(control, found.mean, found.low, found.high, n, False, size, tells, metric)
    if metric.name == "loss":  # of which the number of images tells nothing
        return PairedDifference(control, found.mean, -math.inf, math.inf, n, False, size, tells, metric)
    # Of one seed, or of several that agree to the image: equal differences are no proof that there is no error.
    variance = sum((own * (1 - own) + other * (1 - other)) / images for own, other, images in pairs) / n
    half = normal_quantile(CONFIDENCE) * math.sqrt(variance)
    return PairedDifference(control, found.mean, found.mean - half, found.mean + half, n, True, size, tells)


def paired_differences(summaries: Sequence[RunSummary]) -> list[PairedDifference]:
    """The run minus each control that any of the seeds has, the best control first."""
    names = dict.fromkeys(name for summary in summaries for name in summary.controls)
    found = [paired_difference(summaries, name) for name in names]
    return sorted((one for one in found if one is not None), key=lambda one: one.mean)


def seed_verdict(summaries: Sequence[RunSummary]) -> SeedVerdict:
    """Whether the quantum part is shown to help, by the intervals of the paired differences.

    A benefit is shown where every interval lies above 0, one over each control within the budget. Where one lies below
    0, the run is worse than that control. Controls beyond the budget are told of and decide nothing.

    :param summaries: of one run, or of runs that differ by their seeds alone.
    """
    if all(map(_at_chance, summaries)):
        share = percent(summaries[0].chance or 0.0)
        return SeedVerdict(
            "chance",
            f"At chance: {share} of the test images are of one class, so who always says that one does as well. Train "
            "for more epochs, or with another training.lr.",
        )
    kind, text = _compared([one for one in paired_differences(summaries) if one.decides])
    return SeedVerdict(kind, " ".join([text, *_beyond_budget(summaries)]))


def _compared(found: Sequence[PairedDifference]) -> tuple[VerdictKind, str]:
    """By the controls that decide, the best of them first."""
    nothing = "No benefit of the quantum part shown"
    if not found:
        return "unknown", (
            "Nothing tells what the quantum part contributes: no control within the budget was trained. Train with "
            "--controls."
        )
    if worse := [one for one in found if one.high < 0.0]:
        if without := [one for one in worse if one.control in _NO_CIRCUITS]:
            return "worse", f"{nothing}: worse than without it ({without[0]})."
        return "worse", f"{nothing}: a classical control does better ({worse[0]})."
    if unknown := [one for one in found if not one.known]:
        return (
            "unknown",
            f"{nothing}: one seed does not tell how far a loss is off ({unknown[0]}). Train with more seeds.",
        )
    if undecided := [one for one in found if one.low <= 0.0]:
        return "none", f"{nothing}: the intervals overlap ({undecided[0]})."
    against = "every control within the budget" if len(found) > 1 else "the one control within the budget"
    return "benefit", f"Benefit of the quantum part shown: better than {against} ({found[0]})."


def _at_chance(summary: RunSummary) -> bool:
    chance = summary.chance
    if chance is None:
        return False
    error = math.sqrt(max(0.0, chance * (1.0 - chance)) / summary.test_size)
    return summary.figure <= chance + _ABOVE_CHANCE * error


def _beyond_budget(summaries: Sequence[RunSummary]) -> Iterator[str]:
    """A sentence on each control that trains more numbers than the runs, with its mean over the seeds."""
    for name in dict.fromkeys(name for summary in summaries for name in summary.controls):
        have = [summary for summary in summaries if name in summary.controls]
        counts = {summary.control_parameters.get(name) for summary in have} - {None}
        if not counts or name in VOID or all(decides(summary, name) for summary in have):
            continue
        mean, title = math.fsum(summary.controls[name] for summary in have) / len(have), control_title(name)
        told = Metric.of(have).told(mean)
        sizes = ", ".join(f"{count:,}" for count in sorted(filter(None, counts)))
        yield f"{title[:1].upper()}{title[1:]} ({sizes}), reaches {told} and is beyond the budget."


def accuracy_text(summaries: Sequence[RunSummary]) -> str:
    """Test accuracy, or loss, of all seeds together, with its interval."""
    found, told = mean_interval([summary.figure for summary in summaries]), Metric.of(summaries).told
    if found.low is None or found.high is None:
        if summaries[0].metric == "loss":
            return told(found.mean)
        low, high = image_interval(found.mean, summaries[0].test_size)
        return f"{percent(found.mean)} ({percent(low)} to {percent(high)} by {summaries[0].test_size:,} test images)"
    return f"{told(found.mean)} ({Metric.of(summaries).span(found.low, found.high)}, {len(summaries)} seeds)"
