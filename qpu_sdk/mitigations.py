"""Mitigation from the command line: files of counts, a record and a program in, distributions out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from .calibration.record import CalibrationRecord
from .calibration.store import load_record
from .devices.perceval_texts import UnreadableText, read
from .errors import CalibrationMismatch, ConfigError, DataError, MitigationError
from .files import write_atomic
from .mitigation.distribution import Distribution
from .mitigation.pipeline import mitigate
from .photonics.counts import Counts
from .photonics.fock import collision_free_outcomes
from .photonics.permanents import FloatArray
from .photonics.program import Program
from .report.mitigation import LEVEL, distribution_page, distribution_rows, shift, title

SCHEMA_VERSION = 1
Rows = list[tuple[str, str]]


@final
@dataclass(frozen=True)
class Request:
    """What to mitigate, and with what.

    :param counts: file of one :class:`Counts` a line, or of Perceval's text of a ``BSCount``.
    :param record: file of a calibration record.
    :param steps: as the pipeline takes them.
    :param program: file of :meth:`Program.to_json`; steps that model the circuit need it.
    :param input_modes: where photons entered; counts of Perceval do not say how many did.
    :param photons: the same without the modes.
    """

    counts: Path
    record: Path
    steps: str | tuple[str, ...] = "auto"
    program: Path | None = None
    input_modes: tuple[int, ...] | None = None
    photons: int | None = None
    seed: int = 0


def mitigate_file(request: Request) -> list[Distribution]:
    """The distribution of every counts in the file.

    :raises DataError: when a file is not what it should be.
    :raises CalibrationError: when the record is missing or of something else.
    :raises MitigationError: when the counts have no event, are of another program, or not what a step needs.
    """
    record = load_record(request.record)
    program = None if request.program is None else _program(request.program)
    photons = _photons(request, program)
    _check_inputs(request, record, program)
    found = []
    for number, counts in enumerate(read_counts(request.counts, photons=photons, record=record), start=1):
        where = f"{request.counts}, counts {number}"
        if photons is not None and counts.photons != photons:
            raise DataError(f"{where}: they are of {counts.photons} photons, {photons} are asked for. Leave that out.")
        try:
            found.append(mitigate(counts, record, program=program, steps=request.steps, seed=request.seed))
        except MitigationError as error:
            raise MitigationError(f"{where}: {error}") from error
        except CalibrationMismatch as error:
            raise CalibrationMismatch(f"{where}: {error}") from error
    return found


def parse_steps(text: str) -> str | tuple[str, ...]:
    """``auto``, or names with commas between them.

    >>> parse_steps("auto"), parse_steps("unfold,fuse"), parse_steps("post-selection")
    ('auto', ('unfold', 'fuse'), ('post-select',))
    """
    names = tuple({"post-selection": "post-select"}.get(name.strip(), name.strip()) for name in text.split(","))
    return "auto" if names == ("auto",) else names


def read_counts(path: Path, *, photons: int | None, record: CalibrationRecord) -> list[Counts]:
    """Counts as devices write them, one a line, or as Perceval does.

    :param photons: of counts that do not say so.
    :param record: of the detectors of counts that do not say so.
    :raises DataError: when the file cannot be read, or is something else.
    """
    text = _text(path).strip()
    try:
        if ":PCVL:" in text[:16]:
            return [_of_perceval(text.strip('"'), photons, record)]
        lines = text.splitlines()
        if not lines:
            raise DataError("the file is empty. Expected Counts.to_json().")
        if len(lines) > 1 and not _is_json(lines[0]):  # one object over several lines
            return [Counts.from_json(text)]
        return [Counts.from_json(line) for line in lines]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path} ({error}). Check the path.") from error


def _of_perceval(text: str, photons: int | None, record: CalibrationRecord) -> Counts:
    """Counts of a serialised ``BSCount``, which tells neither photons nor detectors."""
    try:
        found = read(text, frozenset({"BSCount"}))
    except UnreadableText as error:
        raise DataError(f"not counts of Perceval: {error}. Expected serialize(BSCount).") from error
    if photons is None:
        raise DataError("counts of Perceval do not say how many photons were sent. Add --photons N or --inputs 0,2,5.")
    pairs = [(tuple(state), int(number)) for state, number in found.items() if sum(state)]
    sizes = {len(state) for state, _ in pairs}
    if len(sizes) != 1:
        raise DataError(f"the outcomes have {sorted(sizes) or 'no'} modes. Take counts of one circuit.")
    return Counts(
        photons=photons,
        outcomes=np.array([state for state, _ in pairs], dtype=np.int64),
        numbers=np.array([number for _, number in pairs], dtype=np.int64),
        detector=record.detector,
    )


def _program(path: Path) -> Program:
    try:
        return Program.from_json(_text(path))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _photons(request: Request, program: Program | None) -> int | None:
    """How many photons the caller says were sent, None for no word about it."""
    inputs = (
        request.input_modes if request.input_modes is not None else None if program is None else program.input_modes
    )
    if inputs is None:
        return request.photons
    if len(set(inputs)) < len(inputs) or (request.photons is not None and request.photons != len(inputs)):
        raise ConfigError(f"inputs {list(inputs)} are not {request.photons or 'distinct'} modes. Name each mode once.")
    return len(inputs)


def _check_inputs(request: Request, record: CalibrationRecord, program: Program | None) -> None:
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


# -- what comes out --------------------------------------------------------------------------------------------


def rows_of(found: list[Distribution]) -> Rows:
    """Rows of all distributions, with a heading each where there are several."""
    rows: Rows = []
    for index, one in enumerate(found):
        rows += [(title(one, index, len(found)), "")] if len(found) > 1 else []
        rows += distribution_rows(one)
    return rows


def data_of(request: Request, found: list[Distribution]) -> dict[str, Any]:
    """Everything as JSON; what is not finite, as effective samples of a certain outcome, is None."""
    return {
        "schema_version": SCHEMA_VERSION,
        "counts": str(request.counts),
        "record": str(request.record),
        "seed": request.seed,
        "distributions": [_entry(one) for one in found],
    }


def _entry(found: Distribution) -> dict[str, Any]:
    assert found.raw is not None
    low, high = found.interval(LEVEL)
    assert found.unprojected is not None
    return {
        "device": found.raw.device,
        "program": found.raw.program,
        "job_id": found.raw.job_id,
        "modes": found.raw.modes,
        "photons": found.raw.photons,
        "shots": found.shots,
        "samples": found.samples,
        "effective_samples": _finite(found.effective_samples),
        "overhead": _finite(found.overhead),
        "shift": shift(found),
        "record_id": found.record_id,
        "history": [asdict(step) for step in found.history],
        "diagnostics": asdict(found.diagnostics),
        "outcomes": collision_free_outcomes(found.raw.modes, found.raw.photons).tolist(),
        "probabilities": found.probabilities.tolist(),
        "unprojected": found.unprojected.tolist(),
        "standard_errors": _list(found.standard_errors),
        "interval": {"level": LEVEL, "lower": _list(low), "upper": _list(high)},
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _list(values: FloatArray) -> list[float | None]:
    return [_finite(value) for value in values.tolist()]


def write_results(
    request: Request, found: list[Distribution], *, out: Path | None, page: Path | None
) -> Iterable[Path]:
    """Write the JSON and the page, where they are wanted; gives the files.

    :raises DataError: when one cannot be written.
    """
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
