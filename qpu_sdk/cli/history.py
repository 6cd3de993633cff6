"""``qpu-sdk calibrate --history``: a device over time."""

from __future__ import annotations

from pathlib import Path

from ..errors import CalibrationError
from ..words import command
from .printing import BAD_INPUT, fail, print_table, tell, tell_json


def write_page(page: Path, text: str) -> None:
    """Write a page of one record or of many.

    :raises CalibrationError: when it cannot be written.
    """
    from ..files import write_atomic

    try:
        write_atomic(page, text)
    except OSError as error:
        raise CalibrationError(f"cannot write {page} ({error.strerror or error}). Choose another --page.") from error


def history_of(device: str | None, folder: Path, *, page: Path | None, details: bool, json_: bool) -> None:
    """Print what changed over all records of a device, and the numbers by date.

    :param device: must be one, or the command ends.
    :param folder: of records.
    :param page: also write it as HTML there.
    :param details: every number.
    :raises CalibrationError: when there is no record, or the page cannot be written.
    """
    from ..calibration.history import HISTORY_HEAD
    from ..calibration.history_page import history_page
    from ..calibration.store import CalibrationStore

    if device is None:
        fail(
            f"no device. Write for example: {command('calibrate', '--history', 'local:slos?noise=ascella')}", BAD_INPUT
        )
    found = CalibrationStore(folder).history(device)
    if page is not None:
        write_page(page, history_page(found))
    if json_:
        tell_json({"folder": str(folder)} | found.data())
        return
    tell(f"{found.verdict}\n")
    print_table([HISTORY_HEAD, *found.rows(details=details)])
    hidden = len(found.numbers) - len(found.shown(details=details))
    if hidden:
        tell(f"{hidden} others did not change; --details shows them.", err=True)
    for line in found.left_out:
        tell(f"left out: {line}", err=True)
