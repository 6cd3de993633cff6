"""A record from counts that are there already: of a training run, of other people's files, of any known programs.

Nothing is measured. All settings are fitted together (:mod:`~qpu_sdk.calibration.refit`), with the vendor's figures as
priors of the width that reality showed (:mod:`~qpu_sdk.calibration.priors`). A filter at the source or detectors that
count are no hindrance: a setting tells by the patterns that it can have, among each other. What the counts cannot
tell stays where the prior has it, and the record says so. What is left between model and counts is the size of the
phase errors (:mod:`~qpu_sdk.calibration.misfit`). How well all of that predicts is tried on settings that were not
fitted, fold by fold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import final

import numpy as np
from pydantic import JsonValue

from ..arrays import FloatArray, real
from ..devices.base import Device
from ..errors import CalibrationError, CalibrationMismatch
from ..photonics.counts import Counts, check_detector, merge
from ..photonics.noise import Noise
from ..photonics.program import Program
from ..seeds import child_seed
from ..versions import package_versions
from .chip_errors import chip_errors
from .counted import Axes, Counted, moved, seen_of
from .goodness import joint_test
from .known import vendor_record
from .natural import record_numbers, untold
from .parts import CalibrationJob, Identity
from .prediction import Prediction, check_predictions, predicted, summary_of, tested
from .priors import OF_NOBODY, OF_VENDORS_FILES, with_some_g2
from .record import CalibrationRecord
from .refit import Refit, refit
from .resolution import likely_detector
from .times import utc_text

#: Cross-validation leaves out every setting once, in so many folds at most.
FOLDS = 5
#: A parameter whose error is above this share of the prior's was not told by the counts.
TOLD = 0.9
#: Where nothing is published a fit begins here: a quantum dot behind a few per cent, and detectors as they are.
START = Noise(indistinguishability=0.9, g2=0.05, transmittance=0.05, dark_counts=1e-7)


@final
@dataclass(frozen=True, eq=False)
class _Settings:
    """Counts of every program once, with the axes that they share.

    :param choose: whether the counts shall tell what their detectors resolve.
    """

    counts: tuple[Counts, ...]
    programs: tuple[Program, ...]
    axes: Axes
    choose: bool

    def seen(self, noise: Noise, which: Sequence[int]) -> list[Counted]:
        """As patterns, beside a device."""
        return [
            seen_of(self.counts[k], self.programs[k], noise, axes=self.axes, seed=child_seed(0, "phases", k))
            for k in which
        ]


def calibrate_from(
    counts: Sequence[Counts],
    programs: Sequence[Program] | None = None,
    *,
    device: Device | str,
    vendor: Mapping[str, JsonValue] | None = None,
    detector: str | None = None,
    taken: datetime | None = None,
    validity_h: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CalibrationRecord:
    """Fit a record to counts of known programs; see the module's docstring.

    :param counts: of two settings or more, of any click classes; all of one kind of detector.
    :param programs: one for each, in order; None when the counts carry theirs.
    :param device: that they are of, or its name.
    :param vendor: figures as the vendor publishes them; those of the device unless given.
    :param detector: kind of the detectors; ``"auto"`` to choose it by likelihood; None as the counts say.
    :param taken: when the counts were taken; now unless given.
    :param validity_h: hours that the record should be used; None for no limit.
    :param progress: told how many fits of all are done.
    :raises CalibrationError: when counts and programs do not belong together, are too few, or no model fits.
    :raises CalibrationMismatch: when they are of several devices or kinds of detectors.

    >>> from qpu_sdk.devices.registry import open_device
    >>> from qpu_sdk.photonics.meshes import RectangularMesh
    >>> device = open_device("local:slos?transmittance=0.2&g2=0.02&indistinguishability=0.9", seed=1)
    >>> programs = [Program.random(RectangularMesh(4), (0, 2), seed=seed) for seed in range(4)]
    >>> counts = device.submit(programs, shots=200_000).result()
    >>> record = calibrate_from(counts, programs, device=device)
    >>> abs(record.indistinguishability.value - 0.9) < 4 * record.indistinguishability.standard_error
    True
    """
    settings = _settings(counts, programs, detector)
    hours = None if validity_h is None else real(validity_h, "validity_h", CalibrationError, above=0.0)
    base, widths = _prior(settings, device, vendor)
    every = range(len(settings.programs))
    folds = [every[k :: min(FOLDS, len(every))] for k in range(min(FOLDS, len(every)))]
    progress(0, len(folds) + 1)
    found = refit(settings.seen(base, every), widths, blind=False)
    predictions: list[Prediction] = []
    for number, fold in enumerate(folds):
        progress(number + 1, len(folds) + 1)
        rest = refit(settings.seen(base, [k for k in every if k not in fold]), widths, blind=False)
        predictions += [_predicted(settings, base, rest, k) for k in fold]
    progress(len(folds) + 1, len(folds) + 1)
    check_predictions(predictions)
    return _record(_Fitted(settings, base, widths, found, predictions), device, taken, hours)


@final
@dataclass(frozen=True, eq=False)
class _Fitted:
    """Everything that a record is written from."""

    settings: _Settings
    base: Noise
    widths: FloatArray
    found: Refit
    predictions: Sequence[Prediction]


def _settings(counts: Sequence[Counts], programs: Sequence[Program] | None, detector: str | None) -> _Settings:
    """Counts and programs that belong together, those of one program merged."""
    counts = [counts] if isinstance(counts, Counts) else list(counts)
    given: list[Program | None] = [c.program for c in counts] if programs is None else list(programs)
    if len(given) != len(counts) or not counts:
        raise CalibrationError(f"{len(counts)} counts and {len(given)} programs. Give one program for each counts.")
    choose = detector == "auto"
    if not choose and detector is not None:
        kind = check_detector(detector, CalibrationError)
        counts = [replace(one, detector=kind) for one in counts]
    merged: dict[str, tuple[Program, list[Counts]]] = {}
    for number, (one, program) in enumerate(zip(counts, given, strict=True)):
        known = _check_setting(number, one, program)
        merged.setdefault(known.fingerprint, (known, []))[1].append(one)
    _check_kinds(counts)
    used = tuple(program for program, _ in merged.values())
    inputs = tuple(sorted({mode for program in used for mode in program.input_modes}))
    axes = Axes(max(program.modes for program in used), inputs)
    found = _Settings(tuple(merge(parts) for _, parts in merged.values()), used, axes, choose)
    _check_enough(found)
    return found


def _check_setting(number: int, one: Counts, program: Program | None) -> Program:
    if not isinstance(one, Counts) or not isinstance(program, Program):
        odd, kind = (one, "counts") if not isinstance(one, Counts) else (program, "a program")
        raise CalibrationError(f"setting {number} has a {type(odd).__name__} where {kind} should be. Give {kind}.")
    if (one.modes, one.photons) != (program.modes, program.photons):
        raise CalibrationError(
            f"the counts of setting {number} are of {one.photons} photons in {one.modes} modes, the program of "
            f"{program.photons} in {program.modes}. Give the program that was run."
        )
    if one.fingerprint and one.fingerprint != program.fingerprint:
        raise CalibrationError(
            f"the counts of setting {number} are of program {one.fingerprint[:12]}, not of "
            f"{program.fingerprint[:12]}. Give the programs in the order of the counts."
        )
    total = one.outcomes.sum(axis=1, dtype=np.int64)
    if not one.numbers[(total >= 1) & (total <= one.photons)].any():
        raise CalibrationError(
            f"the counts of setting {number} hold no shot of 1 to {one.photons} clicks. Leave the setting out."
        )
    return program


def _check_kinds(counts: Sequence[Counts]) -> None:
    for kind, values in (
        ("kinds of detectors", {c.detector for c in counts}),
        ("devices", {c.device for c in counts if c.device}),
    ):
        if len(values) > 1:
            raise CalibrationMismatch(
                f"the counts are of {len(values)} {kind}: {', '.join(sorted(values))}. Calibrate each by itself."
            )


def _check_enough(settings: _Settings) -> None:
    """One setting cannot tell what a detector does from what a phase does."""
    if len(settings.programs) > 1:
        return
    [one] = settings.seen(START, [0])
    bears = "indistinguishability and g2"
    bears += "" if one.filtered else " and the transmission"
    raise CalibrationError(
        f"1 setting for {settings.axes.modes} efficiencies and {len(settings.axes.inputs)} inputs: it bears {bears} "
        "alone, and an error of its own phases would pass for any of them. Give the counts of 2 settings or more."
    )


def _prior(
    settings: _Settings, device: Device | str, vendor: Mapping[str, JsonValue] | None
) -> tuple[Noise, FloatArray]:
    """Where the fit begins, and how far from there it may go."""
    published = dict(vendor or {}) or ({} if isinstance(device, str) else dict(device.spec.published))
    if not published:
        return START, OF_NOBODY.vector(settings.axes)
    noise = vendor_record(published, _identity(settings, device), utc=utc_text(datetime.now(UTC))).noise()
    return replace(with_some_g2(noise), dark_counts=START.dark_counts), OF_VENDORS_FILES.vector(settings.axes)


def _identity(settings: _Settings, device: Device | str) -> Identity:
    spec = None if isinstance(device, str) else device.spec
    name = str(device) if spec is None else spec.name
    return Identity(
        device=name,
        platform=name if spec is None else spec.platform,
        modes=settings.axes.modes,
        input_modes=settings.axes.inputs,
        detector=settings.counts[0].detector,
        architecture_hash="" if spec is None else spec.architecture_hash,
    )


def _predicted(settings: _Settings, base: Noise, rest: Refit, which: int) -> Prediction:
    """One setting as the others predict it."""
    [seen] = settings.seen(base, [which])
    return predicted(seen, rest)


def _record(
    fitted: _Fitted, device: Device | str, taken: datetime | None, validity_h: float | None
) -> CalibrationRecord:
    """The record of a fit."""
    settings, found, left = fitted.settings, fitted.found, fitted.found.misfit
    spec = None if isinstance(device, str) else device.spec
    simulated = str(device).startswith("local:") if spec is None else spec.simulated or spec.rehearsal
    seen = settings.seen(fitted.base, range(len(settings.counts)))
    tests = [tested(one, drawn, left.scale) for one, drawn in zip(seen, left.programs, strict=True)]
    chip = chip_errors(seen, found.x, left)
    identity, resolved = _identity(settings, device), ""
    if settings.choose:
        noise = moved(fitted.base, settings.axes, found.x)
        kind, resolved = likely_detector(settings.counts, settings.programs, noise)
        identity = replace(identity, detector=kind)
    notes = ["Fitted to counts that were there already.", untold(settings.axes, found, fitted.widths, share=TOLD)]
    notes += [
        chip.note,
        resolved,
        "" if taken else "Its times are those of the fit: counts do not say when they were.",
    ]
    now = utc_text(datetime.now(UTC) if taken is None else taken)
    return CalibrationRecord(
        **vars(identity),
        origin="simulated" if simulated else "measured",
        **record_numbers(fitted.base, settings.axes, found),
        phase_error=chip.phase,
        angle_error=chip.angle,
        jobs=tuple(
            CalibrationJob.of(f"setting {k}", "fit", settings.counts[k], settings.programs[k], test)
            for k, test in enumerate(tests)
        ),
        fit=joint_test(tests, less=int((fitted.widths > 0.0).sum()) + 1),
        validation=joint_test([prediction.test for prediction in fitted.predictions]),
        prediction=summary_of(fitted.predictions),
        utc_start=now,
        utc_end=now,
        mitigations_requested="none",
        mitigations_returned="none reported",
        vendor={} if spec is None else dict(spec.published),
        versions=package_versions(),
        validity_h=validity_h,
        notes=" ".join(note for note in notes if note),
    )
