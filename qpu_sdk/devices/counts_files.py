"""Files of counts, ours and other people's: every command reads them here.

What a file is shows in how it begins. Its settings are then :class:`Counts` already, or tables of outcomes that lack
photons, detectors or programs; those are said beside the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from ..arrays import integers, reals, whole
from ..errors import DataError
from ..files import first_problem, regular, unique_keys, user_path
from ..photonics.counts import Counts, Detector, check_detector
from ..photonics.fock import collision_free_outcomes, occupations
from ..photonics.program import Program, programs_of
from ..words import short
from .counts_formats import MOST_OUTCOMES, OutcomeTable, csv_table, outcome_of, printed_table, table_of
from .numpy_files import arrays_of
from .perceval_jobs import PERCEVAL, job_tables, perceval_table
from .run_counts import journal_of, run_counts

#: Bytes of a text that is read; what is made of it takes ten times that.
LARGEST_TEXT = 2**30
_MOST_MODES = 256
_KNOWN = (
    "Counts.to_json(), results of a Perceval job, {'|1,0>': n}, a printed BSCount, BSSamples or BSDistribution, CSV of "
    "outcome and count, NumPy arrays, or the folder of a run"
)


def load_counts(
    path: str | Path,
    *,
    programs: Sequence[Program] | None = None,
    photons: int | None = None,
    detector: Detector | None = None,
    total: int | None = None,
) -> list[Counts]:
    r"""Read counts, one :class:`Counts` a setting, from a file in any of the forms that people have.

    Read are: our JSON, an object, a list or one a line; results of Perceval's jobs, with the programs of their payload
    where it stands beside them; tables ``{"|1,0>": 3}``, ``{"(1, 0)": 3}``, ``{"10": 3}``, also as ``counts`` of an
    object that says ``photons``, ``detector``, ``program`` or ``total``; what ``str``, ``repr`` or Perceval's
    ``serialize`` makes of a ``BSCount``, ``BSSamples`` or ``BSDistribution``; CSV of outcome and count; ``.npy`` of
    counts ``(K,)`` or ``(S, K)``, K = C(M, N) collision-free outcomes in lexicographic order
    (``itertools.combinations(range(M), N)``); ``.npz`` of such ``counts``, or of ``outcomes`` ``(K, M)``, clicks per
    mode, with ``numbers`` ``(K,)`` or ``(S, K)``; the folder of a run or its journal, also while it goes on.

    :param programs: that were run: one for each setting in order, or one for all; counts that name theirs find it.
    :param photons: that were sent, for counts that neither say so nor have a program.
    :param detector: of counts that do not say it; unless given, threshold where no mode of the file shows two clicks.
    :param total: shots that frequencies are of.
    :raises DataError: when the file cannot be read; says what it looked like and what is wrong.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = Path(folder) / "counts.csv"
    ...     _ = place.write_text("outcome,count\n|1,0>,3\n|0,1>,1\n")
    ...     [counts] = load_counts(place, photons=1)
    >>> counts.shots, counts.detector, counts.collision_free().tolist()
    (4, 'threshold', [3, 1])
    """
    place = user_path(path, "counts")
    beside = Beside(
        None if programs is None else programs_of(programs),
        None if photons is None else whole(photons, "photons", DataError, least=1),
        None if detector is None else check_detector(detector, DataError),
        None if total is None else whole(total, "total", DataError, least=1),
    )
    return beside.completed(_settings(place, beside), place)


@final
@dataclass(frozen=True)
class Beside:
    """What is said beside a file."""

    programs: tuple[Program, ...] | None = None
    photons: int | None = None
    detector: Detector | None = None
    total: int | None = None

    def completed(self, found: Sequence[Counts | OutcomeTable], path: Path) -> list[Counts]:
        """Counts of every setting, with their programs and all of one kind of detector.

        :raises DataError: when they lack something, do not fit their program, or are of several kinds of detector.
        """
        programs = self._programs(found, path)
        said = {one.detector for one in found if one.detector}
        detector = self.detector or (said.pop() if len(said) == 1 else None) or _shown(found)
        counts = []
        for number, (one, program) in enumerate(zip(found, programs, strict=True), start=1):
            try:
                counts.append(self._completed(one, program, detector))
            except DataError as error:
                form = f" looks like {one.form}" if isinstance(one, OutcomeTable) and one.form else ""
                where = f"{form}, counts {number} of {len(found)}" if len(found) > 1 else form
                raise DataError(f"{path}{where}: {error}") from error
        kinds = sorted({one.detector for one in counts})
        if len(kinds) > 1:
            raise DataError(f"{path} mixes counts of {' and '.join(kinds)} detectors. Split it by detector.")
        return counts

    def _programs(self, found: Sequence[Counts | OutcomeTable], path: Path) -> list[Program | None]:
        if self.programs is None:
            return [one.program for one in found]
        known = {program.fingerprint: program for program in self.programs}
        named = [known.get(one.fingerprint) if isinstance(one, Counts) else None for one in found]
        if all(named):
            return named
        if len(self.programs) not in (1, len(found)):
            raise DataError(
                f"{path} has {len(found)} settings, and there are {len(self.programs)} programs. Give one for each, in "
                "order."
            )
        return list(self.programs if len(self.programs) == len(found) else self.programs * len(found))

    def _completed(self, one: Counts | OutcomeTable, program: Program | None, detector: Detector) -> Counts:
        modes = one.modes if isinstance(one, Counts) else len(one.outcomes[0])
        if program is not None and program.modes != modes:
            raise DataError(
                f"they are of {modes} modes, the program of {program.modes}. Give the program that was run."
            )
        if isinstance(one, Counts):
            return (
                one
                if program is None or (one.program is not None and program == one.program)
                else replace(one, program=program)
            )
        outcomes, numbers = one.counted(self.total)
        photons = one.photons or (self.photons if program is None else program.photons)
        if photons is None:
            raise DataError(
                "they do not say how many photons were sent. Give programs, or photons=N (--photons N or --inputs 0,2)."
            )
        return Counts(photons, outcomes, numbers, detector=one.detector or detector, program=program)


def _shown(found: Sequence[Counts | OutcomeTable]) -> Detector:
    """What detectors show: nothing but single clicks in the whole file, or numbers."""
    tables = [one.outcomes for one in found if isinstance(one, OutcomeTable)]
    most = max((max(outcome, default=0) for table in tables for outcome in table), default=0)
    return "pnr" if most > 1 else "threshold"


def text_of(path: Path, what: str = "") -> str:
    """The text of a file; raises :class:`DataError` when it cannot be read, which says ``what`` before the path."""
    try:
        if regular(path).stat().st_size > LARGEST_TEXT:
            raise DataError(f"{what}{path} is larger than the {LARGEST_TEXT:,} bytes that are read. Split it.")
        return path.read_text(encoding="utf-8-sig")  # Windows begins files with a mark
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {what}{path} ({error}). Check the path.") from error


# -- what a file looks like -----------------------------------------------------------------------------------------

Setting = Counts | OutcomeTable


def _settings(path: Path, beside: Beside) -> list[Setting]:
    journal = journal_of(path)
    if journal is not None:
        return list(run_counts(journal))
    if path.is_dir():
        raise DataError(f"{path} is a folder without a journal.sqlite: no run. Give the folder of a run, or a file.")
    if path.suffix.lower() in (".npy", ".npz"):
        return _named(path, "NumPy arrays", lambda: _of_arrays(arrays_of(path), beside))
    text = text_of(path, "counts from ").strip()
    payloads = beside.programs is None
    if not text:
        raise DataError(f"{path}: the file is empty. Expected {_KNOWN}.")
    if text.lstrip('"').startswith(PERCEVAL):
        return _named(path, "a text of Perceval", lambda: [perceval_table(text.strip('"'))])
    if text[0] in "{[" and (lines := json_lines(text)) is not None:
        return of_lines(path, lines, lambda line: _of_json(line, payloads))
    if printed := _named(path, "a printed table", lambda: [one] if (one := printed_table(text)) else None):
        return printed
    if text[0] in "{[":
        return _named(path, "JSON", lambda: _of_json(text, payloads))
    if "," in text or ";" in text or "\t" in text:
        return _named(path, "CSV", lambda: [csv_table(text)])
    raise DataError(f"{path} begins with {short(text[:40])}, which is nothing known. Expected {_KNOWN}.")


def _named(path: Path, form: str, read: Callable[[], Sequence[Setting] | None]) -> list[Setting]:
    """What was read, and remembers what it looked like; empty where it did not."""
    try:
        found = read() or ()
        return [replace(one, form=form) if isinstance(one, OutcomeTable) else one for one in found]
    except DataError as error:
        raise DataError(f"{path} looks like {form}: {error}") from error


def json_lines(text: str) -> list[str] | None:
    """The lines of a text of one JSON a line; the whole where it is one JSON; None where it is neither."""
    first, _, rest = text.partition("\n")
    if not _is_json(first):
        return [text] if _is_json(text) else None
    return text.split("\n") if rest else [text]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def of_lines(path: Path, lines: Sequence[str], read: Callable[[str], list[Any]]) -> list[Any]:
    """What the lines of a file hold; raises :class:`DataError`, which names the line where there are several."""
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found += read(line)
        except DataError as error:
            raise DataError(f"{path}{f', line {number}' if len(lines) > 1 else ''}: {error}") from error
    return found


def _of_json(text: str, payloads: bool) -> list[Setting]:
    if text.startswith('{"schema_version"'):  # ours, in the order that we write: read once
        return [Counts.from_json(text)]
    return _of_value(json_of(text), payloads)


def json_of(text: str) -> Any:
    """The value of a JSON text in which no key stands twice; raises :class:`DataError`."""
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise DataError(f"no JSON ({type(error).__name__}: {first_problem(error)}). Check the file.") from error


def _of_value(value: Any, payloads: bool, **said: Any) -> list[Setting]:
    """The settings of what JSON holds."""
    if isinstance(value, list) and value and not said:
        return [one for item in value for one in _of_value(item, payloads)]
    if isinstance(value, str):
        found = perceval_table(value, **said) if value.startswith(PERCEVAL) else printed_table(value.strip(), **said)
        if found is None:
            raise DataError(f"the text {short(value)} is no counts of Perceval.")
        return [found]
    if not isinstance(value, dict) or not value:
        raise DataError(f"{short(value)} is no counts. Expected {_KNOWN}.")
    if "schema_version" in value:
        return [Counts.from_json(json.dumps(value))]
    if "results" in value or "results_list" in value:
        return list(job_tables(value, with_programs=payloads))
    if "counts" in value:
        return _wrapped(value, payloads)
    if not any(outcome_of(key) for key in value):
        keys = ", ".join(list(value)[:5])
        raise DataError(
            f"JSON with the keys {short(keys)}, which are no outcomes such as |1,0>, (1, 0) or 10. Expected {_KNOWN}."
        )
    return [table_of(value, **said)]


def _wrapped(value: Mapping[str, Any], payloads: bool) -> list[Setting]:
    """The setting of ``{"counts": ..., "photons": ...}``."""
    said: dict[str, Any] = {}
    for key, name in (("photons", "photons"), ("total", "total"), ("shots", "total")):
        if value.get(key) is not None:
            said[name] = whole(value[key], key, DataError, least=1)
    if value.get("detector") is not None:
        said["detector"] = check_detector(value["detector"], DataError)
    if isinstance(value.get("program"), dict):
        said["program"] = Program.from_json(json.dumps(value["program"]))
        said["photons"] = said["program"].photons
    if isinstance(value["counts"], list):
        program = said.get("program")
        photons = said.get("photons")
        array = _numbers(value["counts"])
        return list(_in_order(array, photons, None if program is None else program.modes, said))
    return _of_value(value["counts"], payloads, **said)


def _numbers(values: list[Any]) -> npt.NDArray[Any]:
    try:
        return integers(values, "a number of counts", DataError)
    except DataError:  # frequencies, or what is neither
        return reals(values, "a number of counts", DataError, finite=False)


# -- arrays ---------------------------------------------------------------------------------------------------------


def _of_arrays(arrays: Mapping[str, npt.NDArray[Any]], beside: Beside) -> list[Setting]:
    said: dict[str, Any] = {}
    if "photons" in arrays:
        said["photons"] = whole(arrays["photons"], "photons", DataError, least=1)
    if "detector" in arrays:
        said["detector"] = check_detector(str(arrays["detector"]), DataError)
    if "outcomes" in arrays and "numbers" in arrays:
        outcomes = integers(arrays["outcomes"], "an entry of outcomes", DataError)
        if outcomes.ndim != 2:
            raise DataError(f"outcomes have the shape {outcomes.shape}. Give clicks per mode, (K, M).")
        return [OutcomeTable(outcomes, row, **said) for row in _rows(arrays["numbers"])]
    counts = arrays.get("", arrays.get("counts"))
    if counts is None:
        raise DataError(f"its arrays are {', '.join(arrays) or 'none'}. Expected counts, or outcomes and numbers.")
    program = None if beside.programs is None else beside.programs[0]
    photons = said.get("photons") or (beside.photons if program is None else program.photons)
    return list(_in_order(counts, photons, None if program is None else program.modes, said))


def _in_order(
    counts: npt.NDArray[Any], photons: int | None, modes: int | None, said: Mapping[str, Any]
) -> list[OutcomeTable]:
    """Counts ``(K,)`` or ``(S, K)`` of the collision-free outcomes of so many photons, lexicographic."""
    if photons is None:
        raise DataError("they do not say how many photons were sent. Give programs, or photons=N (--photons N).")
    rows = _rows(counts)
    number = counts.shape[-1]
    # C(M, N) grows with M: at most one number of modes fits.
    found = modes or next((m for m in range(photons, _MOST_MODES + 1) if math.comb(m, photons) >= number), photons)
    if math.comb(found, photons) != number:
        of = f"{found} modes have {math.comb(found, photons):,}" if modes else "no number of modes has so many"
        raise DataError(
            f"{number:,} numbers a setting are not one for each collision-free outcome of {photons} photons: {of}. "
            "Order them as itertools.combinations(range(M), N), or give an .npz of outcomes and numbers."
        )
    if number > MOST_OUTCOMES:
        raise DataError(f"it has {number:,} outcomes; {MOST_OUTCOMES:,} are read at most.")
    outcomes = occupations(collision_free_outcomes(found, photons), found)
    return [OutcomeTable(outcomes, row, **{**said, "photons": photons}) for row in rows]


def _rows(numbers: npt.NDArray[Any]) -> list[Any]:
    """A row of numbers for every setting."""
    if numbers.dtype.kind not in "iuf" or numbers.ndim not in (1, 2) or not numbers.size:
        raise DataError(
            f"numbers have the shape {numbers.shape} and the type {numbers.dtype}. Give whole numbers, (K,) or (S, K)."
        )
    return [row.tolist() for row in np.atleast_2d(numbers)]
