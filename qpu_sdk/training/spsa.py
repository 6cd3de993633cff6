"""Simultaneous perturbation stochastic approximation, as ask and tell.

Spall (IEEE Trans. Aerosp. Electron. Syst. 34, 817 (1998)): with gains a_k = a / (k + 1 + A)^alpha and
c_k = c / (k + 1)^gamma and a random sign vector Delta_k, two measurements of the loss y give the gradient estimate

    g_k = (y(x + c_k Delta_k) - y(x - c_k Delta_k)) / (2 c_k) * Delta_k,        x <- x - a_k g_k.

The state is data: it can be stored after any step, and the directions of step k depend on seed and k alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, final

import numpy as np

from ..arrays import FloatArray, real, reals, truth, whole
from ..errors import ConfigError
from ..statistics import student_quantile
from ..words import short

#: Most pairs of a step.
MOST_PAIRS = 100_000
#: Largest loss, and the size below which all are equal: their squares are numbers still.
LARGEST_LOSS, SMALLEST_LOSS = 1e100, 1e-100

#: With a calibrated gain no step is longer than so many times what it is meant to be: a first pair that happened to
#: differ little makes a gain that the next one would throw x away with.
LONGEST_STEP = 10.0
#: Losses that differ by less, relative to their size, differ by rounding.
RESOLVED = 1e-12
#: A step is undone when chance alone would make so high a loss in one of 740 cases: three standard deviations.
UNLIKELY = 0.00135


@final
@dataclass(frozen=True, eq=False)
class SPSAState:
    """Where an optimisation stands.

    :param x: parameters, ``(P,)``.
    :param k: steps taken.
    :param a: gain, ``None`` until it is calibrated.
    :param m: running mean of the gradient, ``(P,)`` (Adam smoothing only).
    :param v: running mean of the squared gradient, ``(P,)``.
    :param previous: parameters before the last step, where a blocked step returns to, ``(P,)``.
    :param loss: mean loss measured at ``previous``; ``None`` before the first step.
    :param spread: standard deviation of the mean loss of one pair around one x, from all steps with several pairs.
    :param provisional: True while all losses were equal, so that ``a`` is a guess: the first that differ choose it.
    """

    x: FloatArray = field(repr=False)
    seed: int
    k: int = 0
    a: float | None = None
    m: FloatArray = field(default_factory=lambda: np.zeros(0), repr=False)
    v: FloatArray = field(default_factory=lambda: np.zeros(0), repr=False)
    previous: FloatArray = field(default_factory=lambda: np.zeros(0), repr=False)
    loss: float | None = None
    spread: float = 0.0
    provisional: bool = False


@final
@dataclass(frozen=True)
class SPSA:
    """The optimiser; it holds no state.

    :param a: numerator of a_k; ``None`` calibrates it so that the first step has root-mean-square size
        ``first_step``, from ``calibration_pairs`` probe pairs (which also make the first step). No later step is then
        longer than ten times that, falling as a_k does.
    :param c: perturbation at the first step (Spall: about the standard deviation of the loss's noise).
    :param A: stability constant (Spall: a tenth of the steps).
    :param max_step: largest root-mean-square size of a step, ``None`` for any. One pair's estimate has heavy
        tails, and a well-trained point has steep walls: a single large difference must not throw x over them.
    :param resamplings: pairs averaged per step.
    :param smoothing: ``"adam"`` divides a running mean of the gradient by the root of a running mean of its
        square (beta 0.9, 0.99) before the gain is applied.
    :param blocking: undo a step after which the measured loss is higher than noise explains, by three standard
        deviations. It costs no extra measurement, because the next pair tells the loss; but one pair does not tell
        slope from noise, so some step must have two: with ``resamplings``, or ``calibration_pairs`` without ``a``.
    :raises ConfigError: when a gain is not positive, or blocking has no step with several pairs.

    >>> spsa = SPSA(a=0.5, c=0.1, A=0.0)
    >>> state = spsa.init(np.array([3.0, -2.0]), seed=1)
    >>> for _ in range(200):
    ...     plus, minus = spsa.ask(state)
    ...     state = spsa.tell(state, (plus**2).sum(axis=1), (minus**2).sum(axis=1))
    >>> bool(np.abs(state.x).max() < 1e-3)
    True
    """

    a: float | None = None
    c: float = 0.1
    A: float = 0.0
    alpha: float = 0.602
    gamma: float = 0.101
    resamplings: int = 1
    calibration_pairs: int = 4
    first_step: float = 0.02
    max_step: float | None = None
    smoothing: Literal["none", "adam"] = "none"
    blocking: bool = False

    def __post_init__(self) -> None:
        for name in ("resamplings", "calibration_pairs"):
            value = whole(getattr(self, name), f"SPSA {name}", ConfigError, least=1, most=MOST_PAIRS)
            object.__setattr__(self, name, value)
        for name in ("a", "c", "alpha", "gamma", "first_step", "max_step"):
            if (given := getattr(self, name)) is not None or name not in ("a", "max_step"):
                object.__setattr__(self, name, real(given, f"SPSA {name}", ConfigError, above=0.0))
        object.__setattr__(self, "A", real(self.A, "SPSA A", ConfigError, least=0.0))
        object.__setattr__(self, "blocking", truth(self.blocking, "SPSA blocking", ConfigError))
        if self.smoothing not in ("none", "adam"):
            raise ConfigError(f"SPSA smoothing is {short(self.smoothing)}. Use none or adam.")
        if self.blocking and self._first_pairs < 2:
            raise ConfigError(
                "SPSA blocking needs several losses at one point to know their noise, and each step has one pair. Use "
                "resamplings = 2 or more, leave a out with calibration_pairs = 2 or more, or use blocking = false."
            )

    @property
    def _first_pairs(self) -> int:
        return self.resamplings if self.a is not None else max(self.resamplings, self.calibration_pairs)

    def init(self, x0: FloatArray, *, seed: int) -> SPSAState:
        """A new optimisation at ``x0``, ``(P,)``.

        :raises ConfigError: when it is no vector of finite numbers.
        """
        x = reals(x0, "SPSA's start", ConfigError).copy()  # the caller's array may move on
        if x.ndim != 1 or not x.size:
            raise ConfigError(f"SPSA's start has shape {x.shape}. Use a vector of one parameter or more.")
        seed = whole(seed, "seed", ConfigError, least=0)
        return SPSAState(x=x, seed=seed, a=self.a, m=np.zeros_like(x), v=np.zeros_like(x), previous=x)

    def pairs(self, state: SPSAState) -> int:
        """Pairs that the next :meth:`ask` returns."""
        return self.resamplings if state.a is not None else self._first_pairs

    def c_k(self, k: int) -> float:
        """c / (k + 1)^gamma."""
        return float(self.c / (k + 1) ** self.gamma)

    def a_k(self, state: SPSAState) -> float:
        """a / (k + 1 + A)^alpha; raises :class:`ConfigError` before the gain is calibrated."""
        if state.a is None:
            raise ConfigError("SPSA's gain a is not calibrated yet. Tell the first losses before asking for it.")
        return float(state.a / (state.k + 1 + self.A) ** self.alpha)

    def ask(self, state: SPSAState) -> tuple[FloatArray, FloatArray]:
        """Points to measure, x + c_k Delta and x - c_k Delta, ``(R, P)`` each; the same until told."""
        step = self.c_k(state.k) * self._directions(state)
        return state.x + step, state.x - step

    def tell(self, state: SPSAState, y_plus: FloatArray, y_minus: FloatArray) -> SPSAState:
        """The state after the measured losses of :meth:`ask`, ``(R,)`` each.

        :raises ConfigError: when their number is wrong, or one is not finite; the state that was told stays good.
        """
        plus, minus = (self._losses(y, self.pairs(state)) for y in (y_plus, y_minus))
        means = (plus + minus) / 2  # in which the slope cancels, so that what is left between them is noise
        loss, blocked = float(means.mean()), self._blocked(state, float(means.mean()))
        state = replace(state, spread=self._pooled(state, means))
        if blocked:
            # k goes on: the next directions are others. The loss that was undone to may have been a lucky one.
            return replace(state, x=state.previous, k=state.k + 1, loss=None)
        slopes = (plus - minus) / (2 * self.c_k(state.k))
        gradient = slopes @ self._directions(state) / len(slopes)
        flat = bool(np.abs(plus - minus).max() <= RESOLVED * max(SMALLEST_LOSS, np.abs(means).max()))
        state = self._calibrated(state, gradient, flat=flat)
        direction, m, v = self._smoothed(state, gradient)
        x = state.x - self._bounded(state, self.a_k(state) * direction)
        if not np.isfinite(x).all():
            raise ConfigError("SPSA's step leaves the finite numbers. Lower its gain a, or set max_step.")
        return replace(state, x=x, k=state.k + 1, m=m, v=v, previous=state.x, loss=loss)

    def forget_loss(self, state: SPSAState) -> SPSAState:
        """The state for a changed loss function: blocking compares no loss across the change."""
        return replace(state, loss=None, previous=state.x)

    def _directions(self, state: SPSAState) -> FloatArray:
        """Sign vectors of step k, ``(R, P)``."""
        rng = np.random.default_rng([state.seed, state.k])
        return rng.choice(np.array([-1.0, 1.0]), size=(self.pairs(state), len(state.x)))

    def _losses(self, told: FloatArray, pairs: int) -> FloatArray:
        """The losses of one side, ``(R,)``."""
        found = np.atleast_1d(reals(told, "a loss that SPSA was told", ConfigError, finite=False))
        if found.shape != (pairs,):
            raise ConfigError(f"SPSA was told losses of shape {found.shape}; it asked for {pairs} pairs. Tell as many.")
        if not np.isfinite(found).all():
            raise ConfigError("SPSA was told a loss that is not finite. Lower training.lr or spsa.c, or measure again.")
        if (np.abs(found) > LARGEST_LOSS).any():
            raise ConfigError(f"SPSA was told a loss above {LARGEST_LOSS:g}. Scale the loss, or lower the gain or c.")
        return found

    def _pooled(self, state: SPSAState, means: FloatArray) -> float:
        """Standard deviation of pairs' mean losses at one x, over all steps so far and this one."""
        before, now = self._degrees(state.k), len(means) - 1
        squares = before * state.spread**2 + float(((means - means.mean()) ** 2).sum())
        return math.sqrt(squares / (before + now)) if before + now else 0.0

    def _degrees(self, steps: int) -> int:
        """Degrees of freedom of the spread after so many steps: a step of R pairs has R - 1."""
        return self._first_pairs - 1 + (steps - 1) * (self.resamplings - 1) if steps else 0

    def _blocked(self, state: SPSAState, loss: float) -> bool:
        """Whether the loss rose by more than the noise of two means explains, by Student's t for so few pairs."""
        if not self.blocking or state.loss is None:
            return False
        error = state.spread * math.sqrt(2.0 / self.resamplings)
        return loss > state.loss + student_quantile(1.0 - UNLIKELY, self._degrees(state.k)) * error

    def _calibrated(self, state: SPSAState, gradient: FloatArray, *, flat: bool) -> SPSAState:
        """Choose a so that the first step has root-mean-square size first_step."""
        if state.a is not None and not state.provisional:
            return state
        # Adam's first direction is the gradient's signs; equal losses tell no slope, and 1 is a guess.
        typical = 1.0 if self.smoothing == "adam" or flat else _size(gradient)
        return replace(state, a=self.first_step * (state.k + 1 + self.A) ** self.alpha / typical, provisional=flat)

    def _bounded(self, state: SPSAState, step: FloatArray) -> FloatArray:
        limit = math.inf if self.max_step is None else self.max_step
        if self.a is None:
            falling = ((1 + self.A) / (state.k + 1 + self.A)) ** self.alpha
            limit = min(limit, LONGEST_STEP * self.first_step * falling)
        size = _size(step)
        return step if size <= limit else step * (limit / size)

    def _smoothed(self, state: SPSAState, gradient: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Direction and the running means (Kingma and Ba, arXiv:1412.6980, with bias correction)."""
        if self.smoothing == "none":
            return gradient, state.m, state.v
        m = 0.9 * state.m + 0.1 * gradient
        v = 0.99 * state.v + 0.01 * gradient**2
        k = state.k + 1
        return (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.99**k)) + 1e-12), m, v


def _size(vector: FloatArray) -> float:
    """Root-mean-square."""
    return float(np.sqrt((vector**2).mean()))
