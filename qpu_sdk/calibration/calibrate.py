"""Calibrate a device: which journal, whose record, where it goes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ..arrays import real, whole
from ..devices.base import Device, DeviceSpec
from ..devices.budget import Budget, with_credits_option
from ..devices.journal import Journal
from ..devices.pending import pending_journal
from ..devices.registry import open_device
from ..devices.sending import Terms
from ..errors import BudgetExceeded, CalibrationError, ProgramError
from ..files import user_path
from ..photonics.inputs import Inputs, modes_of_inputs
from ..photonics.interferometer import MOST_MODES
from ..versions import package_versions
from .known import vendor_record
from .measure import CalibrationRequest, Whose, measure
from .parts import Identity, Origin
from .record import CalibrationRecord
from .store import CalibrationStore
from .times import utc_text


def calibrate(
    device: Device,
    *,
    modes: int,
    inputs: Inputs,
    shots: int,
    seed: int,
    pairs: bool = False,
    validity_h: float = 24.0,
    credits: float | None = None,
    store: str | Path | None = None,
) -> CalibrationRecord:
    """Measure the noise of a device in about ten circuit settings, one job, and fit the click model to all of them.

    :param modes: modes M of the largest program that the record is for.
    :param inputs: where photons will enter, as of :class:`~qpu_sdk.photonics.program.Program`: modes ``(0, 2)``, or a
        Fock state.
    :param shots: of each setting.
    :param seed: of the random circuits that are kept for validation.
    :param pairs: True for an indistinguishability of every pair of inputs, False for one of all.
    :param validity_h: hours that the record should be used.
    :param credits: most that may be spent, None for no limit.
    :param store: folder of records: the record is saved there, and until then its journal lies there, so that an
        interrupted calibration goes on without paying twice. None: nothing is kept.
    :raises BudgetExceeded: before anything is sent, when it would cost more than ``credits``.
    :raises CalibrationError: when the counts do not suffice, or cannot be raw, or a number is no whole one.
    :raises ProgramError: when the device is too small for the plan.

    >>> from qpu_sdk.devices.registry import open_device
    >>> device = open_device("local:slos?noise=transmittance:0.3,g2:0.02", seed=1)
    >>> record = calibrate(device, modes=4, inputs=(0, 2), shots=100_000, seed=0)
    >>> abs(record.g2.value - 0.02) < 4 * record.g2.standard_error
    True
    """
    if not isinstance(getattr(device, "spec", None), DeviceSpec):
        raise CalibrationError(f"{device!r:.60} is no device. Open one first: open_device('local:slos', seed=1).")
    size = whole(modes, "modes", CalibrationError, least=2, most=MOST_MODES)
    credits = None if credits is None else real(credits, "credits", CalibrationError, least=0.0)
    try:
        given = modes_of_inputs(inputs, size)
    except ProgramError as error:
        raise CalibrationError(str(error)) from None
    request = CalibrationRequest(size, given, shots, seed, pairs, validity_h)
    if store is not None:
        return _kept(device, request, user_path(store, "store"), credits=credits, owned=False)[0]
    with Journal(None) as journal:  # in memory: nothing is kept, but budget and jobs go the same way
        return _measured(device, request, journal, credits)


def measure_device(name: str, out: Path, request: CalibrationRequest, *, credits: float | None = None) -> Path:
    """:func:`calibrate` for a device by its name; gives the record's file.

    :param credits: most that may be spent, ``None`` for no limit.
    :raises BudgetExceeded: before anything is sent, when it would cost more.
    :raises CalibrationError: when a recording is of something else.
    :raises DataError: when the folder cannot be made.
    """
    try:
        return _kept(open_device(name, seed=request.seed), request, out, credits=credits, owned=True)[1]
    except ProgramError as error:
        if not name.startswith("replay:"):
            raise
        raise CalibrationError(
            f"{name} holds no recording of this calibration ({error}) Name one, and the modes, inputs, shots and seed "
            "that it was made with."
        ) from None


def _kept(
    device: Device, request: CalibrationRequest, out: Path, *, credits: float | None, owned: bool
) -> tuple[CalibrationRecord, Path]:
    """The record and its file; ``owned``: whether the device was opened for this alone."""
    # How the counts are fitted and how long the record counts change nothing of what is measured.
    # What the device is like counts too: one name may stand for another machine by tomorrow.
    spec = device.spec
    wanted = (request.modes, tuple(sorted(request.input_modes)), request.shots, request.seed)
    asked = (spec.name, *wanted, spec.noise, spec.detector, spec.architecture_hash)
    with pending_journal(device if owned else None, out, "calibration", asked) as journal:
        record = _measured(device, request, journal, credits)
        return record, CalibrationStore(out).save(record)


def _measured(
    device: Device, request: CalibrationRequest, journal: Journal, credits: float | None
) -> CalibrationRecord:
    try:
        return measure(device, request, _whose(device, request), journal=journal, terms=_terms(device, credits))
    except BudgetExceeded as error:
        raise with_credits_option(error, "--credits ") from None


def _terms(device: Device, credits: float | None) -> Terms:
    return Terms("calibrate", Budget(credits=credits), device.spec.rates)


def vendor_figures(name: str, out: Path, request: CalibrationRequest) -> Path:
    """Write down what the platform publishes of itself, as a record of origin ``vendor``.

    :raises CalibrationError: when it publishes no usable figures.
    """
    device = open_device(name, seed=request.seed)
    if device.spec.simulated and not device.spec.published:
        raise CalibrationError(f"{name} is a simulator, of which no vendor publishes anything. Leave out --vendor.")
    whose, now = _whose(device, request), utc_text(datetime.now(UTC))
    device.close()  # nothing is run: what a platform publishes is in its spec
    record = vendor_record(
        whose.vendor, whose.identity, utc=now, versions=package_versions(), validity_h=request.validity_h
    )
    return CalibrationStore(out).save(record)


def _whose(device: Device, request: CalibrationRequest) -> Whose:
    """What the platform says of itself, as far as it says anything."""
    spec = device.spec
    identity = Identity(
        device=spec.name,
        platform=spec.platform,
        modes=request.modes,
        input_modes=tuple(sorted(request.input_modes)),
        detector=spec.detector,
        architecture_hash=spec.architecture_hash,
    )
    origin: Origin = "simulated" if spec.simulated or spec.rehearsal else "measured"
    return Whose(identity, origin, dict(spec.published), request.seed if spec.seeded else None)
