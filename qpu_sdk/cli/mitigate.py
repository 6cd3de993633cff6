"""Mitigation from the command line: files of counts, a record and a program in, distributions out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, final

import typer

from ..errors import CalibrationMismatch, ConfigError, DataError, MitigationError
from .printing import BAD_INPUT, Json, Rows, console, fail, one_line_errors, parse_modes, print_or_json

if TYPE_CHECKING:
    from ..calibration.record import CalibrationRecord
    from ..mitigation.distribution import Distribution
    from ..photonics.program import Program


def mitigate_command(
    counts: Annotated[Path, typer.Argument(help="Counts as devices write them, one JSON a line, or Perceval's text.")],
    record: Annotated[Path | None, typer.Option(help="A calibration record of the device.")] = None,
    method: Annotated[
        str, typer.Option(help="auto, or post-select, response, subtract, unfold, unfold-fuse, fuse, recycle.")
    ] = "auto",
    program: Annotated[Path | None, typer.Option(help="The program that was run, as JSON.")] = None,
    inputs: Annotated[str | None, typer.Option(help="Modes that photons entered, such as 0,2,5,8.")] = None,
    photons: Annotated[int | None, typer.Option(help="Photons that were sent, for counts that do not say.")] = None,
    seed: Annotated[int, typer.Option(help="Of held-out and resampled counts.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Also write everything as JSON.")] = None,
    page: Annotated[Path | None, typer.Option(help="Also write a page, with a figure.")] = None,
    json_: Json = False,
) -> None:
    """Turn counts into a distribution with error bars, with what a calibration record says of the device."""
    with one_line_errors():
        if record is None:
            fail("no record. Make one with qpu-sdk calibrate DEVICE, then: --record FILE", BAD_INPUT)
        modes = None if inputs is None else parse_modes(inputs)
        request = MitigationRequest(counts, record, method, program, modes, photons, seed)
        found = mitigate_file(request)
        for path in write_results(request, found, out=out, page=page):
            console().print(f"written: {path}", highlight=False, soft_wrap=True)
        print_or_json(rows_of(found), data_of(request, found), json_)


SCHEMA_VERSION = 1


@final
@dataclass(frozen=True)
class MitigationRequest:
    """What to mitigate, and with what.

    :param counts: file of one :class:`Counts` a line, or of Perceval's text of a ``BSCount``.
    :param record: file of a calibration record.
    :param method: as :func:`~qpu_sdk.mitigation.mitigate.mitigate` takes it.
    :param program: file of :meth:`Program.to_json`; methods that model the circuit need it.
    :param input_modes: where photons entered; counts of Perceval do not say how many did.
    :param photons: the same without the modes.
    """

    counts: Path
    record: Path
    method: str = "auto"
    program: Path | None = None
    input_modes: tuple[int, ...] | None = None
    photons: int | None = None
    seed: int = 0


def mitigate_file(request: MitigationRequest) -> list[Distribution]:
    """The distribution of every counts in the file.

    :raises DataError: when a file is not what it should be.
    :raises CalibrationError: when the record is missing or of something else.
    :raises MitigationError: when the counts have no event, are of another program, or not what the method needs.
    :raises CalibrationMismatch: when the record is of another device, of fewer modes, other inputs or detectors.
    """
    from ..calibration.store import load_record
    from ..devices.counts_files import read_counts
    from ..mitigation.methods import check_method
    from ..mitigation.mitigate import mitigate

    check_method(request.method)
    record = load_record(request.record)
    program = None if request.program is None else _program(request.program)
    photons = _photons(request, program)
    _check_inputs(request, record, program)
    found = []
    for number, counts in enumerate(read_counts(request.counts, photons=photons, detector=record.detector), start=1):
        where = f"{request.counts}, counts {number}"
        if photons is not None and counts.photons != photons:
            raise DataError(f"{where}: they are of {counts.photons} photons, {photons} are asked for. Leave that out.")
        try:
            found.append(mitigate(counts, record, program=program, method=request.method, seed=request.seed))
        except MitigationError as error:
            raise MitigationError(f"{where}: {error}") from error
        except CalibrationMismatch as error:
            raise CalibrationMismatch(f"{where}: {error}") from error
    return found


def _program(path: Path) -> Program:
    from ..devices.counts_files import text_of
    from ..photonics.program import Program

    try:
        return Program.from_json(text_of(path))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _photons(request: MitigationRequest, program: Program | None) -> int | None:
    """How many photons the caller says were sent, None for no word about it."""
    inputs = (
        request.input_modes if request.input_modes is not None else None if program is None else program.input_modes
    )
    if inputs is None:
        return request.photons
    if len(set(inputs)) < len(inputs) or (request.photons is not None and request.photons != len(inputs)):
        raise ConfigError(f"inputs {list(inputs)} are not {request.photons or 'distinct'} modes. Name each mode once.")
    return len(inputs)


def _check_inputs(request: MitigationRequest, record: CalibrationRecord, program: Program | None) -> None:
    if request.input_modes is None:
        return
    if program is not None and program.input_modes != tuple(sorted(request.input_modes)):
        raise MitigationError(
            f"photons enter {sorted(request.input_modes)}, those of the program {list(program.input_modes)}. "
            "Leave --inputs out."
        )
    missing = sorted(set(request.input_modes) - set(record.input_modes))
    if missing:
        raise CalibrationMismatch(
            f"a photon enters mode {missing[0]}; record {record.id} knows {list(record.input_modes)}. Calibrate it."
        )


def rows_of(found: list[Distribution]) -> Rows:
    """Rows of all distributions, with a heading each where there are several."""
    from ..mitigation.page import distribution_rows, title

    rows: Rows = []
    for index, one in enumerate(found):
        rows += [(title(one, index, len(found)), "")] if len(found) > 1 else []
        rows += distribution_rows(one)
    return rows


def data_of(request: MitigationRequest, found: list[Distribution]) -> dict[str, Any]:
    """Everything as JSON; what is not finite, as effective samples of a certain outcome, is None."""
    from ..mitigation.page import distribution_data

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
    from ..files import write_atomic
    from ..mitigation.page import distribution_page

    texts: list[tuple[Path, str]] = []
    if out is not None:
        texts.append((out, json.dumps(data_of(request, found), allow_nan=False) + "\n"))
    if page is not None:
        texts.append((page, distribution_page(f"Mitigation of {request.counts.name}", found)))
    for path, text in texts:
        try:
            write_atomic(path, text)
        except OSError as error:
            raise DataError(f"cannot write {path} ({error.strerror or error}). Choose another place.") from error
    return [path for path, _ in texts]
