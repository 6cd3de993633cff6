"""What a run is judged by, and how it is told: the accuracy of classes, or the loss where labels are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

from ..rendering.text import percent
from .summary import RunSummary


@final
@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    >>> Metric("accuracy").told(0.972), Metric("loss").told(0.0123)
    ('97.2 %', '0.0123')
    >>> Metric("accuracy").difference(0.002), Metric("loss").difference(0.002)
    ('+0.2 points', '+0.002')
    """

    name: Literal["accuracy", "loss"]

    @classmethod
    def of(cls, summaries: Sequence[RunSummary]) -> Metric:
        """That of runs which differ by their seeds alone."""
        return cls(summaries[0].metric)

    @property
    def scale(self) -> float:
        """From values to figures: accuracies are told in percent."""
        return 100.0 if self.name == "accuracy" else 1.0

    @property
    def towards(self) -> str:
        """Where the best is."""
        return "up to" if self.name == "accuracy" else "down to"

    def told(self, value: float) -> str:
        """A value."""
        return percent(value) if self.name == "accuracy" else f"{value:.4g}"

    def span(self, low: float, high: float) -> str:
        """An interval; of accuracies, of which none is below 0 or above 1, what of it can be.

        >>> Metric("accuracy").span(-0.2, 0.5)
        '0.0 % to 50.0 %'
        """
        if self.name == "accuracy":
            low, high = max(0.0, low), min(1.0, high)
        return f"{self.told(low)} to {self.told(high)}"

    def gain(self, own: float, other: float) -> float:
        """By how much ``own`` is better: accuracies go up, losses down."""
        return own - other if self.name == "accuracy" else other - own

    def signed(self, gain: float) -> str:
        """A difference, with its sign."""
        return points(gain) if self.name == "accuracy" else f"{gain:+.3g}"

    def difference(self, gain: float) -> str:
        """A difference with its unit."""
        return f"{self.signed(gain)}{' points' if self.name == 'accuracy' else ''}"


ACCURACY = Metric("accuracy")


def points(fraction: float) -> str:
    """A difference of accuracies in percentage points, with its sign.

    >>> points(0.0021), points(-0.0004), points(-0.012)
    ('+0.2', '0.0', '-1.2')
    """
    text = f"{100 * fraction:+.1f}"
    return "0.0" if float(text) == 0.0 else text
