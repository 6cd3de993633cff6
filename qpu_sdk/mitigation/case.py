"""Counts, record and program that belong together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..calibration.counted import seen_of
from ..calibration.record import CalibrationRecord
from ..errors import CalibrationMismatch, MitigationError
from ..photonics.counts import Counts
from ..photonics.noise import Noise
from ..photonics.program import Program
from ..seeds import child_seed
from .agreement import Agreement, Allowance, agree, gate
from .background import LEAST_GAIN
from .distribution import Diagnostics, Distribution, MethodReport
from .forward import Forward, forward, space, without_circuit
from .uncertainty import Uncertainty
from .unfolding import missing_classes

#: A class of clicks that expects so many shots and has none was filtered away.
SURELY_SEEN = 20
NOTHING_TO_SAY = Diagnostics()


@final
@dataclass(frozen=True, eq=False)
class Case:
    """What a method works on.

    :param noise: to correct with: the record's, or as the counts tell it where they contradict the record.
    :param agreement: of counts, record and program; None where the program is not known.
    """

    counts: Counts
    record: CalibrationRecord
    noise: Noise
    program: Program | None
    baseline: Distribution
    seed: int
    agreement: Agreement | None = None

    def compared(self) -> Case:
        """The case with counts, record and program compared, which needs the program."""
        if self.program is None:
            return self
        seen = seen_of(self.counts, self.program, self.noise, seed=child_seed(self.seed, "phases"))
        found = agree(seen, self.record, seed=self.seed)
        return replace(self, noise=found.noise, agreement=found)

    @cached_property
    def gate(self) -> Allowance:
        """How much of the background may be subtracted, of a case that was compared."""
        assert self.agreement is not None
        return gate(self.agreement, self.model)

    @cached_property
    def model(self) -> Forward:
        """The model of the circuit, or of loss alone where none is known.

        :raises MitigationError: when some outcome is never seen.
        """
        model = self._forward()
        gain = model.gain
        worst = int(gain.argmin())
        if gain[worst] <= LEAST_GAIN * max(float(gain.max()), 1e-300):
            modes = np.flatnonzero(model.space.patterns[model.space.full[worst]]).tolist()
            raise MitigationError(
                f"by the record the device never shows {self.counts.photons} interfering photons in modes {modes}. "
                "Check its efficiencies, transmissions and indistinguishability, or use method post-select."
            )
        return model

    def _forward(self) -> Forward:
        if self.program is not None:
            columns = self.program.mesh.columns(self.program.phases, self.program.input_modes)
            return forward(columns, self.noise.at(self.program), self.counts.detector)
        inputs = self.record.input_modes[: self.counts.photons]  # any: only their mean transmission is used
        here = self.noise.at(inputs, modes=self.counts.modes)
        return without_circuit(here, self.counts.detector, modes=self.counts.modes, photons=self.counts.photons)

    @cached_property
    def numbers(self) -> FloatArray:
        """Of every pattern of at most N clicks, ``(K,)``."""
        return space(self.counts.modes, self.counts.photons, self.counts.detector).numbers(self.counts)

    @cached_property
    def lower(self) -> int:
        """Shots of fewer than N clicks."""
        clicks = self.counts.outcomes.sum(axis=1, dtype=np.int64)
        return int(self.counts.numbers[(clicks >= 1) & (clicks < self.counts.photons)].sum())

    @cached_property
    def filtered(self) -> str:
        """What the device seems to have filtered away of the classes of fewer than N clicks, ``""`` for nothing."""
        photons = self.counts.photons
        if photons == 1:
            return ""
        clicks = self.model.space.patterns.sum(axis=1)
        seen, rates = np.bincount(clicks, self.numbers), np.bincount(clicks, self.model.model)
        # Scaled by the classes that are there: a filter takes whole ones.
        expected = rates * (seen.sum() / rates[seen > 0.0].sum())
        if not self.lower and expected[:photons].sum() <= SURELY_SEEN:
            return (
                f"the counts hold no event of fewer than {photons} clicks, and by the record hardly any are expected; "
                "unfolding needs them. Use method subtract or post-select."
            )
        if not self.lower:
            return missing_classes(photons)
        for k in range(1, photons):
            if seen[k] == 0.0 and expected[k] > SURELY_SEEN:
                which = f"{k} {'click' if k == 1 else 'clicks'} where {expected[k]:.0f} are expected"
                return missing_classes(photons, which)
        return ""

    def result(
        self,
        p: FloatArray,
        *history: MethodReport,
        uncertainty: Uncertainty,
        unprojected: FloatArray | None = None,
        diagnostics: Diagnostics = NOTHING_TO_SAY,
    ) -> Distribution:
        """The baseline with another estimate, ``(K,)``."""
        return replace(
            self.baseline,
            probabilities=p,
            uncertainty=uncertainty,
            unprojected=unprojected,
            history=history,
            diagnostics=diagnostics,
        )


def check_match(counts: Counts, record: CalibrationRecord, program: Program | None) -> None:
    """Check that counts, record and program are of one setting.

    :raises CalibrationMismatch: when the record is of another device, of fewer modes, other inputs or detectors.
    :raises MitigationError: when the program is not that of the counts.
    """
    _check_kinds(counts, record, program)
    # A twin is made of the record and runs under a name of its own.
    if counts.device and counts.device != record.device and not counts.device.startswith("local:twin"):
        raise CalibrationMismatch(
            f"the counts are of {counts.device}, the record is of {record.device}. Use a record of {counts.device}."
        )
    if counts.detector != record.detector:
        raise CalibrationMismatch(
            f"the counts are of {counts.detector} detectors, the record is of {record.detector} detectors. "
            "Use a record of such detectors."
        )
    if counts.modes > record.modes:
        raise CalibrationMismatch(
            f"the counts have {counts.modes} modes, the record {record.modes}. Calibrate {counts.modes} modes."
        )
    if program is None:
        if counts.photons > len(record.input_modes):
            raise CalibrationMismatch(
                f"the counts are of {counts.photons} photons, the record of {len(record.input_modes)} inputs. "
                "Calibrate more inputs."
            )
        return
    if (program.modes, program.photons) != (counts.modes, counts.photons):
        raise MitigationError(
            f"the program has {program.photons} photons in {program.modes} modes, the counts {counts.photons} in "
            f"{counts.modes}. Give the program that was run."
        )
    if counts.fingerprint and counts.fingerprint != program.fingerprint:
        raise MitigationError(
            f"the counts are of program {counts.fingerprint[:12]}, not of {program.fingerprint[:12]}. "
            "Give the program that was run."
        )
    check_inputs(program.input_modes, record)


def as_resolved(counts: Counts, record: CalibrationRecord) -> Counts:
    """Counts of detectors that count, as of those that the record says there are: readers of files can only guess."""
    if counts.detector == "pnr" and record.detector not in ("pnr", "threshold"):
        return replace(counts, detector=record.detector)
    return counts


def check_inputs(modes: Iterable[int], record: CalibrationRecord) -> None:
    """Check that the record knows every mode that a photon enters.

    :raises CalibrationMismatch: when it does not.
    """
    missing = sorted(set(modes) - set(record.input_modes))
    if missing:
        raise CalibrationMismatch(
            f"a photon enters mode {missing[0]}; record {record.id} knows {list(record.input_modes)}. Calibrate that "
            "input."
        )


def _check_kinds(counts: object, record: object, program: object) -> None:
    if not isinstance(counts, Counts):
        raise MitigationError(f"a {type(counts).__name__} is no counts of one program. Give Counts; merge() makes one.")
    if not isinstance(record, CalibrationRecord):
        raise MitigationError(f"a {type(record).__name__} is no calibration record. Give one, as of calibrate().")
    if program is not None and not isinstance(program, Program):
        raise MitigationError(f"a {type(program).__name__} is no program. Give the Program that was run, or None.")


def need_program(case: Case, method: str) -> Program:
    """The program; raises :class:`MitigationError` when none was given."""
    if case.program is None:
        raise MitigationError(f"{method} models the circuit, which was not given. Give the program that was run.")
    return case.program
