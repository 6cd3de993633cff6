"""Adaptive empirical Bayes for the N-click class: how far to trust few counts, learnt from these counts.

Outcome s has the rate x_s = u_s tau, with tau the mean rate of an outcome, and its counts are Poisson::

    N_s ~ Poisson(A (g_s x_s + b_s)),     u_s ~ sum_c w_c Gamma(shape = kappa_c v_s, mean = m_s)

m_s (mean 1) is a guess from other data, such as the unfolded classes of fewer clicks, and
``v_s = m_s^2 / (m_s + delta)`` makes guesses near zero less certain than others. Each component c of the prior believes
the guess with another concentration kappa_c; some do not know it (m_s = 1). The weights w are those that make all
counts together most likely, found by EM with a few counts of a prior of their own, so the guess is trusted as far as it
has been right, outcome by outcome. With few counts the estimate leans on the guess, with many it becomes
``(N_s / A - b_s) / g_s``. This is adaptive shrinkage (Stephens, Biostatistics 18, 275 (2017)) for Poisson counts over a
background; the posterior on a grid of u_s gives means and intervals.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np

from ..arrays import FloatArray

#: Concentrations of the components that know the guess, and shapes of those that do not.
CONCENTRATIONS = (0.5, 2.0, 8.0, 32.0, 128.0, 512.0)
SHAPES = (0.3, 1.0)
#: delta, where guesses become less certain, in units of the mean.
DELTA = 0.1
#: No guess is below this share of the mean.
LOWEST_GUESS = 0.01
#: Counts that each of them starts with, and iterations of the weights' EM.
COUNTS_KNOWING, COUNTS_UNKNOWING, ITERATIONS = 0.3, 0.03, 80
#: Cells of the grid: of u that the prior may have, finer towards zero with the fourth power, of those above, and more
#: where guess and counts are sharp, as far from these as so many standard deviations.
CELLS, CELLS_ABOVE, CELLS_GUESS, CELLS_COUNTS = 44, 8, 24, 32
FAR_GUESS, FAR_COUNTS = 8.0, 6.0
#: Ends of a cell whose logarithms differ by less are equal: their difference would have lost half of its digits.
LEVEL_SLOPE = 1e-6
#: Means up to which the prior has u.
MOST_PRIOR = 10.0


@final
@dataclass(frozen=True, eq=False)
class Shrunk:
    """Posterior of every outcome's rate.

    :param mean: posterior means of x, ``(K,)``.
    :param edges: of the cells, ``(K, G + 1)``.
    :param masses: ``(K, G)``, rows sum to 1.
    :param weights: w of the components.
    :param trust: total weight of the components that know the guess.
    :param log_evidence: of all counts, at these weights, without what does not depend on the guess.
    """

    mean: FloatArray = field(repr=False)
    edges: FloatArray = field(repr=False)
    masses: FloatArray = field(repr=False)
    weights: FloatArray = field(repr=False)
    trust: float
    log_evidence: float


def shrink(
    numbers: FloatArray, gain: FloatArray, background: FloatArray, guess: FloatArray, *, windows: float
) -> Shrunk:
    """Posterior of the rates of the N-click class.

    :param numbers: N, ``(K,)``.
    :param gain: g, positive, ``(K,)``.
    :param background: b, ``(K,)``.
    :param guess: any positive multiple of the expected x, ``(K,)``.
    :param windows: A.
    """
    g, b = windows * gain, windows * background
    m = (1.0 - LOWEST_GUESS) * guess / guess.mean() + LOWEST_GUESS
    tau = max(float((numbers - b).sum()), 1.0) / float((g * m).sum())  # the background may exceed few counts
    edges = _edges(m, numbers, b, g * tau)
    u = 0.5 * (edges[:, 1:] + edges[:, :-1])
    mu = g[:, None] * tau * u + np.maximum(b, 1e-12)[:, None]
    log_likelihood = numbers[:, None] * np.log(mu) - mu
    offset = log_likelihood.max(axis=1, keepdims=True)  # e^-1000 is 0, and a row of zeros has no posterior
    likelihood = np.exp(log_likelihood - offset)
    prior = _gamma_masses(edges, *_components(m))  # (C, K, G)
    evidence = np.maximum(np.einsum("ckg,kg->ck", prior, likelihood), 1e-300)
    weights = _weights(evidence)
    masses = np.tensordot(weights, prior, axes=1) * likelihood
    hopeless = masses.sum(axis=1) < 1e-290  # no component comes near these counts, so they speak for themselves
    masses[hopeless] = (likelihood * np.diff(edges, axis=1))[hopeless]
    total = masses.sum(axis=1, keepdims=True)
    masses /= total
    return Shrunk(
        mean=tau * (masses * u).sum(axis=1),
        edges=tau * edges,
        masses=masses,
        weights=weights,
        trust=float(weights[: len(CONCENTRATIONS)].sum()),
        log_evidence=float((np.log(total) + offset).sum()),
    )


def _components(m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Shape and mean of every component and outcome, ``(C, K)``."""
    knowing = np.array(CONCENTRATIONS)[:, None] * (m**2 / (m + DELTA))
    unknowing = np.repeat(np.array(SHAPES)[:, None], len(m), axis=1)
    means = np.concatenate([np.tile(m, (len(CONCENTRATIONS), 1)), np.ones_like(unknowing)])
    return np.concatenate([knowing, unknowing]), means


def _edges(m: FloatArray, numbers: FloatArray, b: FloatArray, scale: FloatArray) -> FloatArray:
    """Edges of the cells of every outcome, ``(K, G + 1)``; ``scale``: counts that u = 1 stands for, ``(K,)``."""
    sharpest = m / np.sqrt(CONCENTRATIONS[-1] * m**2 / (m + DELTA))
    seen, error = np.maximum(numbers - b, 0.0) / scale, np.sqrt(numbers + 1.0) / scale
    usual = MOST_PRIOR * np.maximum(m, 1.0)
    top = np.maximum(usual, (numbers + 6.0 * np.sqrt(numbers + 1.0) + 8.0) / np.maximum(scale, SHAPES[0]))
    above = (top / usual)[:, None] ** np.linspace(0.0, 1.0, CELLS_ABOVE + 1)[1:]
    parts = [np.linspace(0.0, 1.0, CELLS + 1) ** 4 * usual[:, None], usual[:, None] * above]
    for middle, half, cells in (
        (m, FAR_GUESS * sharpest, CELLS_GUESS),
        (seen, FAR_COUNTS * error, CELLS_COUNTS),
    ):
        low, high = (np.clip(middle + side, 0.0, top)[:, None] for side in (-half, half))
        parts.append(low + (high - low) * np.linspace(0.0, 1.0, cells + 1)[1:-1])
    return np.sort(np.concatenate(parts, axis=1), axis=1)  # edges may meet: a cell without width has no mass


def _gamma_masses(edges: FloatArray, shapes: FloatArray, means: FloatArray) -> FloatArray:
    """Masses of Gamma(shape, mean) in cells, ``(C, K)`` each to ``(C, K, G)``.

    Within a cell the density is the power of u that fits it at both ends: right near zero and at the peak, and never
    more than the density, whose logarithm is concave in log u.
    """
    logs = np.log(np.maximum(edges, 1e-300))
    width = np.maximum(logs[:, 1:] - logs[:, :-1], 1e-12)
    out = np.empty((*shapes.shape, width.shape[1]))
    for masses, shape, mean in zip(out, shapes, means, strict=True):
        heights = shape[:, None] * logs - (shape / mean)[:, None] * edges  # of u times the density
        heights -= heights.max(axis=1, keepdims=True)
        rise = heights[:, 1:] - heights[:, :-1]
        density = np.exp(heights, out=heights)
        # The mass of a power of u is the difference of its ends over the power; of equal ends it is their mean.
        level = np.abs(rise) < LEVEL_SLOPE
        np.divide(density[:, 1:] - density[:, :-1], np.where(level, 1.0, rise), out=masses)
        masses[level] = (0.5 * (density[:, 1:] + density[:, :-1]))[level]
        masses *= width
        masses[:, 0] = density[:, 1] / shape  # from zero on
        masses /= masses.sum(axis=1, keepdims=True)
    return out


def _weights(evidence: FloatArray) -> FloatArray:
    """Weights of the components, ``(C, K) -> (C,)``."""
    before = np.repeat([COUNTS_KNOWING, COUNTS_UNKNOWING], [len(CONCENTRATIONS), len(SHAPES)])
    weights = before / before.sum()
    for _ in range(ITERATIONS):
        weights = weights * (evidence @ (1.0 / (weights @ evidence))) + before  # a weight of 0 would stay 0
        weights /= weights.sum()
    return np.asarray(weights)
