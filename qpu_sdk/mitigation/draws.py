"""Devices as a record leaves them open: its parameters, drawn from their covariance."""

from __future__ import annotations

import re

import numpy as np

from ..arrays import FloatArray
from ..calibration.parts import Measured
from ..calibration.record import CalibrationRecord
from ..photonics.click_model import ClickArrays
from ..photonics.program import Program
from ..photonics.program_noise import emission

#: Names of parameters, as records write them.
NAME = re.compile(r"(?P<kind>[a-z_0-9]+)(\[(?P<modes>[0-9,]+)\])?")


def drawn_noises(record: CalibrationRecord, program: Program, size: int, rng: np.random.Generator) -> ClickArrays:
    """Draws of a device from the covariance of its record, as one program meets it, a batch.

    :param size: of the batch.
    """
    inputs, noise = list(program.input_modes), record.noise().at(program)
    one, two = emission(noise.brightness, noise.g2)
    g2 = np.full(size, noise.g2)
    overlap = np.asarray(noise.indistinguishability, dtype=np.float64)  # I, or S_jk = sqrt(I_jk)
    overlap = np.tile(np.sqrt(overlap) if overlap.ndim else overlap, (size,) + (1,) * overlap.ndim)
    t, eta, dark = (
        np.tile(np.asarray(a, dtype=np.float64), (size, 1))
        for a in (noise.transmittance, noise.efficiency, noise.dark_counts)
    )
    for name, change in zip(record.parameters, _changes(record, size, rng), strict=True):
        match = NAME.fullmatch(name)
        assert match is not None
        modes = [int(m) for m in match["modes"].split(",")] if match["modes"] else []
        if match["kind"] == "g2":
            g2 += change
        elif match["kind"] == "indistinguishability" and not modes and overlap.ndim == 1:
            overlap += change
        elif match["kind"] == "indistinguishability" and set(modes) <= set(inputs):
            j, k = (inputs.index(mode) for mode in modes)
            overlap[:, j, k] += change / (2.0 * np.maximum(overlap[:, j, k], 1e-3))  # S = sqrt(I)
            overlap[:, k, j] = overlap[:, j, k]
        elif match["kind"] == "input_transmissions" and modes[0] in inputs:
            t[:, inputs.index(modes[0])] *= _factor(change, record.input_transmissions[modes[0]])
        elif match["kind"] == "output_efficiencies" and modes[0] < program.modes:
            eta[:, modes[0]] *= _factor(change, record.output_efficiencies[modes[0]])
        elif match["kind"] == "dark_counts" and modes[0] < program.modes:
            dark[:, modes[0]] += change
    one, two = emission(noise.brightness, np.clip(g2, 0.0, 0.5))
    overlap, t, dark = (np.clip(a, 0.0, 1.0) for a in (overlap, t, dark))
    eta = np.clip(eta, 0.0, 1.0 / np.maximum(t.max(axis=1, keepdims=True), 1e-300))  # only the product is below 1
    by_pair = overlap.ndim == 3
    common = np.ones(size) if by_pair else np.sqrt(overlap)
    return ClickArrays(one, two, common, overlap if by_pair else None, t, eta, dark)


def _factor(change: FloatArray, measured: Measured) -> FloatArray:
    """A change as a factor: a number known to a half of itself is still positive, ``(draws,)``."""
    return np.exp(change / max(measured.value, 1e-12))


def _changes(record: CalibrationRecord, size: int, rng: np.random.Generator) -> FloatArray:
    """Changes of the record's parameters, one row a parameter, ``(P, draws)``."""
    covariance = record.inflation * record.covariance_array()
    # The gauge makes one value 0, which may come out as -1e-20.
    values, vectors = np.linalg.eigh(covariance) if len(covariance) else (np.zeros(0), np.zeros((0, 0)))
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ rng.normal(size=(len(covariance), size)))
