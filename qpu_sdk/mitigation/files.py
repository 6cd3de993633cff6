"""Mitigation of files: counts, a record and a program in, distributions out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ..calibration.store import load_record
from ..devices.counts_files import load_counts
from ..devices.program_files import load_programs
from ..errors import CalibrationMismatch, ConfigError, DataError, MitigationError
from ..files import write_atomic
from ..rendering.text import Rows
from .case import check_inputs
from .distribution import Distribution
from .methods import check_method
from .mitigate import mitigate
from .page import distribution_data, distribution_page, distribution_rows, title

SCHEMA_VERSION = 1


@final
@dataclass(frozen=True)
class MitigationRequest:
    """What to mitigate, and with what.

    :param counts: file of counts in any form that :func:`~qpu_sdk.devices.counts_files.load_counts` reads, or a run.
    :param record: file of a calibration record.
    :param method: as :func:`~qpu_sdk.mitigation.mitigate.mitigate` takes it.
    :param program: file of the programs that were run, one for all or one for each counts in order, as
        :func:`~qpu_sdk.devices.program_files.load_programs` reads it; counts may carry theirs instead.
    :param input_modes: where photons entered; counts of Perceval do not say how many did.
    :param photons: the same without the modes.
    :param total: shots that frequencies are of.
    """

    counts: Path
    record: Path
    method: str = "auto"
    program: Path | None = None
    input_modes: tuple[int, ...] | None = None
    photons: int | None = None
    seed: int = 0
    total: int | None = None


def mitigate_file(request: MitigationRequest) -> list[Distribution]:
    """The distribution of every counts in the file.

    :raises DataError: when a file is not what it should be.
    :raises CalibrationError: when the record is missing or of something else.
    :raises MitigationError: when the counts have no event, are of another program, or not what the method needs.
    :raises CalibrationMismatch: when the record is of another device, of fewer modes, other inputs or detectors.
    """
    check_method(request.method)
    record = load_record(request.record)
    programs = None if request.program is None else load_programs(request.program, inputs=request.input_modes)
    photons = _photons(request)
    if request.input_modes is not None:
        check_inputs(request.input_modes, record)
    counts = load_counts(
        request.counts, programs=programs, photons=photons, detector=record.detector, total=request.total
    )
    found = []
    for number, one in enumerate(counts, start=1):
        where = f"{request.counts}, counts {number}"
        if photons is not None and one.photons != photons:
            option = "--photons" if request.input_modes is None else "--inputs"
            raise DataError(f"{where}: they are of {one.photons} photons, {photons} are asked for. Leave out {option}.")
        try:
            found.append(mitigate(one, record, method=request.method, seed=request.seed))
        except MitigationError as error:
            raise MitigationError(f"{where}: {error}") from error
        except CalibrationMismatch as error:
            raise CalibrationMismatch(f"{where}: {error}") from error
    return found


def _photons(request: MitigationRequest) -> int | None:
    """How many photons the caller says were sent, None for no word about it."""
    inputs = request.input_modes
    if inputs is None:
        return request.photons
    if len(set(inputs)) < len(inputs) or (request.photons is not None and request.photons != len(inputs)):
        raise ConfigError(f"inputs {list(inputs)} are not {request.photons or 'distinct'} modes. Name each mode once.")
    return len(inputs)


def rows_of(found: list[Distribution]) -> Rows:
    """Rows of all distributions, with a heading each where there are several."""
    rows: Rows = []
    for index, one in enumerate(found):
        rows += [(title(one, index, len(found)), "")] if len(found) > 1 else []
        rows += distribution_rows(one)
    return rows


def data_of(request: MitigationRequest, found: list[Distribution]) -> dict[str, Any]:
    """Everything as JSON; what is not finite, as effective samples of a certain outcome, is None."""
    return {
        "schema_version": SCHEMA_VERSION,
        "counts": str(request.counts),
        "record": str(request.record),
        "seed": request.seed,
        "distributions": [distribution_data(one) for one in found],
    }


def write_results(
    request: MitigationRequest, found: list[Distribution], *, out: Path | None, page: Path | None
) -> Iterable[Path]:
    """Write the JSON and the page, where they are wanted; gives the files.

    :raises DataError: when one cannot be written.
    """
    texts: list[tuple[Path, str]] = []
    if out is not None:
        texts.append((out, json.dumps(data_of(request, found), allow_nan=False) + "\n"))  # NaN is no JSON
    if page is not None:
        texts.append((page, distribution_page(f"Mitigation of {request.counts.name}", found)))
    for path, text in texts:
        try:
            write_atomic(path, text)
        except OSError as error:
            raise DataError(f"cannot write {path} ({error.strerror or error}). Choose another place.") from error
    return [path for path, _ in texts]
