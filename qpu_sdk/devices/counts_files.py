"""Files of counts, ours and Perceval's."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import DataError
from ..files import regular, user_path
from ..photonics.counts import Counts, Detector
from .perceval_checks import UnreadableText
from .perceval_texts import read


def load_counts(path: str | Path) -> list[Counts]:
    """Read a file of one :class:`Counts` a line.

    :raises DataError: when the file cannot be read or a line is not counts; names the line.
    """
    counts = []
    for number, line in enumerate(text_of(user_path(path, "counts"), "counts from ").splitlines(), start=1):
        try:
            counts.append(Counts.from_json(line))
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
    return counts


def read_counts(path: Path, *, photons: int | None, detector: Detector) -> list[Counts]:
    """Counts as devices write them, one a line, or as Perceval does.

    :param photons: of counts that do not say so.
    :param detector: of counts that do not say so.
    :raises DataError: when the file cannot be read, or is something else.
    """
    text = text_of(path).strip()
    try:
        if ":PCVL:" in text[:16]:  # not startswith: as JSON it begins with a quote
            return [_of_perceval(text.strip('"'), photons, detector)]
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


def text_of(path: Path, what: str = "") -> str:
    """The text of a file; raises :class:`DataError` when it cannot be read, which says ``what`` before the path."""
    try:
        return regular(path).read_text(encoding="utf-8-sig")  # Windows begins files with a mark
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {what}{path} ({error}). Check the path.") from error


def _of_perceval(text: str, photons: int | None, detector: Detector) -> Counts:
    """Counts of a serialised ``BSCount``, which tells neither photons nor detectors."""
    try:
        found = read(text, frozenset({"BSCount"}))
    except UnreadableText as error:
        raise DataError(f"not counts of Perceval: {error}. Expected serialize(BSCount).") from error
    if photons is None:
        raise DataError("counts of Perceval do not say how many photons were sent. Add --photons N or --inputs 0,2,5.")
    return Counts.from_perceval(found, photons=photons, detector=detector)
