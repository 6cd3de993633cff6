"""Which calibration record serves which device, and how counts become distributions with it.

Which record serves which device is decided once, when a run or a layer begins, and the records are kept in its folder:
what goes on later uses the same ones, whatever was measured meanwhile.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from ..calibration.known import known_record
from ..calibration.parts import Identity
from ..calibration.record import CalibrationRecord
from ..calibration.store import CalibrationStore, check_age, folder_name, load_record
from ..devices.base import DeviceSpec
from ..errors import CalibrationError, CalibrationMismatch, CalibrationNotFound, CheckpointError, ConfigError
from ..files import regular, write_atomic
from ..words import command
from .estimator import Mitigation

log = logging.getLogger(__name__)
INDEX, SCHEMA_VERSION = "index.json", 1


@final
@dataclass(frozen=True)
class Wanted:
    """What a configuration says of mitigation.

    :param method: ``auto``, or a name of :data:`qpu_sdk.mitigation.methods.METHODS`.
    :param record: a record's file, or a folder of records; None: what simulators say of themselves.
    :param max_age_h: of a record that a device has which drifts; None for what the record says itself.
    :param seed: of what mitigation draws.
    """

    method: str
    record: str | None
    max_age_h: float | None
    seed: int


def records_for(users: Sequence[User], wanted: Wanted) -> Mitigation:
    """Find the record of every device; nothing is measured.

    :raises CalibrationNotFound: when a method is named and a device has no record.
    :raises CalibrationMismatch: when a record is of another device, of fewer modes, other inputs or detectors.
    :raises CalibrationStale: when the record of a device that is no local simulator is too old.
    """
    named = wanted.record
    file = load_record(named) if named is not None and not Path(named).is_dir() else None
    records: dict[str, CalibrationRecord] = {}
    notes: dict[str, str] = {}
    for user in users if wanted.method != "post-select" else ():  # which knows nothing of the device
        try:
            record = _record_of(user, users, file, wanted)
        except CalibrationNotFound as error:
            if wanted.method != "auto":
                raise
            notes[user.name] = f"{error} Until then its counts are post-selected."
            log.info("%s", notes[user.name])
            continue
        if record is not None:
            records[user.name] = record
    return Mitigation(records, wanted.method, wanted.seed, notes)


@final
@dataclass(frozen=True, eq=False)
class User:
    """A device and what is needed of a record of it.

    :param name: device string.
    :param modes: of the largest circuit.
    :param input_modes: of all circuits.
    """

    name: str
    spec: DeviceSpec
    modes: int
    input_modes: tuple[int, ...]

    @property
    def called(self) -> str:
        """What messages call it."""
        return self.spec.record_names[0]

    @property
    def noiseless(self) -> bool:
        """True for a simulator of nothing but uniform loss, where post-selection is right."""
        return self.spec.noise is not None and self.spec.noise.only_loss

    def check(self, record: CalibrationRecord) -> None:
        """Raise :class:`CalibrationMismatch` when the record does not serve the programs."""
        if record.device not in self.spec.record_names:
            raise CalibrationMismatch(
                f"the record is of {record.device}, the device is {self.called}. Name a record of it, or a folder "
                "of records."
            )
        missing = sorted(set(self.input_modes) - set(record.input_modes))
        for wrong, what, known in (
            (self.modes > record.modes, f"{self.modes} modes", f"{record.modes} modes"),
            (bool(missing), f"photons in modes {missing}", f"sources at {list(record.input_modes)}"),
            (self.spec.detector != record.detector, f"{self.spec.detector} detectors", f"{record.detector} detectors"),
        ):
            if wrong:
                raise CalibrationMismatch(
                    f"the run has {what} on {self.called}; record {record.id} has {known}. Calibrate what it "
                    "needs, or use other circuits."
                )


def _record_of(
    user: User, users: Sequence[User], file: CalibrationRecord | None, wanted: Wanted
) -> CalibrationRecord | None:
    """The record of a device; None where post-selection is right.

    :param file: the one record that was named.
    :raises CalibrationNotFound: when there should be one and is none.
    """
    found = file
    if file is None and wanted.record is not None:
        found = _from_store(CalibrationStore(wanted.record), user, wanted)
    elif file is not None and user.noiseless and file.device not in user.spec.record_names:
        found = None if any(file.device in other.spec.record_names for other in users) else file
    if found is None:
        return _own(user, wanted)
    user.check(found)
    check_age(found, _oldest(user, wanted), datetime.now(UTC))
    return found


def _oldest(user: User, wanted: Wanted) -> float | None:
    """Hours; None for what the record says itself."""
    return wanted.max_age_h if user.spec.drifts else math.inf


def _from_store(store: CalibrationStore, user: User, wanted: Wanted) -> CalibrationRecord | None:
    for name in user.spec.record_names:
        try:
            return store.latest(name, max_age_h=_oldest(user, wanted), modes=user.modes, detector=user.spec.detector)
        except CalibrationNotFound:
            continue
    return None


def _own(user: User, wanted: Wanted) -> CalibrationRecord | None:
    """What a simulator says of its own noise."""
    name, spec = user.called, user.spec
    if spec.noise is None:
        raise CalibrationNotFound(
            f"no calibration record of {name}; make one with: {_calibration_of(user)}, and begin with its folder: "
            "mitigation.record of a run, record= of a layer."
        )
    if user.noiseless and wanted.method == "auto":
        return None
    if spec.record_file:
        recorded = load_record(spec.record_file)
        user.check(recorded)
        return recorded
    identity = Identity(name, spec.platform, user.modes, user.input_modes, spec.detector)
    try:
        return known_record(spec.noise, identity)
    except (CalibrationError, ConfigError) as error:
        raise CalibrationNotFound(f"no calibration record of {name} can be made of its noise: {error}") from error


def _calibration_of(user: User) -> str:
    """The command that measures what this run needs."""
    inputs = ",".join(map(str, user.input_modes))
    return command("calibrate", user.called, "--modes", user.modes, "--inputs", inputs)


def save_records(folder: Path, mitigation: Mitigation) -> None:
    """Write the records, and which device each is of; nothing where there is nothing to say."""
    if not mitigation.records and not mitigation.notes:
        return
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, dict[str, str]] = {name: {"note": note} for name, note in mitigation.notes.items()}
    for name, record in mitigation.records.items():
        file = f"{folder_name(name)}.json"
        if any(entry.get("file") == file for entry in index.values()):  # odd characters of two names become one dash
            file = f"{folder_name(name)}-{record.id}.json"
        write_atomic(folder / file, record.to_json())
        index[name] = {"file": file, "id": record.id}
    write_atomic(folder / INDEX, json.dumps({"schema_version": SCHEMA_VERSION, "devices": index}, indent=1) + "\n")


def read_records(folder: Path, wanted: Wanted, devices: Sequence[str]) -> Mitigation:
    """What :func:`save_records` wrote; a folder that is not there holds nothing.

    :param devices: all that may be named.
    :raises CheckpointError: when something is missing or was changed.
    """
    if not folder.exists():
        return Mitigation({}, wanted.method, wanted.seed, {})
    try:
        index: Any = json.loads(regular(folder / INDEX).read_text(encoding="utf-8"))
        if index["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {index['schema_version']}, this SDK reads {SCHEMA_VERSION}")
        entries = {str(name): dict(entry) for name, entry in index["devices"].items()}
        records = {name: load_record(folder / entry["file"]) for name, entry in entries.items() if "file" in entry}
        if not set(entries) <= set(devices):
            raise ValueError("it names devices that the configuration does not")
        for name, record in records.items():
            if record.id != entries[name]["id"]:  # the id is a hash of the content
                raise ValueError(f"{entries[name]['file']} was changed")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, CalibrationError) as error:
        raise CheckpointError(
            f"{folder / INDEX} and its records are damaged ({type(error).__name__}: {error}). Restore them: what "
            "they are of began with them."
        ) from error
    notes = {name: str(entry["note"]) for name, entry in entries.items() if "note" in entry}
    return Mitigation(records, wanted.method, wanted.seed, notes)
