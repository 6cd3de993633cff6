"""Errors that all outcomes share: of the calibration, and of phases that are not quite those asked for.

Both are drawn, not derived. For the calibration, parameters come from the record's covariance. If a draw theta' is the
truth and theta is believed, the estimate is wrong by ``(P'_s - P_s) / g_s``, to first order, up to normalisation, with
P and P' the model's N-click classes.

A device adds an unknown error to every phase, uniform within +-e (Perceval's ``phase_error``). e is the record's, or,
if it has none, it is what makes the classes of fewer than N clicks as far from the model as they are: with delta_T(d)
the change of pattern T by errors within +-e0, d one of D draws, ::

    (e / e0)^2 = sum_T [(N_T - A P_T)^2 - A P_T - var_calibration] / (A P_T)  /  sum_T mean_d (A delta_T(d))^2 / (A P_T)

The ideal N-photon distribution is computed here at shifted phases, for error bars only: no estimate uses it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import final

import numpy as np

from ..arrays import BoolArray, ComplexArray, FloatArray
from ..calibration.record import CalibrationRecord
from ..photonics.click_model import ClickArrays, within
from ..photonics.patterns import mode_sets, moebius
from ..photonics.permanents import collision_free_tree, probabilities
from ..photonics.program import Program
from ..photonics.program_noise import ProgramNoise, emission
from .forward import Forward, space

#: Draws of the calibration and of the phases, and e0, radians.
#: e0 is small, so that changes are linear in it, and far above rounding.
CALIBRATION_DRAWS, PHASE_DRAWS, PHASE_STEP = 16, 24, 0.01
NAME = re.compile(r"(?P<kind>[a-z_0-9]+)(\[(?P<modes>[0-9,]+)\])?")


@final
@dataclass(frozen=True, eq=False)
class Systematics:
    """Common errors of a distribution.

    :param rows: one for each draw, in probabilities, ``(F, K)``: the sum of their squares is the variance.
    :param phase_error: e, radians.
    :param measured: True when e came from these counts and not from the record.
    """

    rows: FloatArray = field(repr=False)
    phase_error: float
    measured: bool


def systematics(
    numbers: FloatArray, program: Program, record: CalibrationRecord, model: Forward, p: FloatArray, *, seed: int
) -> Systematics:
    """Errors that the outcomes of one estimate share.

    :param numbers: of every pattern of ``model.space``, ``(K,)``.
    :param p: the estimate, ``(C(M, N),)``.
    :param seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    columns = program.mesh.columns(program.phases, program.input_modes)
    noise = record.noise().at(program)
    middle = _patterns(columns[None], ClickArrays.of(noise))[0]
    drawn = _patterns(columns[None], _noises(record, program, noise, rng))
    errors = rng.uniform(-PHASE_STEP, PHASE_STEP, (PHASE_DRAWS, len(program.phases)))
    shifted = program.mesh.columns(program.phases + errors, program.input_modes)
    e, measured = (record.phase_error.value, False) if record.phase_error is not None else (0.0, True)
    if measured:
        moved = _patterns(shifted, ClickArrays.of(noise))
        below = mode_sets(program.modes, program.photons).clicks[1:] < program.photons
        e = _phase_error(_clicks(numbers, model), middle, moved, drawn, below)
    full = space(program.modes, program.photons, "threshold").full
    scale = drawn.sum(axis=1, keepdims=True) / middle.sum()
    calibration = (drawn[:, full] / scale - middle[full]) / _gain(model) / _yield(model)
    phases = (e / PHASE_STEP) * (_ideal(shifted) - model.ideal[model.space.free] / _yield(model))
    rows = [rows - p * rows.sum(axis=1, keepdims=True) for rows in (calibration, phases)]  # a common factor is no error
    return Systematics(np.concatenate([r / np.sqrt(len(r)) for r in rows]), float(e), measured)


def _patterns(columns: ComplexArray, noise: ClickArrays) -> FloatArray:
    """Click patterns of 1 to N clicks of a batch of circuits, or of noises, ``(B, K)``."""
    sets = mode_sets(columns.shape[1], columns.shape[2])
    return np.maximum(moebius(within(columns, noise, sets), sets), 0.0)[:, 1:]


def _ideal(columns: ComplexArray) -> FloatArray:
    p = probabilities(columns, collision_free_tree(*columns.shape[1:]))
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def _gain(model: Forward) -> FloatArray:
    return np.maximum(model.gain, 1e-300)


def _yield(model: Forward) -> float:
    """Probability of a collision-free outcome."""
    return float(model.ideal[model.space.free].sum())


def _clicks(numbers: FloatArray, model: Forward) -> FloatArray:
    """What threshold detectors would have shown, in the order of :func:`_patterns`."""
    here = model.space
    if here.detector == "threshold":
        return numbers
    masks = (here.patterns > 0) @ (np.int64(1) << np.arange(here.modes))
    sets = mode_sets(here.modes, here.photons)
    found = np.bincount(np.searchsorted(sets.masks, masks) - 1, weights=numbers, minlength=len(sets.masks) - 1)
    return np.asarray(found, dtype=np.float64)


def _phase_error(n: FloatArray, middle: FloatArray, moved: FloatArray, drawn: FloatArray, below: BoolArray) -> float:
    """e of the module's docstring, radians."""
    n, middle, moved, drawn = n[below], middle[below], moved[:, below], drawn[:, below]
    if n.sum() == 0.0:
        return 0.0
    expected = n.sum() * middle / middle.sum()
    likely = expected > 5.0  # below, one rare pattern could outweigh all others
    change = n.sum() * (moved / moved.sum(axis=1, keepdims=True) - middle / middle.sum())[:, likely]
    uncertain = n.sum() * (drawn / drawn.sum(axis=1, keepdims=True) - middle / middle.sum())[:, likely]
    n, expected = n[likely], expected[likely]
    excess = ((n - expected) ** 2 - expected - (uncertain**2).mean(axis=0)) / expected
    unit = (change**2).mean(axis=0) / expected
    return PHASE_STEP * float(np.sqrt(max(float(excess.sum() / max(float(unit.sum()), 1e-300)), 0.0)))


def _noises(record: CalibrationRecord, program: Program, noise: ProgramNoise, rng: np.random.Generator) -> ClickArrays:
    """Draws of the calibration, a batch."""
    size, inputs = CALIBRATION_DRAWS, list(program.input_modes)
    best = max(m.value for m in record.output_efficiencies)
    one, two = emission(noise.brightness, noise.g2)
    g2 = np.full(size, noise.g2)
    overlap = np.asarray(noise.indistinguishability, dtype=np.float64)  # I, or S_jk = sqrt(I_jk)
    overlap = np.tile(np.sqrt(overlap) if overlap.ndim else overlap, (size,) + (1,) * overlap.ndim)
    t, eta, dark = (
        np.tile(np.asarray(a, dtype=np.float64), (size, 1))
        for a in (noise.transmittance, noise.efficiency, noise.dark_counts)
    )
    for name, change in zip(record.parameters, _changes(record, rng), strict=True):
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
            t[:, inputs.index(modes[0])] += change * best
        elif match["kind"] == "output_efficiencies" and modes[0] < program.modes:
            eta[:, modes[0]] += change / best
        elif match["kind"] == "dark_counts" and modes[0] < program.modes:
            dark[:, modes[0]] += change
    one, two = emission(noise.brightness, np.clip(g2, 0.0, 0.5))
    overlap, t, dark = (np.clip(a, 0.0, 1.0) for a in (overlap, t, dark))
    eta = np.clip(eta, 0.0, 1.0 / np.maximum(t.max(axis=1, keepdims=True), 1e-300))  # only the product is below 1
    by_pair = overlap.ndim == 3
    common = np.ones(size) if by_pair else np.sqrt(overlap)
    return ClickArrays(one, two, common, overlap if by_pair else None, t, eta, dark)


def _changes(record: CalibrationRecord, rng: np.random.Generator) -> FloatArray:
    """Changes of the record's parameters, one row a parameter, ``(P, draws)``."""
    covariance = record.covariance_array()
    # The gauge makes one value 0, which may come out as -1e-20.
    values, vectors = np.linalg.eigh(covariance) if len(covariance) else (np.zeros(0), np.zeros((0, 0)))
    return np.asarray(
        (vectors * np.sqrt(np.maximum(values, 0.0))) @ rng.normal(size=(len(covariance), CALIBRATION_DRAWS))
    )
