"""Calibration from the command line: which device, which journal, where the record goes; show and compare."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .calibration.drift import compare
from .calibration.measure import Request, Whose, calibrate, package_versions
from .calibration.record import Identity, utc_text, vendor_record
from .calibration.store import CalibrationStore, load_record
from .devices.base import Device, RemoteDevice
from .devices.budget import Budget, rates_of
from .devices.journal import Journal
from .devices.journalled import Terms
from .devices.registry import DeviceAddress, open_device
from .errors import CalibrationError, SubmissionUncertain
from .files import write_atomic
from .report.calibration import comparison_rows, job_rows, record_page, record_rows

Rows = list[tuple[str, str]]


def measure_device(name: str, out: Path, request: Request, *, credits: float | None = None) -> Path:
    """Calibrate and write the record; a calibration that was interrupted goes on where it was.

    Its journal lies beside the records until there is one, so that nothing is paid twice.

    :param credits: most that may be spent, ``None`` for no limit.
    :returns: the record's file.
    :raises BudgetExceeded: before anything is sent, when it would cost more.
    """
    device = open_device(name, seed=request.seed)
    pending = _pending(out, name, request)
    rates = rates_of(device.spec, credits_per_shot=None, seconds_per_setting=None)
    try:
        with Journal(pending) as journal:
            whose, terms = _whose(name, device, request), Terms("calibrate", Budget(credits=credits), rates)
            try:
                record = calibrate(device, request, whose, journal=journal, terms=terms)
            finally:
                if not any(job.durable and job.state.open for job in journal.jobs()):
                    device.close()  # which may end its jobs
    except SubmissionUncertain as error:
        raise SubmissionUncertain(
            f"{error} Both need --run {pending}; then give the same command again.", job_id=error.job_id
        ) from None
    path = CalibrationStore(out).save(record)
    for leftover in pending.parent.glob(f"*{pending.name}*"):
        leftover.unlink()
    return path


def vendor_figures(name: str, out: Path, request: Request) -> Path:
    """Write down what the platform publishes of itself, as a record of origin ``vendor``.

    :raises CalibrationError: when it publishes no usable figures.
    """
    device = open_device(name, seed=request.seed)
    whose, now = _whose(name, device, request), utc_text(datetime.now(UTC))
    device.close()
    record = vendor_record(
        whose.vendor, whose.identity, utc=now, versions=package_versions(), validity_h=request.validity_h
    )
    return CalibrationStore(out).save(record)


def _pending(out: Path, name: str, request: Request) -> Path:
    """Where the journal of these very settings lies; how they are fitted and how long they count change nothing."""
    measured = (name, request.modes, tuple(sorted(request.input_modes)), request.shots, request.seed)
    digest = hashlib.sha256(repr(measured).encode()).hexdigest()[:16]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CalibrationError(f"cannot write to {out} ({error}). Choose another --out.") from error
    return out / f".{digest}.sqlite"


def _whose(name: str, device: Device, request: Request) -> Whose:
    """What the platform says of itself, as far as it says anything."""
    address = DeviceAddress.parse(name)
    remote = device if isinstance(device, RemoteDevice) else None
    identity = Identity(
        device=device.spec.name,
        platform=address.name,
        modes=request.modes,
        input_modes=tuple(sorted(request.input_modes)),
        detector=device.spec.detector,
        architecture_hash=remote.architecture_hash if remote else "",
    )
    simulated = device.spec.simulated or _is_rehearsal(address)
    seed = request.seed if device.spec.seeded else None
    vendor = dict(remote.performance) if remote else {}
    return Whose(identity, "simulated" if simulated else "measured", vendor, seed)


def _is_rehearsal(address: DeviceAddress) -> bool:
    """True for a cloud on this machine."""
    return urlsplit(address.options.get("url", "")).hostname in ("127.0.0.1", "localhost", "::1")


def show_record(path: Path, *, page: Path | None) -> tuple[Rows, dict[str, Any]]:
    """Rows of a record and its JSON; ``page``: also write it as HTML."""
    record = load_record(path)
    if page is not None:
        try:
            write_atomic(page, record_page(record))
        except OSError as error:
            raise CalibrationError(
                f"cannot write {page} ({error.strerror or error}). Choose another --page."
            ) from error
    return [*record_rows(record), *job_rows(record)], {"path": os.fspath(path)} | record.model_dump(mode="json")


def compare_records(before: Path, after: Path) -> tuple[Rows, dict[str, Any]]:
    """What changed between two records, with significance."""
    comparison = compare(load_record(before), load_record(after))
    data = {
        "before": comparison.before,
        "after": comparison.after,
        "changes": [asdict(change) for change in comparison.changes],
        "joint": None if comparison.joint is None else comparison.joint.model_dump(mode="json"),
    }
    return comparison_rows(comparison), data
