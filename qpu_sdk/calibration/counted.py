"""Counts of programs as click patterns, beside what a device with parameters may make of their circuits.

Parameters are moved by logarithms x from where they stand: those of I, g2 and the transmission t of all inputs, of the
efficiency of every mode, of the transmission of every input beside t, and of the dark counts of all modes. Whatever
detectors resolve, patterns here are of clicks: a mode with two photons counted has clicked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import numpy as np

from ..arrays import BoolArray, ComplexArray, FloatArray, IntArray
from ..photonics.click_model import ClickArrays, within
from ..photonics.counts import Counts
from ..photonics.fock import collision_free_outcomes
from ..photonics.noise import Noise, by_mode
from ..photonics.patterns import ModeSets, mode_sets, moebius
from ..photonics.permanents import collision_free_tree, probabilities
from ..photonics.program import Program
from ..photonics.program_noise import emission

#: Draws of the phases.
PHASE_DRAWS = 24
#: Largest g2 of a source of brightness 1, short of the limit, where emission has no slope.
MOST_G2 = 0.49


@final
@dataclass(frozen=True)
class Axes:
    """Where parameters stand in x, ``(P,)``.

    :param modes: M of the largest program.
    :param inputs: every mode that photons enter.
    """

    modes: int
    inputs: tuple[int, ...]

    @property
    def size(self) -> int:
        """P."""
        return 4 + self.modes + len(self.inputs)

    @property
    def scalars(self) -> slice:
        """I, g2 and the common transmission."""
        return slice(0, 3)

    @property
    def efficiencies(self) -> slice:
        """Of the modes."""
        return slice(3, 3 + self.modes)

    @property
    def inputs_alone(self) -> slice:
        """Transmissions of the inputs beside the common one."""
        return slice(3 + self.modes, 3 + self.modes + len(self.inputs))

    @property
    def dark(self) -> int:
        """Dark counts of all modes."""
        return self.size - 1


@final
@dataclass(frozen=True, eq=False)
class Counted:
    """What was seen of one program.

    :param noise: of the device, where x is 0.
    :param numbers: of every pattern of 1 to N clicks, ``(K,)``.
    :param used: which patterns the counts can have: a filter at the source takes those of few photons, ``(K,)``.
    :param errors: of the phases, in units of the largest, ``(D, declared)``.
    """

    program: Program
    noise: Noise
    axes: Axes
    numbers: FloatArray = field(repr=False)
    used: BoolArray = field(repr=False)
    errors: FloatArray = field(repr=False)

    @property
    def photons(self) -> int:
        """N."""
        return self.program.photons

    @property
    def sets(self) -> ModeSets:
        """Patterns of up to N clicks, the empty one first."""
        return mode_sets(self.program.modes, self.photons)

    @property
    def clicks(self) -> IntArray:
        """Of every pattern, ``(K,)``."""
        return self.sets.clicks[1:]

    @cached_property
    def full(self) -> IntArray:
        """Where the collision-free patterns of N clicks are, in lexicographic order, ``(C(M, N),)``."""
        occupied = collision_free_outcomes(self.program.modes, self.photons).astype(np.int64)
        return np.asarray(np.searchsorted(self.sets.masks, (np.int64(1) << occupied).sum(axis=1)) - 1)

    @property
    def filtered(self) -> bool:
        """Whether nothing of fewer than N clicks is there."""
        return not bool(self.used[self.clicks < self.photons].any())

    @property
    def total(self) -> float:
        """Shots with a pattern that is used."""
        return float(self.numbers[self.used].sum())

    @cached_property
    def columns(self) -> ComplexArray:
        """Of the ideal circuit, ``(M, N)``."""
        return self.program.mesh.columns(self.program.phases, self.program.input_modes)

    @cached_property
    def base(self) -> ClickArrays:
        """The device where x is 0, a batch of one."""
        return ClickArrays.of(self.noise.at(self.program))

    def arrays(self, x: FloatArray) -> ClickArrays:
        """The device elsewhere, ``(B, P)``."""
        base, axes = self.base, self.axes
        _, two = emission(np.ones(len(x)), np.minimum(self.noise.g2 * np.exp(x[:, 1]), MOST_G2))
        roots = np.exp(0.5 * x[:, 0])
        common, pairs = np.minimum(base.common * roots, 1.0), None
        if base.pairs is not None:
            common, pairs = np.ones(len(x)), np.minimum(base.pairs * roots[:, None, None], 1.0)
            pairs[:, np.arange(self.photons), np.arange(self.photons)] = 1.0
        places = [axes.inputs_alone.start + axes.inputs.index(mode) for mode in self.program.input_modes]
        eta = base.eta * np.exp(x[:, axes.efficiencies][:, : self.program.modes])
        t, dark = base.t * np.exp(x[:, 2:3] + x[:, places]), base.dark * np.exp(x[:, [axes.dark]])
        best = eta.max(axis=1, keepdims=True)  # only products count, and no efficiency may pass 1
        return ClickArrays(1.0 - two, two, common, pairs, np.minimum(t * best, 1.0), eta / best, np.minimum(dark, 0.1))

    def patterns(self, x: FloatArray, columns: ComplexArray | None = None) -> FloatArray:
        """P of every pattern, ``(B, K)``, of a batch of parameters or of circuits.

        :param x: ``(B, P)``.
        :param columns: ``(B, M, N)``; the ideal ones unless given.
        """
        return patterns_of(self.columns[None] if columns is None else columns, self.arrays(x))

    def expected(self, patterns: FloatArray) -> FloatArray:
        """Numbers with as many shots as were seen, ``(..., K)``; 0 where the counts can have none."""
        kept = np.where(self.used, patterns, 0.0)
        return np.asarray(self.total * kept / np.maximum(kept.sum(axis=-1, keepdims=True), 1e-300))

    def shifted(self, step: float) -> ComplexArray:
        """Columns with phases that are wrong by up to ``step`` radians, ``(D, M, N)``."""
        return self.program.mesh.columns(self.program.phases + step * self.errors, self.program.input_modes)


def seen_of(counts: Counts, program: Program, noise: Noise, *, axes: Axes | None = None, seed: int) -> Counted:
    """Counts of a program as click patterns.

    :param axes: of the parameters; those of this program alone unless given.
    :param seed: of the draws of phases.
    """
    sets = mode_sets(program.modes, program.photons)
    total = counts.outcomes.sum(axis=1, dtype=np.int64)
    kept = (total >= 1) & (total <= program.photons) & (counts.numbers > 0)
    masks = (counts.outcomes[kept] > 0) @ (np.int64(1) << np.arange(program.modes))
    places = np.searchsorted(sets.masks, masks) - 1
    numbers = np.bincount(places, weights=counts.numbers[kept], minlength=len(sets.masks) - 1)
    # A filter is of photons that were detected: |2,0> passes one of two, but single clicks are not all there. And it
    # takes whole classes: one without a single shot is taken for one that the counts cannot have.
    lowest = int(total[kept].min()) if kept.any() else program.photons
    there = np.bincount(sets.clicks[1:], weights=numbers) > 0.0
    used = (sets.clicks[1:] >= lowest) & there[sets.clicks[1:]]
    errors = phase_draws(program, seed=seed)
    axes = axes or Axes(program.modes, program.input_modes)
    return Counted(program, noise, axes, numbers.astype(np.float64), used, errors)


def phase_draws(program: Program, *, seed: int) -> FloatArray:
    """Errors of phases in units of the largest, ``(D, declared)``."""
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (PHASE_DRAWS, len(program.phases)))


def moved(noise: Noise, axes: Axes, x: FloatArray) -> Noise:
    """The noise of a device elsewhere, of the first M modes, ``(P,)``; best efficiency 1."""
    eta = by_mode(noise.efficiency, axes.modes) * np.exp(x[axes.efficiencies])
    best = float(eta.max())
    t = by_mode(noise.transmittance, axes.modes) * np.exp(x[2]) * best
    t[list(axes.inputs)] *= np.exp(x[axes.inputs_alone])
    overlap = np.minimum(np.asarray(noise.indistinguishability) * np.exp(x[0]), 1.0)
    if overlap.ndim:
        overlap = overlap[: axes.modes, : axes.modes]
        np.fill_diagonal(overlap, 1.0)
    return Noise(
        brightness=noise.brightness,
        indistinguishability=overlap,
        g2=float(min(noise.g2 * np.exp(x[1]), MOST_G2)),
        transmittance=np.minimum(t, 1.0),
        efficiency=eta / best,
        dark_counts=np.minimum(by_mode(noise.dark_counts, axes.modes) * np.exp(x[axes.dark]), 0.1),
        phase_error=noise.phase_error,
        angle_error=noise.angle_error,
    )


def patterns_of(columns: ComplexArray, noise: ClickArrays) -> FloatArray:
    """Click patterns of 1 to N clicks of a batch of circuits, or of noises, ``(B, K)``."""
    sets = mode_sets(columns.shape[1], columns.shape[2])
    return np.maximum(moebius(within(columns, noise, sets), sets), 0.0)[:, 1:]


def ideal_distributions(columns: ComplexArray) -> FloatArray:
    """Conditional collision-free distributions of a batch of circuits, ``(B, C(M, N))``."""
    p = probabilities(columns, collision_free_tree(*columns.shape[1:]))
    return np.asarray(p / p.sum(axis=1, keepdims=True))
