"""Perceval's archives (``pcvlar 0 1 0 TAG ...``), taken apart without Perceval.

Perceval builds whatever an archive names: handlers that send the user's token, attributes of any name, a shared
tuple anew at each place. So the text is taken apart here, and Perceval gets the parts that were looked at, never the
text.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from .perceval_checks import NOISE_FIELDS, ReadingBudget, UnreadableText, shown

#: How an archive begins, and its kind.
ARCHIVE = "pcvlar"
#: Values that every archive may hold.
PLAIN = frozenset({"None", "bool", "int", "float", "str", "list", "tuple", "dict"})
#: Classes, and the attributes that they may be given.
MEMBERS = {
    "ComputationIterator": frozenset({"base_computation", "_iterations"}),
    "Computation": frozenset({"command", "experiment", "parameters", "job_name", "job_group_name"}),
    "Command": frozenset({"name", "signature", "apply_emt"}),
    "NoiseModel": NOISE_FIELDS,
    "CompilationAveraging": frozenset({"repetitions", "starting_seed"}),
    "DetectorBalancing": frozenset(),
    "DistinguishablePhotonMitigation": frozenset({"_order"}),
    "PhotonRecycling": frozenset(),
}
#: Classes whose objects are broken unless each attribute is given.
WHOLE = frozenset({"NoiseModel"})
#: Objects that stand in an archive as one text, and the kind of that text.
TEXTS = {
    "FockState": "BasicState",
    "NoisyFockState": "BasicState",
    "AnnotatedFockState": "BasicState",
    "StateVector": "StateVector",
    "SVDistribution": "SVDistribution",
    "BSCount": "BSCount",
    "BSSamples": "BSSamples",
    "PostSelect": "PostSelect",
}
#: Objects that stand in an archive as a protobuf message in base64.
MESSAGES = frozenset({"Experiment"})

_TYPES = frozenset({"bool", "int", "float", "complex", "str", "list", "tuple", "dict"})  # of a command's arguments
#: Digits: more than any number that Perceval writes, and too few to keep int() busy.
_LONGEST_NUMBER = 40


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """One object of an archive.

    :param data: as in the JSON form of an archive.
    :param children: the places of the objects that it holds.
    :param size: objects inside its own data.
    """

    tag: str
    data: Any
    children: tuple[int, ...] = ()
    size: int = 1


#: Looks at a text or a message of a tag, and answers it as it may be read, with the number of objects in it.
Checked = Callable[[str, str], tuple[str, int]]


def taken_apart(text: str, kinds: frozenset[str], budget: ReadingBudget, checked: Checked) -> dict[str, Any]:
    """An archive in Perceval's JSON form, each part looked at.

    :param text: from ``pcvlar``, not compressed.
    :param kinds: tags that may occur, besides :data:`PLAIN`.
    :raises UnreadableText: when it is no archive, too large, goes round in circles, or holds another kind.
    """
    words = _Words(text)
    words.word(ARCHIVE)
    words.word("0")
    words.word("1")
    root, entries = words.integer(), []
    while words.left():
        budget.spend("objects")
        entries.append(_entry(words, kinds, checked))
    _measure(root, entries, budget)
    data = [[entry.tag, entry.data] for entry in entries]
    return {"header": ARCHIVE, "archive_version": 0, "roots": [root], "data": data}


@final
class _Words:
    """The text, read from left to right; a word ends at one blank."""

    def __init__(self, text: str) -> None:
        self._text, self._place = text, 0

    def left(self) -> bool:
        return self._place < len(self._text)

    def word(self, expected: str | None = None) -> str:
        end = self._text.find(" ", self._place)
        end = len(self._text) if end < 0 else end
        found, self._place = self._text[self._place : end], end + 1
        if expected is not None and found != expected:
            raise UnreadableText(f"an archive has {shown(found)} where {expected!r} was expected. Send it again.")
        return found

    def integer(self) -> int:
        found = self.word()
        digits = found.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST_NUMBER):
            raise UnreadableText(f"an archive has {shown(found)} where a whole number was expected. Send it again.")
        return int(found)

    def real(self) -> float:
        found = self.word()
        try:
            value = float(found) if found.isascii() and len(found) <= _LONGEST_NUMBER else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UnreadableText(f"an archive has {shown(found)} where a finite number was expected. Send it again.")
        return value

    def characters(self, number: int) -> str:
        end = self._place + number
        if number < 0 or end > len(self._text):
            raise UnreadableText(f"an archive is cut off: {number} characters were announced. Send it again.")
        found, self._place = self._text[self._place : end], end + 1
        return found

    def several(self, number: int) -> range:
        """``range(number)``, when the text is long enough for that many words."""
        if not 0 <= 2 * number <= len(self._text) - self._place + 2:  # a word and its blank are two characters
            raise UnreadableText(f"an archive is cut off: {number} objects were announced. Send it again.")
        return range(number)


def _entry(words: _Words, kinds: frozenset[str], checked: Checked) -> Entry:
    tag = words.word()
    if tag not in PLAIN and tag not in kinds and not (tag == "type" and "Command" in kinds):
        raise UnreadableText(f"an archive of kind {shown(tag)} where {' or '.join(sorted(kinds))} was expected.")
    if tag in ("list", "tuple"):
        places = [words.integer() for _ in words.several(words.integer())]
        return Entry(tag, places, tuple(places))
    if tag == "dict":
        pairs = [(words.integer(), words.integer()) for _ in words.several(words.integer())]
        return Entry(tag, {str(key): value for key, value in pairs}, tuple(place for pair in pairs for place in pair))
    if tag in MEMBERS:
        version, number = words.integer(), words.integer()
        members = [(_member(tag, words.word()), words.integer()) for _ in words.several(number)]
        if tag in WHOLE and sorted(name for name, _ in members) != sorted(MEMBERS[tag]):
            raise UnreadableText(f"an archive does not give {tag} each of its attributes once. Send it again.")
        return Entry(tag, (version, members), tuple(place for _, place in members))
    if tag in TEXTS or tag in MESSAGES:
        plain, size = checked(tag, words.characters(words.integer()))
        return Entry(tag, plain, size=size)
    return Entry(tag, _plain(tag, words))


def _member(tag: str, name: str) -> str:
    if name not in MEMBERS[tag]:
        known = ", ".join(sorted(MEMBERS[tag])) or "none"
        raise UnreadableText(f"an archive gives {tag} an attribute {shown(name)}. Use its own: {known}.")
    return name


def _plain(tag: str, words: _Words) -> Any:
    if tag == "None":
        words.characters(0)
        return None
    if tag == "bool":
        letter = words.characters(1)
        if letter not in ("T", "F"):
            raise UnreadableText(f"an archive has {shown(letter)} where T or F was expected. Send it again.")
        return letter == "T"
    if tag == "int":
        return words.integer()
    if tag == "float":
        return words.real()
    text = words.characters(words.integer())
    if tag == "type" and text not in _TYPES:
        raise UnreadableText(f"an archive names the type {shown(text)}. Use one of {', '.join(sorted(_TYPES))}.")
    return text


def _measure(root: int, entries: list[Entry], budget: ReadingBudget) -> None:
    """Refuse circles, places that are not there, and too many objects once shared ones are built at each place."""
    sizes: dict[int, tuple[int, int]] = {}
    above: set[int] = set()

    def measured(place: int) -> tuple[int, int]:
        if place in sizes:
            return sizes[place]
        if not 0 <= place < len(entries) or place in above:
            raise UnreadableText(f"an archive points at {place}, which is not there or holds it. Send it again.")
        budget.check_depth(len(above))  # before going deeper, or Python's own limit comes first
        above.add(place)
        inner = [measured(child) for child in entries[place].children]
        above.remove(place)
        size = entries[place].size + sum(size for size, _ in inner)  # each place anew, as Perceval builds it
        height = 1 + max((height for _, height in inner), default=0)
        sizes[place] = size, height
        return sizes[place]

    size, height = measured(root)
    budget.check_depth(height)
    budget.spend("objects", size)
