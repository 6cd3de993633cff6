"""A folder of calibration records, one file a measurement, to which files are only ever added.

``<folder>/<device>/<UTC end time>.json``: the device as configurations name it with odd characters replaced, the time
as 20260301T120000Z. A file appears whole or not at all and is never written over, even by two processes at once.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import final

from ..arrays import real, whole
from ..errors import CalibrationError, CalibrationMismatch, CalibrationNotFound, CalibrationStale
from ..files import regular, sync_folder, take_name, user_path, write_atomic
from ..photonics.counts import Detector
from ..words import command
from .history import CalibrationHistory
from .record import CalibrationRecord

#: Longest name of a device's folder; the rest of a longer one becomes a hash.
#: File systems stop at 255 bytes.
LONGEST_NAME = 100
#: Hours that clocks of two machines may differ by.
CLOCK_SKEW_H = 0.1


@final
@dataclass(frozen=True)
class Listing:
    """What a store holds of a device.

    :param records: oldest first.
    :param damaged: one line for every file that is not a record of the device.
    """

    records: tuple[CalibrationRecord, ...]
    damaged: tuple[str, ...]


@final
class CalibrationStore:
    """Records under ``folder``, which is made by the first :meth:`save`."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = user_path(folder, "the folder of records")

    def save(self, record: CalibrationRecord) -> Path:
        """Write the record beside the others; one of the same second gets a suffix.

        :returns: the new file.
        :raises CalibrationError: when the folder cannot be written.
        """
        folder = self.folder / folder_name(record.device)
        stem = record.ended.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        hidden = folder / f".{stem}.{os.getpid()}.{threading.get_ident()}"  # of one writer alone, and never listed
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                write_atomic(hidden, record.to_json())
                return _publish(hidden, folder, stem)
            finally:
                hidden.unlink(missing_ok=True)
        except OSError as error:
            raise CalibrationError(
                f"cannot write a record of {record.device} to {folder} ({error.strerror or error}). "
                "Choose another folder."
            ) from error

    def latest(
        self,
        device: str,
        *,
        max_age_h: float | None = None,
        modes: int | None = None,
        detector: Detector | None = None,
        now: datetime | None = None,
    ) -> CalibrationRecord:
        """The newest record that serves programs of so many modes with such detectors.

        :param max_age_h: oldest allowed, hours; None for the record's own ``validity_h``.
        :param modes: modes that programs use; a record of more modes serves as well.
        :param now: None for the clock.
        :raises CalibrationNotFound: when there is no record of the device.
        :raises CalibrationMismatch: when all are of fewer modes or of another detector.
        :raises CalibrationStale: when the newest that fits is too old.
        :raises CalibrationError: when a file that may be newer is damaged, or the record is from the future.
        """
        modes = None if modes is None else whole(modes, "modes", CalibrationError, least=1)
        records, damaged = self._read(device)
        fitting = [(record, path) for record, path in records if _fits(record, modes, detector)]
        newest = fitting[-1] if fitting else records[-1] if records else None
        for path, line in damaged:
            if newest is None or path.name[:16] >= newest[1].name[:16]:  # its name is all that tells its time
                raise CalibrationError(f"{line} It may be the newest record of {device}. Move it away or restore it.")
        if newest is None:
            raise self._not_found(device)
        if not fitting:
            raise _mismatch(newest[0], modes, detector)
        check_age(newest[0], max_age_h, datetime.now(UTC) if now is None else now)
        return newest[0]

    def all(self, device: str) -> Listing:
        """Every record of a device, and what is damaged among its files."""
        records, damaged = self._read(device)
        return Listing(tuple(record for record, _ in records), tuple(line for _, line in damaged))

    def history(self, device: str) -> CalibrationHistory:
        """The records of a device over time, and what changed.

        :raises CalibrationNotFound: when there is no record of it.

        >>> from qpu_sdk.calibration.known import known_record
        >>> from qpu_sdk.calibration.parts import Identity
        >>> from qpu_sdk.photonics.noise import Noise
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     store = CalibrationStore(folder)
        ...     _ = store.save(known_record(Noise(g2=0.1), Identity("d", "p", 2, (0, 1), "threshold")))
        ...     store.history("d")
        CalibrationHistory('d', 1 record)
        """
        found = self.all(device)
        if not found.records:
            why = f" ({found.damaged[0]})" if found.damaged else ""
            raise self._not_found(device, why)
        return CalibrationHistory.of(device, found.records, found.damaged)

    def _not_found(self, device: str, why: str = "") -> CalibrationNotFound:
        return CalibrationNotFound(
            f"no calibration record of {device} in {self.folder}{why}. Make one with: "
            f"{command('calibrate', device, '--out', self.folder)}"
        )

    def _read(self, device: str) -> tuple[list[tuple[CalibrationRecord, Path]], list[tuple[Path, str]]]:
        """Records with their files, oldest first, and files that are none with what is wrong."""
        folder = self.folder / folder_name(device)
        records: list[tuple[CalibrationRecord, Path]] = []
        damaged: list[tuple[Path, str]] = []
        for path in sorted(p for p in folder.glob("*.json") if not p.name.startswith(".")):
            try:
                record = load_record(path)
            except CalibrationError as error:
                damaged.append((path, str(error)))
                continue
            if record.device == device:
                records.append((record, path))
            elif folder_name(record.device) != folder.name:  # two names may share a folder; then it is just another's
                damaged.append((path, f"{path} is a record of {record.device}, in the folder of {device}."))
        # By number: as text, -10 would come before -2.
        return sorted(records, key=lambda pair: (pair[0].ended, _number(pair[1]))), damaged


def load_record(path: str | Path) -> CalibrationRecord:
    """Read one record.

    :raises CalibrationNotFound: when there is no such file.
    :raises CalibrationError: when it cannot be read or is not a record.
    :raises ConfigError: when ``path`` is no path.
    """
    path = user_path(path, "the path of a record")
    try:
        return CalibrationRecord.from_json(regular(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise CalibrationNotFound(f"there is no file {path}. Name a calibration record.") from error
    except (OSError, ValueError) as error:
        raise CalibrationError(f"{path} cannot be read ({error}). Name a calibration record.") from error
    except CalibrationError as error:
        raise CalibrationError(f"{path} is {error}") from error


def folder_name(device: str) -> str:
    """The device's folder: letters, digits and ``._-`` stay, and it is never hidden or above.

    >>> folder_name("quandela:sim:belenos"), folder_name("local:slos?noise=belenos"), folder_name("..")
    ('quandela-sim-belenos', 'local-slos-noise-belenos', '-.')
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "-", device)
    name = re.sub(r"^\.|^$", "-", name)
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 17]}-{hashlib.sha256(device.encode()).hexdigest()[:16]}"  # a dash and 16 digits


def _publish(hidden: Path, folder: Path, stem: str) -> Path:
    """Give the file its name, which fails where the name is taken; then the next suffix."""
    for number in itertools.count(1):
        path = folder / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")
        try:
            take_name(hidden, path)
        except FileExistsError:
            continue
        sync_folder(folder)
        return path
    raise AssertionError


def _number(path: Path) -> int:
    """2 of ``...Z-2.json``, 1 where there is no suffix."""
    suffix = re.search(r"-([0-9]+)$", path.stem)
    return int(suffix[1]) if suffix else 1


def _fits(record: CalibrationRecord, modes: int | None, detector: Detector | None) -> bool:
    return (modes is None or record.modes >= modes) and (detector is None or record.detector == detector)


def _mismatch(record: CalibrationRecord, modes: int | None, detector: Detector | None) -> CalibrationMismatch:
    wanted = [f"{modes} modes"] if modes is not None else []
    wanted += [f"{detector} detectors"] if detector is not None else []
    return CalibrationMismatch(
        f"the newest record of {record.device} ({record.utc_end}) is of {record.modes} modes with {record.detector} "
        f"detectors; {' with '.join(wanted)} are asked for. Calibrate that, or use programs that fit the record."
    )


def check_age(record: CalibrationRecord, max_age_h: float | None, now: datetime) -> None:
    """Raise :class:`CalibrationStale` when a record is too old, and when it is from the future.

    :param max_age_h: hours, None for the record's own ``validity_h``.
    :raises CalibrationError: when the record is of the future.
    """
    if max_age_h is not None and not (isinstance(max_age_h, float) and max_age_h == math.inf):  # which is any age
        max_age_h = real(max_age_h, "max_age_h", CalibrationError, least=0.0)
    age, limit = record.age_h(now), record.validity_h if max_age_h is None else max_age_h
    if age < -CLOCK_SKEW_H:
        raise CalibrationError(
            f"the newest record of {record.device} ends {record.utc_end}, {-age:.3g} h from now. Set the clock, or "
            "move the record away."
        )
    if limit is not None and age > limit:
        raise CalibrationStale(
            f"the newest record of {record.device} ({record.utc_end}) is {age:.6g} h old; {limit:g} h are allowed. "
            "Calibrate again, or allow more with max_age_h."
        )
