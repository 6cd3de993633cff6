"""Outcomes and how often each was seen, as people write them: Perceval's print, dictionaries, CSV.

Nothing of it is evaluated: a text is read from left to right, word by word, in time linear in its length.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from ..arrays import IntArray, OutcomeArray, whole
from ..errors import DataError
from ..photonics.program import Program
from ..words import short

#: Most outcomes of one file.
MOST_OUTCOMES = 5_000_000
#: Rounding of printed frequencies: their sum may be off by so much.
_SUM_ERROR = 1e-2

_COUNTS = r"\s*\d{1,3}\s*(?:,\s*\d{1,3}\s*)*+,?\s*"
_OUTCOME = re.compile(rf"\|({_COUNTS})>|\(({_COUNTS})\)|\[({_COUNTS})\]|({_COUNTS})", re.ASCII)
_NUMBER = r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,4})?"
_QUOTE = "[\"']?"
#: One entry of a printed dictionary; a blank or a comma ends it.
_ENTRY = re.compile(
    rf"\s*{_QUOTE}(\|[\d,\s]*>|\([\d,\s]*\)|\[[\d,\s]*\]|\d+){_QUOTE}\s*[:=]\s*({_NUMBER})\s*[,;]?", re.ASCII
)
_SAMPLE = re.compile(r"\s*(\|[\d,\s]*>)\s*,?", re.ASCII)
_DICTIONARY = re.compile(r"(?:BSCount|BSDistribution|Counter|dict|OrderedDict)?\s*\(?\s*\{(.*)\}\s*\)?", re.DOTALL)
_SAMPLES = re.compile(r"(?:BSSamples)?\s*\[(.*)\]", re.DOTALL)


@final
@dataclass(frozen=True, eq=False)
class OutcomeTable:
    """What one setting gave, as far as a file says it.

    :param outcomes: clicks per mode, one tuple an outcome; or an array ``(K, M)``.
    :param numbers: how often each was seen; floats are frequencies, unless all are whole and add up to more than 1.
    :param photons: that were sent, None where the file does not say so; likewise the others.
    :param total: shots that frequencies are of.
    :param form: what the file looked like.
    """

    outcomes: list[tuple[int, ...]] | npt.NDArray[np.integer[Any]]
    numbers: list[int] | list[float] | IntArray
    photons: int | None = None
    detector: str | None = None
    program: Program | None = None
    total: int | None = None
    form: str = ""

    def counted(self, total: int | None) -> tuple[OutcomeArray, IntArray]:
        """Outcomes ``(K, M)`` and their numbers ``(K,)``, without the empty window.

        :param total: shots that frequencies are of, where the file does not say so.
        :raises DataError: when outcomes are of several sizes, numbers are none, or frequencies have no total.
        """
        numbers = self._whole(self.total if self.total is not None else total)
        if len(numbers) != len(self.outcomes):
            raise DataError(f"{len(self.outcomes)} outcomes and {len(numbers)} numbers. Give one number an outcome.")
        sizes = sorted({len(outcome) for outcome in self.outcomes})
        if len(sizes) != 1:
            raise DataError(f"the outcomes have {sizes or 'no'} modes. Take counts of one circuit.")
        rows = np.array(self.outcomes)
        if rows.min(initial=0) < 0 or rows.max(initial=0) > 255:  # as uint8 it would wrap around
            raise DataError("an outcome has a mode with less than 0 or more than 255 clicks. Check the outcomes.")
        # Without a filter empty windows are counted too; a shot here is a window with a click.
        seen = rows.any(axis=1)
        if not seen.any():
            raise DataError("no outcome has a click. Give the outcomes that were seen.")
        return rows[seen].astype(np.uint8), numbers[seen]

    def _whole(self, total: int | None) -> IntArray:
        if isinstance(self.numbers, np.ndarray):
            return self.numbers
        if not any(isinstance(number, float) for number in self.numbers):
            return _int64([whole(number, "a number of counts", DataError, least=0) for number in self.numbers])
        floats = [float(number) for number in self.numbers]
        if not all(math.isfinite(x) and x >= 0 for x in floats):
            raise DataError("a number of counts is negative or not finite. Check the numbers.")
        away = math.fsum(floats)
        if all(x.is_integer() for x in floats) and away > 1:
            return _int64([int(x) for x in floats])
        if abs(away - 1) > _SUM_ERROR:
            raise DataError(f"the numbers add up to {away:.6g}: neither counts nor frequencies. Check the numbers.")
        if total is None:
            raise DataError("these are frequencies without a total. Give total=SHOTS (--total SHOTS).")
        shots = whole(total, "total", DataError, least=1, most=2**53)
        return _int64([round(x * shots) for x in floats])


def _int64(numbers: list[int]) -> IntArray:
    try:
        return np.array(numbers, dtype=np.int64)
    except OverflowError:
        raise DataError(f"a number of counts is above {np.iinfo(np.int64).max}. Check the numbers.") from None


def outcome_of(text: str) -> tuple[int, ...] | None:
    """Clicks per mode from ``|1,0>``, ``(1, 0)``, ``[1, 0]``, ``1,0`` or ``10``; None for anything else.

    >>> outcome_of("|1,0>"), outcome_of("(1, 0)"), outcome_of("10"), outcome_of("ten")
    ((1, 0), (1, 0), (1, 0), None)
    """
    text = text.strip().strip("\"'").strip()
    if text.isascii() and text.isdigit():
        return tuple(map(int, text))
    found = _OUTCOME.fullmatch(text) if len(text) < 2000 else None
    if found is None:
        return None
    inner = next(group for group in found.groups() if group is not None)
    return tuple(int(word) for word in inner.rstrip(", ").split(","))


def table_of(found: Mapping[str, Any], **said: Any) -> OutcomeTable:
    """The table of a dictionary whose keys are outcomes.

    :param said: what else is known, in the words of :class:`OutcomeTable`.
    :raises DataError: when a key is no outcome or a value no number.
    """
    outcomes, numbers = [], []
    for key, number in found.items():
        outcome = outcome_of(key)
        if outcome is None:
            raise DataError(f"the key {short(key)} is no outcome, such as |1,0>, (1, 0) or 10.")
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise DataError(f"the number of {short(key)} is {short(number)}. Use a whole number of counts.")
        outcomes.append(outcome)
        numbers.append(number)
    return table_of_pairs(outcomes, numbers, **said)


def table_of_pairs(outcomes: list[tuple[int, ...]], numbers: list[Any], **said: Any) -> OutcomeTable:
    """A table whose outcomes are looked at for repetitions: one of the two numbers would be lost, or they are two
    settings.

    :raises DataError: when one stands there twice, or there are none or too many.
    """
    if not outcomes:
        raise DataError("there are no outcomes in it. Give at least one.")
    if len(outcomes) > MOST_OUTCOMES:
        raise DataError(f"it has {len(outcomes):,} outcomes; {MOST_OUTCOMES:,} are read at most.")
    if len(set(outcomes)) < len(outcomes):
        [(twice, _)] = Counter(outcomes).most_common(1)
        raise DataError(f"the outcome {twice} stands there twice. Give one number an outcome.")
    return OutcomeTable(outcomes, numbers, **said)


def printed_table(text: str, **said: Any) -> OutcomeTable | None:
    """What ``str`` or ``repr`` of a ``BSCount``, ``BSDistribution``, ``BSSamples`` or dictionary printed.

    :returns: None when it does not look like one.
    :raises DataError: when it does, and cannot be read.

    >>> printed_table("BSCount{|2,0>: 1, |1,0>: 3}").numbers
    [1, 3]
    """
    if (found := _DICTIONARY.fullmatch(text)) and (text[0] != "{" or _ENTRY.match(found[1])):
        pairs = [(one[1], one[2]) for one in _words(found[1], _ENTRY, "|1,0>: 3")]
        return table_of_pairs([_known(key) for key, _ in pairs], [count_of(number) for _, number in pairs], **said)
    if text.startswith(("BSCount", "BSDistribution")):
        raise DataError("it is cut off. Save it again.")
    if (found := _SAMPLES.fullmatch(text)) and (text.startswith("BSSamples") or found[1].lstrip().startswith("|")):
        if "..." in found[1]:
            raise DataError("Perceval cut these samples when it printed them. Save repr() or serialize() of them.")
        return samples_table((_known(one[1]) for one in _words(found[1], _SAMPLE, "|1,0>")), **said)
    return None


def samples_table(samples: Iterable[tuple[int, ...]], **said: Any) -> OutcomeTable:
    """The table of samples, one outcome a shot."""
    counted = Counter(samples)
    return table_of_pairs(list(counted), list(counted.values()), **said)


def _words(text: str, pattern: re.Pattern[str], example: str) -> Iterable[re.Match[str]]:
    place, text = 0, text.rstrip()
    while place < len(text):
        found = pattern.match(text, place)
        if found is None:
            raise DataError(f"{short(text[place : place + 60].strip())} where {example!r} was expected.")
        place = found.end()
        yield found


def _known(text: str) -> tuple[int, ...]:
    outcome = outcome_of(text)
    if outcome is None:
        raise DataError(f"{short(text)} is no outcome, such as |1,0>.")
    return outcome


def count_of(text: str) -> int | float:
    """A number as it is written; whole where it has neither point nor exponent.

    :raises DataError: when it is none.

    >>> count_of("3"), count_of("0.25")
    (3, 0.25)
    """
    text = text.strip().strip("\"'").strip()
    if text.isascii() and text.isdigit() and len(text) <= 40:
        return int(text)
    if re.fullmatch(_NUMBER, text, re.ASCII) is None:
        raise DataError(f"{short(text)} is no number of counts.")
    return float(text)


def csv_table(text: str, **said: Any) -> OutcomeTable:
    """The table of CSV: an outcome and its number a line, behind a header or none.

    The number is what stands behind the last comma, semicolon or tab, so ``|1,0>,3`` needs no quotes and a column for
    each mode does as well.

    :raises DataError: names the line that is no such pair.

    >>> csv_table("outcome,count\\n|1,0>,3\\n").outcomes
    [(1, 0)]
    """
    outcomes, numbers, first = [], [], True
    for place, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        # A semicolon or a tab separates where there is one: the comma may then be that of 0,25.
        mark = next((mark for mark in "\t;" if mark in line), ",")
        before, _, behind = line.strip().rpartition(mark)
        outcome = outcome_of(before.replace(mark, ","))
        try:
            number = count_of(behind)
        except DataError:
            number = -1
        if outcome is not None and number >= 0:
            outcomes.append(outcome)
            numbers.append(number)
        elif not first:
            raise DataError(f"line {place}: {short(line)} where an outcome and a count were expected, such as |1,0>,3.")
        first = False  # one line of words may stand above the numbers
    return table_of_pairs(outcomes, numbers, **said)
