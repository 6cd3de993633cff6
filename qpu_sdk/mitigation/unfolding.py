"""Expectation-maximisation unfolding of click classes, stopped by counts that it has not seen.

    mu = R pi + b,      pi <- pi R^T (N / mu) / (A R^T 1),      A = sum N / sum mu

is the iteration of Richardson (J. Opt. Soc. Am. 62, 55) and Lucy (Astron. J. 79, 745): each raises the Poisson
likelihood of all classes at once, and pi stays a distribution. It starts uniform and goes to its end through ever
finer structure, so the number of iterations is the regularisation. Run to the end it fits the noise.

Iterations are extrapolated by Nesterov's rule in log pi, ``y = pi_k (pi_k / pi_{k-1})^{(k-1)/(k+2)}``, after Biggs and
Andrews (Appl. Opt. 36, 1766): k such iterations go as far as about k^2 / 8 plain ones.

Two ways to stop:

* :func:`unfold_below` unfolds the classes of fewer than N clicks and stops where the prediction of the N-click class is
  most likely, of which it knows only how many shots it has. Nothing is held back from the other classes, nothing is
  random. Its result is a prior for that class.
* :func:`unfold` unfolds all classes; 30 % of the counts are held out, twice, and of several starts and numbers of
  iterations the pair is taken that makes the held-out counts most likely.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from ..arrays import FloatArray
from ..errors import MitigationError
from .forward import Forward
from .response import Response

#: Numbers of iterations that are tried: each about a fifth more than the one before.
GRID = (5, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 60, 72, 86, 103, 124, 149, 180, 215, 258, 310)
#: So many worse results in a row end the search.
PATIENCE = 4
#: The same below N clicks: few events rise and fall by chance on the way, and better results lie farther.
LONG_PATIENCE = 8
HELD_OUT = 0.3
STARTS = ("uniform", "data")
SPLITS = 2
#: Above so many counts of one pattern single precision would show in the result.
SINGLE_PRECISION = 1e8
#: Smallest probability that an extrapolated iteration may reach, from which it can come back.
SMALLEST = 1e-12


@final
@dataclass(frozen=True, eq=False)
class Unfolded:
    """An unfolded distribution.

    :param fock: pi over all Fock outcomes, ``(S,)``.
    :param windows: A, the number of pulses that the counts stand for.
    :param iterations: how many were chosen.
    :param start: where they began: ``"uniform"`` or ``"data"``.
    """

    fock: FloatArray = field(repr=False)
    windows: float
    iterations: int
    start: str


def iterate(
    numbers: FloatArray, response: Response, background: FloatArray, start: FloatArray, *, grid: Sequence[int] = GRID
) -> Iterator[tuple[int, FloatArray]]:
    """Accelerated EM for a batch of counts that share a response.

    :param numbers: ``(B, K)``.
    :param response: R, ``(K, S)``.
    :param background: b, ``(K,)``.
    :param start: ``(B, S)``; positive, rows sum to 1.
    :returns: after each number of iterations in ``grid``, that number and pi, ``(B, S)``.

    >>> from qpu_sdk.mitigation.response import DenseResponse
    >>> response = DenseResponse(np.array([[0.8, 0.0], [0.1, 0.5]]))
    >>> exact = response.rates(np.array([0.3, 0.7]))
    >>> *_, (iterations, pi) = iterate(exact[None], response, np.zeros(2), np.full((1, 2), 0.5))
    >>> pi.round(6).tolist()
    [[0.3, 0.7]]
    """
    single = numbers.max(initial=0.0) < SINGLE_PRECISION
    kind: Any = np.float32 if single else np.float64
    n, b, pi = (np.ascontiguousarray(a, dtype=kind) for a in (numbers, background, start))
    r, total = response.astype(kind), np.maximum(n.sum(axis=1, keepdims=True), kind(1e-30))
    seen = response.seen
    inverse = np.where(seen > 0.0, 1.0 / np.where(seen > 0.0, seen, 1.0), 0.0).astype(kind)
    unseen, floor = np.flatnonzero(seen <= 0.0), kind(SMALLEST)
    stuck = bool((n.sum(axis=1) == 0.0).any() or (response.reached <= 0.0).any())  # some counts may move nothing
    b = np.maximum(b, kind(1e-30))  # n / mu stays finite where nothing is expected
    before, done, ones = pi, 0, np.ones((pi.shape[1], 1), dtype=kind)
    y = np.empty_like(pi)
    for wanted in grid:
        for k in range(done + 1, wanted + 1):
            # k = 1 has exponent 0 and so no momentum: before = pi is only there to divide.
            np.divide(pi, before, out=y)
            np.log(y, out=y)  # a power by its logarithm: several times faster in single precision
            y *= kind((k - 1) / (k + 2))
            np.exp(y, out=y)
            y *= pi
            np.maximum(y, floor, out=y)  # an iteration that multiplies never leaves 0
            mu = r.rates(y)
            mu += b
            scale = mu.sum(axis=1, keepdims=True) / total if len(unseen) else None
            updated = r.pull(np.divide(n, mu, out=mu))  # mu is done with: its memory serves again
            updated *= inverse
            updated *= y
            if scale is not None:
                updated *= scale
                updated[:, unseen] = pi[:, unseen]  # no pattern tells about these
            norm = updated @ ones
            if stuck and not norm.all():
                updated = np.where(norm > 0.0, updated, pi)  # no counts, or none that the model can have: it stays
                norm = np.where(norm > 0.0, norm, kind(1.0))
            updated /= norm
            before, pi = pi, np.maximum(updated, floor, out=updated)
        done = wanted
        yield done, pi.astype(np.float64)


def unfold_below(numbers: FloatArray, model: Forward) -> Unfolded:
    """Unfold the classes of fewer than N clicks, stopped by the N-click class.

    How many shots the N-click class has counts as one more pattern: without it nothing tells bunched photons from lost
    ones. How they are spread over its patterns is not looked at, and decides when to stop.

    :param numbers: of every pattern, ``(K,)``.
    :raises MitigationError: when no class below N has counts.
    """
    here = model.space
    below, full = here.below, here.full
    if numbers[below].sum() == 0.0:
        raise MitigationError(missing_classes(here.photons))
    start = np.full((1, len(here.states)), 1.0 / len(here.states))
    response = model.response.lower(below, full)
    background, seen = (np.append(a[below], a[full].sum()) for a in (model.background, numbers))
    best, score, worse = (start[0], 0), -np.inf, 0
    events = numbers[full]
    for iterations, pi in _with_start(seen[None], response, background, start):
        found = _likelihood(events, model.rates(pi[0])[full])
        if found > score:
            best, score, worse = (pi[0], iterations), found, 0
        elif (worse := worse + 1) == LONG_PATIENCE:
            break
    fock, iterations = best
    return Unfolded(fock, windows_of(seen, response, background, fock), iterations, "uniform")


def unfold_on(numbers: FloatArray, model: Forward, fock: FloatArray) -> Unfolded:
    """Unfold all classes to the end, from a distribution that is already near.

    It over-fits collision-free outcomes. What bunched photons, with second photons and dark counts, add to the N-click
    class is a sum over many outcomes, which it gets right: classes of fewer clicks alone cannot tell them from lost
    photons, and stopping early would leave them where they began.

    :param fock: pi, ``(S,)``.
    """
    start = np.maximum(fock, SMALLEST)[None]
    ((iterations, [pi]),) = iterate(
        numbers[None], model.response, model.background, start / start.sum(), grid=GRID[-1:]
    )
    return Unfolded(pi, windows_of(numbers, model.response, model.background, pi), iterations, "data")


def unfold(numbers: FloatArray, model: Forward, *, seed: int) -> Unfolded:
    """Unfold all classes, stopped by counts that were held out.

    :param numbers: of every pattern, ``(K,)``.
    :param seed: of the held-out counts.
    :raises MitigationError: when there is nothing to unfold.
    """
    if numbers.sum() == 0.0:
        raise MitigationError("there are no counts of at most N clicks. Check the counts and the number of photons.")
    rng = np.random.default_rng(seed)
    whole = np.rint(numbers).astype(np.int64)  # a binomial draws from whole numbers
    kept = np.stack([rng.binomial(whole, 1.0 - HELD_OUT) for _ in range(SPLITS)]).astype(np.float64)
    # The full counts go along as one more row: whatever is chosen has been computed for them.
    every, held = np.concatenate([kept, numbers[None]]), numbers - kept
    best, score = (begin("uniform", numbers[None], model)[0], 0, "uniform"), -np.inf
    for name in STARTS:
        worse, peak = 0, -np.inf
        for iterations, pi in _with_start(every, model.response, model.background, begin(name, every, model)):
            found = _likelihood(held, model.rates(pi[:-1]))
            if found > score:
                best, score = (pi[-1], iterations, name), found
            worse = 0 if found > peak else worse + 1
            peak = max(peak, found)
            if worse == PATIENCE:
                break
    fock, iterations, name = best
    return Unfolded(fock, windows_of(numbers, model.response, model.background, fock), iterations, name)


def windows_of(numbers: FloatArray, response: Response, background: FloatArray, fock: FloatArray) -> float:
    """A = sum N / sum mu, the number of pulses that counts stand for."""
    return float(numbers.sum() / (response.rates(fock) + background).sum())


def missing_classes(photons: int, which: str = "") -> str:
    """What to say when only events of N clicks are there, or those of ``which`` are not."""
    return (
        f"the counts hold no event of {which or f'fewer than {photons} clicks'}, so they were filtered; unfolding "
        "needs them. "
        "Ask the device for a filter of 1 click and no mitigation, or use method subtract or post-select."
    )


def _with_start(
    numbers: FloatArray, response: Response, background: FloatArray, start: FloatArray
) -> Iterator[tuple[int, FloatArray]]:
    yield 0, start  # counts may tell nothing: then the start is the best there is
    yield from iterate(numbers, response, background, start)


def _likelihood(numbers: FloatArray, mu: FloatArray) -> float:
    """Multinomial log-likelihood of rows of counts, ``(..., K)``, with rates that are right up to a factor.

    One shot of each row may be anything: a single odd one must not outweigh sixty that the model knows.
    """
    p, shots = mu / mu.sum(axis=-1, keepdims=True), numbers.sum(axis=-1, keepdims=True)
    odd = 1.0 / (1.0 + shots)
    return float((numbers * np.log((1.0 - odd) * p + odd / numbers.shape[-1])).sum())


def begin(name: str, numbers: FloatArray, model: Forward) -> FloatArray:
    """Where iterations begin, ``(B, K) -> (B, S)``.

    :param name: ``"uniform"``, or ``"data"``: collision-free outcomes as seen, smoothed; bunched ones flat; masses in
        proportion to their numbers.
    """
    here = model.space
    out = np.full((len(numbers), len(here.states)), 1.0 / len(here.states))
    if name == "uniform":
        return out
    seen = numbers[:, here.full] + 1.0  # a start of 0 would stay 0
    out[:, here.free] = seen / seen.sum(axis=1, keepdims=True) * (len(here.free) / len(here.states))
    return out
