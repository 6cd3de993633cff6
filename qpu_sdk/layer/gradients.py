"""Gradients made of probabilities at other phases: the parameter-shift rule and simultaneous perturbation.

Both say first where to look and then what follows from it, so that whoever pays knows before how much that is.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from ..arrays import FloatArray, IntArray
from ..photonics.shift_rule import Shifts
from ..seeds import child_seed


@final
@dataclass(frozen=True, eq=False)
class Seen:
    """What a circuit shows at R phase vectors.

    :param p: conditional distributions of the collision-free outcomes, ``(R, K)``.
    :param mass: probability of these outcomes together, up to one factor that no phase changes, ``(R,)``; 0 where no
        such event was seen, and p with it.
    """

    p: FloatArray
    mass: FloatArray


class Gradients(abc.ABC):
    """A way to gradients from probabilities alone.

    :cvar takes_nothing: whether a point at which nothing was seen says something: that its mass is 0.
    """

    takes_nothing: ClassVar[bool]

    @abc.abstractmethod
    def points(self, phases: FloatArray, number: int) -> FloatArray:
        """Where to look for the gradients at some phases, ``(B, P) -> (R, P)``.

        :param number: of the forward pass: what is drawn depends on it and the seed alone.
        """

    @abc.abstractmethod
    def pull(self, phases: FloatArray, cotangent: FloatArray, here: Seen, there: Seen, number: int) -> FloatArray:
        """The gradient of a loss, ``(B, P)``.

        :param cotangent: of the loss in the conditional distributions, ``(B, K)``.
        :param here: what was seen at the phases.
        :param there: what was seen at :meth:`points`.
        """


@final
@dataclass(frozen=True, eq=False)
class ParameterShift(Gradients):
    """The rule of :mod:`~qpu_sdk.photonics.shift_rule`, by the quotient rule for conditional distributions.

    With unconditional probabilities P = m q of mass m, and ``d q = (d P - q d m) / m``, the gradient of a loss with
    cotangent g is ``sum_mu c_mu m_mu (g q_mu - g q) / m``: a factor of all masses, such as a loss, drops out. Where
    nothing was seen m_mu is 0, and q_mu is not needed.

    :param rules: of every declared phase.
    :param chosen: so many phases at a time, drawn anew for each forward pass and weighted so that the mean is the whole
        gradient; or these phases and no others; None for all.
    """

    takes_nothing = True
    rules: Sequence[Shifts]
    chosen: int | tuple[int, ...] | None
    seed: int

    @property
    def settings(self) -> int:
        """Of one phase vector at most."""
        sizes = sorted((rule.settings for rule in self.rules), reverse=True)
        if isinstance(self.chosen, tuple):
            return sum(self.rules[slot].settings for slot in self.chosen)
        return sum(sizes[: self.chosen])

    def points(self, phases: FloatArray, number: int) -> FloatArray:
        """The phases with one of them shifted, vector by vector, ``(B, P) -> (R, P)``."""
        slots, shifts, _ = self._all(number)
        out = np.repeat(phases[:, None, :], len(slots), axis=1)
        out[:, np.arange(len(slots)), slots] += shifts
        return out.reshape(-1, phases.shape[1])

    def pull(self, phases: FloatArray, cotangent: FloatArray, here: Seen, there: Seen, number: int) -> FloatArray:
        """See :meth:`Gradients.pull`, ``(B, P)``."""
        slots, _, weights = self._all(number)
        batch = len(phases)
        seen, mass = there.p.reshape(batch, len(slots), cotangent.shape[1]), there.mass.reshape(batch, len(slots))
        change = np.einsum("bk,bsk->bs", cotangent, seen) - (cotangent * here.p).sum(axis=1, keepdims=True)
        out = np.zeros_like(phases)
        np.add.at(out.T, slots, (weights * mass * change / here.mass[:, None]).T)
        return out

    def _all(self, number: int) -> tuple[IntArray, FloatArray, FloatArray]:
        """Slots, shifts and weights of every setting of a phase vector, ``(S,)`` each."""
        chosen, factor = self._slots(number)
        rules = [self.rules[slot] for slot in chosen]
        slots = np.repeat(chosen, [rule.settings for rule in rules])
        shifts = np.concatenate([np.zeros(0), *(rule.shifts for rule in rules)])
        weights = np.concatenate([np.zeros(0), *(rule.weights for rule in rules)])
        return slots, shifts, factor * weights

    def _slots(self, number: int) -> tuple[IntArray, float]:
        """The phases of one pass, and what their gradients are multiplied by."""
        if isinstance(self.chosen, tuple):
            return np.array(self.chosen, dtype=np.int64), 1.0
        active = np.flatnonzero([rule.settings > 0 for rule in self.rules])
        if self.chosen is None or self.chosen >= len(active):
            return active, 1.0
        rng = np.random.default_rng(child_seed(self.seed, "phases at a time", number))
        return np.sort(rng.choice(active, self.chosen, replace=False)), len(active) / self.chosen


@final
@dataclass(frozen=True, eq=False)
class Perturbation(Gradients):
    """Simultaneous perturbation (Spall): ``g (q(x + c D) - q(x - c D)) / (2 c) D``, D of random signs, a mean of pairs.

    Its mean is the gradient up to terms of order c^2.

    :param pairs: of each phase vector.
    :param step: c, radians.
    """

    takes_nothing = False
    pairs: int
    step: float
    seed: int

    @property
    def settings(self) -> int:
        """Of one phase vector."""
        return 2 * self.pairs

    def points(self, phases: FloatArray, number: int) -> FloatArray:
        """Both ends of every pair, vector by vector, ``(B, P) -> (R, P)``."""
        steps = self.step * self._signs(phases, number)
        return np.stack([phases[:, None] + steps, phases[:, None] - steps], axis=2).reshape(-1, phases.shape[1])

    def pull(self, phases: FloatArray, cotangent: FloatArray, here: Seen, there: Seen, number: int) -> FloatArray:
        """See :meth:`Gradients.pull`, ``(B, P)``."""
        losses = np.einsum("bk,brek->bre", cotangent, there.p.reshape(len(phases), self.pairs, 2, cotangent.shape[1]))
        slopes = (losses[..., 0] - losses[..., 1]) / (2.0 * self.step)
        return np.asarray((slopes[..., None] * self._signs(phases, number)).mean(axis=1))

    def _signs(self, phases: FloatArray, number: int) -> FloatArray:
        """``(B, pairs, P)``."""
        rng = np.random.default_rng(child_seed(self.seed, "spsa", number))
        return rng.choice(np.array([-1.0, 1.0]), size=(len(phases), self.pairs, phases.shape[1]))
