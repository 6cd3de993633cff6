"""Simultaneous perturbation stochastic approximation, as ask and tell.

Spall (IEEE Trans. Aerosp. Electron. Syst. 34, 817 (1998)): with gains a_k = a / (k + 1 + A)^alpha and
c_k = c / (k + 1)^gamma and a random sign vector Delta_k, two measurements of the loss y give the gradient estimate

    g_k = (y(x + c_k Delta_k) - y(x - c_k Delta_k)) / (2 c_k) * Delta_k,        x <- x - a_k g_k.

The state is data: it can be stored after any step, and the directions of step k depend on seed and k alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, final

import numpy as np

from ..arrays import FloatArray, whole
from ..errors import ConfigError


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
    :param spread: standard deviation of the losses of the first step, the tolerance of blocking.
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


@final
@dataclass(frozen=True)
class SPSA:
    """The optimiser; it holds no state.

    :param a: numerator of a_k; ``None`` calibrates it so that the first step has root-mean-square size
        ``first_step``, from ``calibration_pairs`` probe pairs (which also make the first step).
    :param c: perturbation at the first step (Spall: about the standard deviation of the loss's noise).
    :param A: stability constant (Spall: a tenth of the steps).
    :param max_step: largest root-mean-square size of a step, ``None`` for any. One pair's estimate has heavy
        tails, and a well-trained point has steep walls: a single large difference must not throw x over them.
    :param resamplings: pairs averaged per step.
    :param smoothing: ``"adam"`` divides a running mean of the gradient by the root of a running mean of its
        square (beta 0.9, 0.99) before the gain is applied.
    :param blocking: undo a step after which the measured loss is higher by more than two standard deviations
        of the first step's losses; it costs no extra measurement, because the next pair tells the loss.
    :raises ConfigError: when a gain is not positive.

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
        for name in ("c", "alpha", "gamma", "first_step", "resamplings", "calibration_pairs"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"SPSA {name} is {getattr(self, name)}. Use a value above zero.")
        if not self.A >= 0:
            raise ConfigError(f"SPSA A is {self.A}. Use zero or more.")
        if self.a is not None and not self.a > 0:
            raise ConfigError(f"SPSA a is {self.a}. Use a value above zero, or leave it out to calibrate it.")
        if self.max_step is not None and not self.max_step > 0:
            raise ConfigError(f"SPSA max_step is {self.max_step}. Use a value above zero, or leave it out.")

    def init(self, x0: FloatArray, *, seed: int) -> SPSAState:
        """A new optimisation at ``x0``, ``(P,)``."""
        x = np.array(x0, dtype=np.float64)  # a copy: the caller's array may move on
        return SPSAState(
            x=x, seed=whole(seed, "seed", ConfigError), a=self.a, m=np.zeros_like(x), v=np.zeros_like(x), previous=x
        )

    def pairs(self, state: SPSAState) -> int:
        """Pairs that the next :meth:`ask` returns."""
        return self.resamplings if state.a is not None else max(self.resamplings, self.calibration_pairs)

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

        :raises ConfigError: when their number is wrong or one is not finite.
        """
        plus, minus = np.atleast_1d(np.asarray(y_plus, float)), np.atleast_1d(np.asarray(y_minus, float))
        if plus.shape != minus.shape or len(plus) != self.pairs(state):
            raise ConfigError(
                f"SPSA was told {plus.shape} and {minus.shape} losses; it asked for {self.pairs(state)} pairs."
            )
        if not np.isfinite(plus + minus).all():
            raise ConfigError("SPSA was told a loss that is not finite. Lower training.lr or spsa.c.")
        loss = float((plus + minus).mean() / 2)
        if self._blocked(state, loss):
            return replace(state, x=state.previous, k=state.k + 1)  # k goes on: the next directions are others
        slopes = (plus - minus) / (2 * self.c_k(state.k))
        gradient = slopes @ self._directions(state) / len(slopes)
        # Of the first step, which has the most pairs where the gain is calibrated.
        spread = float(np.concatenate([plus, minus]).std()) if state.k == 0 else state.spread
        state = self._calibrated(replace(state, spread=spread), gradient)
        direction, m, v = self._smoothed(state, gradient)
        x = state.x - self._bounded(self.a_k(state) * direction)
        return replace(state, x=x, k=state.k + 1, m=m, v=v, previous=state.x, loss=loss)

    def forget_loss(self, state: SPSAState) -> SPSAState:
        """The state for a changed loss function: blocking compares no loss across the change."""
        return replace(state, loss=None, previous=state.x)

    def _directions(self, state: SPSAState) -> FloatArray:
        """Sign vectors of step k, ``(R, P)``."""
        rng = np.random.default_rng([state.seed, state.k])
        return rng.choice(np.array([-1.0, 1.0]), size=(self.pairs(state), len(state.x)))

    def _blocked(self, state: SPSAState, loss: float) -> bool:
        return self.blocking and state.loss is not None and loss > state.loss + 2 * state.spread

    def _calibrated(self, state: SPSAState, gradient: FloatArray) -> SPSAState:
        """Choose a so that the first step has root-mean-square size first_step."""
        if state.a is not None:
            return state
        # Adam's first direction is the gradient's signs.
        typical = 1.0 if self.smoothing == "adam" else float(np.sqrt((gradient**2).mean()))
        gain = self.first_step * (1 + self.A) ** self.alpha / max(typical, 1e-12)  # equal losses have no slope
        return replace(state, a=gain)

    def _bounded(self, step: FloatArray) -> FloatArray:
        size = float(np.sqrt((step**2).mean()))
        return step if self.max_step is None or size <= self.max_step else step * (self.max_step / size)

    def _smoothed(self, state: SPSAState, gradient: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Direction and the running means (Kingma and Ba, arXiv:1412.6980, with bias correction)."""
        if self.smoothing == "none":
            return gradient, state.m, state.v
        m = 0.9 * state.m + 0.1 * gradient
        v = 0.99 * state.v + 0.01 * gradient**2
        k = state.k + 1
        return (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.99**k)) + 1e-12), m, v
