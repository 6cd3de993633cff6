"""The parameters of the click model as one vector, and their gauge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..photonics.noise import Noise
from ..photonics.program_noise import ProgramNoise
from .parts import parameter_name


@final
@dataclass(frozen=True)
class Layout:
    """Where the parameters stand in the vector: overlaps, g2, then those that are positive, ``(P,)``.

    :param overlaps: number of them: one, or one of each pair of inputs.
    """

    overlaps: int
    inputs: int
    modes: int

    @property
    def size(self) -> int:
        """P."""
        return self.overlaps + 1 + self.inputs + 2 * self.modes

    @property
    def overlap(self) -> slice:
        """I of pairs of inputs."""
        return slice(0, self.overlaps)

    @property
    def g2(self) -> int:
        """Of all sources."""
        return self.overlaps

    @property
    def positive(self) -> slice:
        """All that follow, whose natural scale is logarithmic."""
        return slice(self.g2 + 1, self.size)

    @property
    def transmissions(self) -> slice:
        """Of the inputs."""
        return slice(self.g2 + 1, self.g2 + 1 + self.inputs)

    @property
    def efficiencies(self) -> slice:
        """Of the modes."""
        return slice(self.transmissions.stop, self.transmissions.stop + self.modes)

    @property
    def dark(self) -> slice:
        """Of the modes."""
        return slice(self.efficiencies.stop, self.efficiencies.stop + self.modes)

    def unflatten(self, vectors: FloatArray) -> tuple[FloatArray, ...]:
        """Overlaps, g2, transmissions, efficiencies and dark counts of vectors ``(..., P)``; g2 is ``(...)``.

        >>> [part.tolist() for part in Layout(1, 2, 2).unflatten(np.arange(8))]
        [[0], 1, [2, 3], [4, 5], [6, 7]]
        """
        places = (self.overlap, self.g2, self.transmissions, self.efficiencies, self.dark)
        return tuple(vectors[..., place] for place in places)


@final
@dataclass(frozen=True, eq=False)
class Parameters:
    """The parameters of a device with one value a name.

    :param overlap: I of every pair, ``(1,)``, or of each pair of inputs, ``(n (n-1) / 2,)``.
    :param transmissions: of the inputs in ``inputs``, ``(n,)``.
    :param efficiencies: of all modes, ``(M,)``.
    :param dark: of all modes, ``(M,)``.
    """

    inputs: tuple[int, ...]
    overlap: FloatArray
    g2: float
    transmissions: FloatArray
    efficiencies: FloatArray
    dark: FloatArray

    @property
    def names(self) -> list[str]:
        """In the order of :meth:`vector`."""
        n, pairs = self.inputs, len(self.overlap) > 1
        kind = "indistinguishability"
        # Pairs in the order of np.triu_indices, in which the array has them.
        overlap = [parameter_name(kind, j, k) for a, j in enumerate(n) for k in n[a + 1 :]] if pairs else []
        return [
            *(overlap or [kind]),
            "g2",
            *(parameter_name("input_transmissions", j) for j in n),
            *(parameter_name("output_efficiencies", i) for i in range(len(self.efficiencies))),
            *(parameter_name("dark_counts", i) for i in range(len(self.dark))),
        ]

    @property
    def layout(self) -> Layout:
        """Of :meth:`vector`."""
        return Layout(len(self.overlap), len(self.transmissions), len(self.efficiencies))

    def vector(self) -> FloatArray:
        """All values, ``(P,)``."""
        return np.concatenate([self.overlap, [self.g2], self.transmissions, self.efficiencies, self.dark])

    def of(self, vector: FloatArray) -> Parameters:
        """The same device with other values."""
        overlap, g2, t, eta, dark = self.layout.unflatten(vector)
        return replace(self, overlap=overlap, g2=float(g2), transmissions=t, efficiencies=eta, dark=dark)

    def noise(self, inputs: tuple[int, ...]) -> ProgramNoise:
        """What a program that uses these inputs sees."""
        places, best = [self.inputs.index(j) for j in inputs], self.efficiencies.max()
        return ProgramNoise(
            brightness=1.0,
            indistinguishability=(
                float(self.overlap[0]) if len(self.overlap) == 1 else self.pairs()[np.ix_(places, places)]
            ),
            g2=self.g2,
            # Efficiencies of mean 1 pass 1, which no detector can; what they have too much goes to the inputs.
            transmittance=np.minimum(self.transmissions[places] * best, 1.0),
            efficiency=self.efficiencies / best,
            dark_counts=self.dark,
        )

    def noise_by_mode(self, modes: int) -> Noise:
        """The same as the noise of a device of so many modes, of one overlap for all pairs."""
        t, best = np.zeros(modes), self.efficiencies.max()
        t[list(self.inputs)] = np.minimum(self.transmissions * best, 1.0)
        return Noise(
            indistinguishability=float(self.overlap.mean()),
            g2=self.g2,
            transmittance=t,
            efficiency=self.efficiencies / best,
            dark_counts=self.dark,
        )

    def pairs(self) -> FloatArray:
        """I of every pair of inputs, ``(n, n)``."""
        n = len(self.inputs)
        out = np.eye(n)
        out[np.triu_indices(n, 1)] = self.overlap
        return np.asarray(np.maximum(out, out.T))


@final
@dataclass(frozen=True, eq=False)
class Fit:
    """Result of :func:`fit`.

    :param covariance: of :meth:`Parameters.vector`, ``(P, P)``; singular, because the gauge holds the mean efficiency.
    :param iterations: of scoring that it took.
    """

    parameters: Parameters
    covariance: FloatArray
    log_likelihood: float
    iterations: int

    @property
    def standard_errors(self) -> FloatArray:
        """Of :meth:`Parameters.vector`, ``(P,)``."""
        return np.sqrt(np.diag(self.covariance))


def in_gauge(found: Fit) -> Fit:
    """Scale efficiencies to mean 1, and transmissions the other way; errors follow to first order."""
    p, vector = found.parameters, found.parameters.vector()
    modes, mean = p.layout.modes, float(p.efficiencies.mean())
    t, eta = p.layout.transmissions, p.layout.efficiencies
    jacobian = np.eye(len(vector))
    # t' = t mean(eta), eta' = eta / mean(eta), where mean(eta) moves with every eta.
    jacobian[t, t] *= mean
    jacobian[t, eta] = vector[t, None] / modes
    jacobian[eta, eta] = np.eye(modes) / mean - vector[eta, None] / (modes * mean**2)
    vector[t], vector[eta] = vector[t] * mean, vector[eta] / mean  # only now: the jacobian is of the old values
    return replace(found, parameters=p.of(vector), covariance=jacobian @ found.covariance @ jacobian.T)
