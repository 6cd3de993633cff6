"""How well a fit predicts settings, those it was made of and those it was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..errors import CalibrationError
from ..statistics import chi_square_tail, merged, sampling_distance, total_variation
from .counted import Counted
from .misfit import Drawn, misfit
from .parts import ChiSquare, Predicted
from .refit import Refit

#: A prediction as near as this many times what sampling does is good, whatever a guess is.
FAR = 2.0


@final
@dataclass(frozen=True)
class Prediction:
    """One setting that was not fitted.

    :param distance: total variation distance of its counts to their expectation.
    :param floor: what as many shots of the expectation itself would have, on average.
    :param start: of its counts to what the figures predict where the fit began.
    :param guess: of its counts to patterns that are all alike among those of as many clicks.
    """

    distance: float
    floor: float
    start: float
    guess: float
    test: ChiSquare


def predicted(seen: Counted, rest: Refit) -> Prediction:
    """One setting beside the fit of others."""
    left = misfit([seen], rest.x)
    [drawn], p = left.programs, seen.numbers * seen.used / seen.total
    begin = seen.expected(seen.patterns(np.zeros((1, seen.axes.size)))[0]) / seen.total
    expected = drawn.expected / seen.total
    return Prediction(
        distance=total_variation(p, expected),
        floor=sampling_distance(expected, seen.total),
        start=total_variation(p, begin),
        guess=total_variation(p, _alike(seen, p)),
        test=tested(seen, drawn, rest.misfit.phase_error / left.step),
    )


def _alike(seen: Counted, p: FloatArray) -> FloatArray:
    """Every pattern as likely as others of as many clicks, ``(K,)``."""
    shares = np.bincount(seen.clicks, weights=p)
    patterns = np.bincount(seen.clicks, weights=seen.used.astype(np.float64))
    return np.where(seen.used, (shares / np.maximum(patterns, 1.0))[seen.clicks], 0.0)


def check_predictions(predictions: Sequence[Prediction]) -> None:
    """Check that the fit predicts settings that it has not seen better than a guess.

    :raises CalibrationError: when it does not, so that counts and programs are strangers.
    """
    rows = np.array([(p.distance, p.guess, p.floor) for p in predictions])
    distance, guess, floor = (float(value) for value in rows.mean(axis=0))
    if distance > max(guess, FAR * floor):
        raise CalibrationError(
            f"no device of the model gives these counts: settings that were not fitted are predicted at a distance of "
            f"{distance:.2f}, by a guess at {guess:.2f}. Check that the programs are of these counts, in their order."
        )


def tested(seen: Counted, drawn: Drawn, scale: float) -> ChiSquare:
    """Pearson's test with phase errors, which change many patterns at once.

    The statistic ``sum (n - mu)^2 / V`` with ``V = mu + e^2 u`` is a sum of squares that are not independent. It is
    scaled to the chi-square distribution of the same mean and variance (Satterthwaite, Biometrics Bulletin 2, 110).

    :param scale: e in units of the draws.
    """
    rows = np.concatenate([np.stack([seen.numbers - drawn.expected, drawn.expected]), scale * drawn.changes])
    rows = merged(rows[:, seen.used], rows[1, seen.used])
    apart, mu, changes = rows[0], rows[1], rows[2:]
    variance = mu + (changes**2).mean(axis=0)
    bins = len(mu) - 1
    if bins < 1:
        return ChiSquare(chi2=0.0, dof=0)
    share, unit = mu / variance, changes / np.sqrt(variance)
    degrees = max(1.0, bins**2 / max(_trace_of_square(share, unit), 1.0))
    statistic = float((apart**2 / variance).sum()) * min(degrees, bins) / (bins + 1)
    dof = max(1, round(min(degrees, bins)))
    return ChiSquare(chi2=statistic, dof=dof, p_value=chi_square_tail(statistic, dof))


def _trace_of_square(share: FloatArray, unit: FloatArray) -> float:
    """Of the correlation matrix ``diag(share) + unit^T unit / D``, without the excess that D draws have by chance."""
    size = len(unit)
    gram = unit @ unit.T / size
    whole = float(np.trace(gram))
    shared = max((float((gram**2).sum()) - whole**2 / size) * size / (size + 1.0), 0.0)
    return float((share**2).sum()) + 2.0 * float(share @ (unit**2).mean(axis=0)) + shared


def summary_of(predictions: Sequence[Prediction]) -> Predicted:
    """Means over all settings."""
    rows = np.array([(p.distance, p.floor, p.start) for p in predictions])
    distance, floor, start = (float(value) for value in rows.mean(axis=0))
    return Predicted(settings=len(predictions), distance=distance, floor=floor, start=start)
