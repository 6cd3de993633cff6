"""Detectors that count, wholly or up to their wires: the same noise, photon by photon."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from ..arrays import ComplexArray, FloatArray
from ..errors import ProgramError
from .detectors import click_chances
from .patterns import FockStates, fock_states
from .permanents import fock_tree, probabilities
from .program_noise import ProgramNoise, emission


def fock_distribution(
    columns: ComplexArray, noise: ProgramNoise, *, most_photons: int | None = None, wires: int | None = None
) -> tuple[npt.NDArray[np.uint8], FloatArray]:
    """Probabilities of what detectors of so many wires count, the empty window included.

    Every input emits nothing, a common photon, a photon of its own, or one of these and an independent one. The common
    photons of every subset of inputs interfere, ``|per(A_s)|^2 / prod s_i!``; the others are added one at a time,
    ``new(s) = sum_j |A_ji|^2 old(s - e_j)``. A photon is counted with eta_i, so that k photons are t counts with
    probability ``C(k, t) eta_i^t (1 - eta_i)^(k - t)``. A dark count adds one count to its mode at most. Photons and
    dark counts fall on one of W wires, and a wire that has clicked stays silent: with c clicks the next one is seen
    with ``1 - c / W``. Only positive numbers are added: rare outcomes are as accurate as frequent ones.

    :param columns: occupied columns of the unitary, ``(M, N)``, orthonormal.
    :param most_photons: leave out windows with more counts, and with ``wires=None`` more common photons; ``None`` for
        all of them.
    :param wires: W of every mode, 1 for threshold detectors; ``None``: every photon is counted.
    :returns: counts of each mode ``(K, M)``, and probabilities ``(K,)``; what these lack to 1 was left out.
    :raises ProgramError: when there are too many outcomes, and for overlaps that differ by pair.

    >>> from qpu_sdk.photonics.noise import Noise
    >>> h = np.array([[1, 1j], [1j, 1]]) / np.sqrt(2)
    >>> outcomes, p = fock_distribution(h, Noise().at((0, 1), modes=2), most_photons=2)
    >>> dict(zip(map(tuple, outcomes.tolist()), p.round(3).tolist()))[(2, 0)]
    0.5
    """
    if np.ndim(noise.indistinguishability) == 2:
        raise ProgramError("only threshold detectors have overlaps that differ by pair. Use detector=threshold.")
    if wires is not None and most_photons is not None and most_photons < columns.shape[1]:
        # Many photons can be few clicks: all that interfere are followed first.
        outcomes, p = fock_distribution(columns, noise, most_photons=columns.shape[1], wires=wires)
        few = int(fock_states(len(columns), columns.shape[1]).starts[most_photons + 1])
        return outcomes[:few], p[:few]
    modes, inputs = columns.shape
    dark, eta = np.asarray(noise.dark_counts, dtype=np.float64), np.asarray(noise.efficiency, dtype=np.float64)
    if most_photons is None:
        most_photons = (2 if noise.g2 > 0.0 else 1) * inputs + int(np.count_nonzero(dark))
    states = fock_states(modes, most_photons)
    best = float(eta.max())  # loss that all modes share acts as well at the inputs
    emissions = [_Emission.of(noise, best * float(t)) for t in noise.transmittance]
    p = _InputAverage(columns, emissions, states, eta / best if best > 0.0 else np.ones(modes), wires).over(0, ())
    for noisy in np.flatnonzero(dark):
        seen = (1.0 - dark[noisy]) * p
        add_count(seen, dark[noisy] * p, states, int(noisy), wires)
        p = seen
    return states.counts, p


def add_count(out: FloatArray, p: FloatArray, states: FockStates, mode: int, wires: int | None) -> None:
    """Add to ``out`` what ``p`` becomes when one more photon is detected in ``mode``; over the first axis, in place.

    :param p: of the counts, ``(K, ...)``; what would have more of them than the table is left out.
    """
    more, fewer = states.neighbour_pairs[mode]
    if wires is None:
        out[more] += p[fewer]
        return
    hit = np.minimum(states.counts[:, mode] / wires, 1.0).reshape(-1, *[1] * (p.ndim - 1))  # no new click on these
    out += hit * p
    out[more] += ((1.0 - hit) * p)[fewer]


@final
@dataclass(frozen=True)
class _Emission:
    """Probabilities of what one input sends on: (common photons, photons that interfere with nothing)."""

    nothing: float
    other: float
    two_others: float
    common: float
    common_and_other: float

    @classmethod
    def of(cls, noise: ProgramNoise, t: float) -> _Emission:
        """Of an input with transmission t: a lost first photon leaves the second one, which interferes with nothing."""
        one, two = (float(p) for p in emission(noise.brightness, noise.g2))
        common = math.sqrt(float(noise.indistinguishability))
        first, second, both = t * one + t * (1.0 - t) * two, t * (1.0 - t) * two, t**2 * two
        return cls(
            nothing=(1.0 - one - two) + one * (1.0 - t) + two * (1.0 - t) ** 2,
            other=(1.0 - common) * first + second,
            two_others=(1.0 - common) * both,
            common=common * first,
            common_and_other=common * both,
        )


@final
@dataclass(frozen=True, eq=False)
class _InputAverage:
    """The average over what every input sends, depth first: 2N distributions are held, not 2^N.

    ``efficiencies``, relative to the best: photons are lost before others are added, so that what is left out had more
    counts, and not only more photons. With ``wires`` the states are clicks, which photons are as soon as all that
    interfere are known.
    """

    columns: ComplexArray
    emissions: list[_Emission]
    states: FockStates
    efficiencies: FloatArray
    wires: int | None

    def over(self, first: int, common: tuple[int, ...]) -> FloatArray:
        """Inputs before ``first`` send a common photon, if in ``common``, or nothing; those from it on are averaged."""
        if first == len(self.emissions):
            return self._interfering(common)
        sent = self.emissions[first]
        absent = self.over(first + 1, common)
        out, extra = sent.nothing * absent, sent.other * absent
        if sent.common + sent.common_and_other > 0.0:
            present = self.over(first + 1, (*common, first))
            out += sent.common * present
            extra += sent.common_and_other * present
        if sent.two_others > 0.0:
            extra += self._one_more(sent.two_others * absent, first)
        return out + self._one_more(extra, first) if sent.other + sent.common_and_other > 0.0 else out

    def _interfering(self, common: tuple[int, ...]) -> FloatArray:
        out, photons = np.zeros(len(self.states.counts)), len(common)
        if photons == 0:
            out[0] = 1.0
        elif photons + 1 < len(self.states.starts):  # more common photons than asked for are left out
            part = slice(self.states.starts[photons], self.states.starts[photons + 1])
            tree = fock_tree(len(self.columns), photons)
            out[part] = probabilities(self.columns[:, list(common)], tree)
            seen = out[: part.stop]  # losing photons leads to fewer of them, so what follows stays 0
            for mode, efficiency in enumerate(self.efficiencies.tolist()):
                if efficiency < 1.0 or (self.wires is not None and photons > 1):
                    seen = _fewer(seen, self.states, mode, _shown(photons, efficiency, self.wires))
            out[: part.stop] = seen
        return out

    def _one_more(self, p: FloatArray, which: int) -> FloatArray:
        """A photon from one input that interferes with nothing."""
        arrives = np.abs(self.columns[:, which]) ** 2
        out = float(arrives @ (1.0 - self.efficiencies)) * p
        for mode, arrival in enumerate(arrives * self.efficiencies):
            add_count(out, arrival * p, self.states, mode, self.wires)
        return out


def _shown(photons: int, efficiency: float, wires: int | None) -> FloatArray:
    """Probability of c counts of k photons in one mode, ``[c, k]``: ``C(k, t) eta^t (1 - eta)^(k - t)``, then wires."""
    return np.asarray(click_chances(photons, wires) @ binomial(photons, efficiency))


def binomial(photons: int, efficiency: float) -> FloatArray:
    """C(k, t) eta^t (1 - eta)^(k - t), ``[t, k]``, ``(photons + 1, photons + 1)``.

    >>> binomial(2, 0.5)[:, 2].tolist()
    [0.25, 0.5, 0.25]
    """
    # Photon by photon: sums of positive numbers, without factorials.
    table = np.zeros((photons + 1, photons + 1))
    table[0, 0] = 1.0
    for k in range(photons):
        table[:, k + 1] = (1.0 - efficiency) * table[:, k]
        table[1:, k + 1] += efficiency * table[:-1, k]
    return table


def _fewer(p: FloatArray, states: FockStates, mode: int, table: FloatArray) -> FloatArray:
    """k photons in ``mode`` are c counts with probability ``table[c, k]``, no more than k.

    :param p: of the first outcomes, up to some number of photons.
    """
    size = len(p)
    more, fewer = (side[states.neighbour_pairs[mode][0] < size] for side in states.neighbour_pairs[mode])
    with_one_more = np.full(size + 1, size)  # size: beyond the table, where padded has its 0
    with_one_more[fewer] = more
    padded, seen = np.append(p, 0.0), states.counts[:size, mode].astype(np.int64)
    out, source = np.zeros(size), np.arange(size)
    for lost in range(len(table)):
        by_counts = np.append(np.diagonal(table, lost), np.zeros(lost))  # [c]: table[c, c + lost]
        out += by_counts[seen] * padded[source]
        source = with_one_more[source]
    return out
