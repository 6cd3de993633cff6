"""What a device returns: numbers of outcomes.

A *shot* is a detection window with at least one click. An *event* here is a shot with as many clicks as photons were
sent; a collision-free one has at most one click a mode.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from ..arrays import IntArray, integers, whole
from ..errors import ConfigError, DataError, ProgramError
from ..markup import Html, notebook_table
from ..words import short
from .conversions import counted
from .fock import collision_free_outcomes, rank_collision_free
from .program import Program

if TYPE_CHECKING:
    import perceval

#: What detectors resolve: ``"threshold"``, ``"pnr"``, or ``"ppnr:W"``, a photon falling on one of W wires at random.
Detector = str
#: Most wires of a detector; with so many two photons hardly ever share one.
MOST_WIRES = 10_000

#: Outcomes in a notebook, the most frequent ones.
_MOST_SHOWN = 10
_MOST_SHOTS = int(np.iinfo(np.int64).max)


def is_detector(name: object) -> bool:
    """Whether it is the name of a kind of detector.

    >>> [is_detector(name) for name in ("pnr", "ppnr:4", "ppnr:04", "ppnr:1", None)]
    [True, True, False, False, False]
    """
    # One way to write each: names are compared, as those of counts and of a record.
    wired = re.fullmatch("ppnr:([1-9][0-9]{0,4})", name) if isinstance(name, str) else None
    return name in ("threshold", "pnr") or (wired is not None and 2 <= int(wired[1]) <= MOST_WIRES)


def check_detector(name: object, error: type[Exception] = ConfigError) -> Detector:
    """The name of a kind of detector, as it is written everywhere.

    :raises Exception: of the given class, for any other name.

    >>> check_detector("ppnr:4")
    'ppnr:4'
    """
    if isinstance(name, str) and is_detector(name):
        return name
    raise error(
        f"detector is {short(name)}; it must be threshold, pnr, or ppnr:W with 2 to {MOST_WIRES} wires, such as "
        "ppnr:4. Use one of these."
    )


def wires(detector: Detector) -> int | None:
    """Wires of one mode's detector: most clicks that it shows at once, None for any number.

    >>> wires("threshold"), wires("ppnr:4"), wires("pnr")
    (1, 4, None)
    """
    if detector == "pnr":
        return None
    return 1 if detector == "threshold" else int(detector.partition(":")[2])


@final
@dataclass(frozen=True, eq=False, repr=False)
class Counts:
    """Raw outcome numbers of one program; only devices make them. Equal content, equal counts.

    :param photons: photons sent in.
    :param outcomes: clicks per mode of each kept outcome, ``(K, M)`` uint8; copied and made read-only.
    :param numbers: how often each was seen, ``(K,)`` int64; likewise.
    :param other: shots whose outcome the device did not keep apart.
    :param detector: ``"pnr"`` (number-resolving), ``"threshold"`` (a click is one or more photons) or ``"ppnr:W"`` (one
        click for each of W wires that photons fell on).
    :param program: that was run, None when it is not known.
    :param fingerprint: of the program, ``""`` when it is not known; that of ``program`` where there is one.
    :param device: name of the device.
    :raises DataError: when shapes, signs or the detector's range do not fit.

    >>> counts = Counts(photons=2, outcomes=np.array([[1, 1, 0], [2, 0, 0]]), numbers=np.array([3, 1]))
    >>> counts.shots, counts.events, counts.collision_free().tolist()
    (4, 4, [3, 0, 0])
    >>> counts
    Counts(4 shots of 2 photons in 3 modes, 4 events, pnr)
    """

    photons: int
    outcomes: npt.NDArray[np.uint8] = field(repr=False)
    numbers: IntArray = field(repr=False)
    other: int = 0
    detector: Detector = "pnr"
    program: Program | None = field(default=None, repr=False)
    fingerprint: str = ""
    device: str = ""
    tag: str = ""
    job_id: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "photons", whole(self.photons, "photons", DataError, least=1))
        object.__setattr__(self, "other", whole(self.other, "other", DataError, least=0))
        outcomes, numbers = (
            integers(of, f"an entry of {name}", DataError)
            for name, of in (("outcomes", self.outcomes), ("numbers", self.numbers))
        )
        if outcomes.ndim != 2 or numbers.shape != (len(outcomes),):
            raise DataError(f"counts of shape {numbers.shape} do not fit outcomes of shape {outcomes.shape}.")
        if numbers.size and numbers.min() < 0:
            raise DataError("a count is negative. Counts are numbers of shots, zero or more.")
        about = float(numbers.sum(dtype=np.float64)) + self.other  # exact where it may matter only
        if about > _MOST_SHOTS / 2 and sum(numbers.tolist()) + self.other > _MOST_SHOTS:
            raise DataError(f"the counts are of more than {_MOST_SHOTS} shots. Check the numbers.")
        if outcomes.size and (outcomes.min() < 0 or outcomes.max() > 255):
            raise DataError("an outcome has a mode with less than 0 or more than 255 clicks. Check the outcomes.")
        most = wires(check_detector(self.detector, DataError))
        if most is not None and outcomes.size and outcomes.max() > most:
            clicks = "one click" if most == 1 else f"{most} clicks"
            raise DataError(f"a {self.detector} detector cannot report more than {clicks} a mode. Set detector='pnr'.")
        object.__setattr__(self, "fingerprint", self._checked_fingerprint())
        for name, array in (("outcomes", outcomes.astype(np.uint8)), ("numbers", numbers.astype(np.int64))):
            array.setflags(write=False)  # a copy: the caller may write on
            object.__setattr__(self, name, array)

    def _checked_fingerprint(self) -> str:
        if self.program is None:
            return self.fingerprint
        if not isinstance(self.program, Program):
            raise DataError(f"program is {short(self.program)}, no Program. Give the program that was run, or None.")
        if (self.program.modes, self.program.photons) != (self.outcomes.shape[1], self.photons):
            raise DataError(
                f"the program has {self.program.photons} photons in {self.program.modes} modes, the counts "
                f"{self.photons} in {self.outcomes.shape[1]}. Give the program that was run."
            )
        if self.fingerprint not in ("", self.program.fingerprint):
            raise DataError(
                f"the counts are of program {self.fingerprint[:12]}, not of {self.program.fingerprint[:12]}. "
                "Give the program that was run."
            )
        return self.program.fingerprint

    def __repr__(self) -> str:
        where = f", {short(self.device)}" if self.device else ""
        photons = f"{self.photons} photon{'' if self.photons == 1 else 's'} in {self.modes} modes"
        return f"Counts({self.shots:,} shots of {photons}, {self.events:,} events, {self.detector}{where})"

    def _repr_html_(self) -> Html:
        most = np.argsort(-self.numbers, kind="stable")[:_MOST_SHOWN]
        rows = [(_ket(self.outcomes[k]), f"{self.numbers[k]:,}", _share(self.numbers[k], self.shots)) for k in most]
        left = self.shots - int(self.numbers[most].sum())
        if left:
            others = max(0, int((self.numbers > 0).sum()) - len(most))
            rows.append((f"{others:,} others" if others else "not kept apart", f"{left:,}", _share(left, self.shots)))
        note = f"{self.events:,} shots show all {self.photons} photons; detectors: {self.detector}"
        title = f"{self.shots:,} shots of {self.device}" if self.device else f"{self.shots:,} shots"
        return notebook_table(title, rows, head=("clicks", "shots", "share"), note=note)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counts) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    def __reduce__(self) -> tuple[Any, ...]:  # copies are made anew, so that their arrays are read-only too
        return partial(type(self), **{f.name: getattr(self, f.name) for f in fields(self)}), ()

    @property
    def _content(self) -> tuple[object, ...]:
        labels = (self.photons, self.other, self.detector, self.fingerprint, self.device, self.tag, self.job_id)
        return self.outcomes.shape, self.outcomes.tobytes(), self.numbers.tobytes(), *labels

    @property
    def modes(self) -> int:
        """Number of modes M."""
        return int(self.outcomes.shape[1])

    @property
    def shots(self) -> int:
        """Windows with at least one click."""
        return int(self.numbers.sum()) + self.other

    @property
    def events(self) -> int:
        """Kept shots with as many clicks as photons were sent, bunched ones included."""
        return int(self.numbers[self.outcomes.sum(axis=1) == self.photons].sum())

    def collision_free(self) -> IntArray:
        """Numbers of the collision-free N-photon outcomes in lexicographic order, ``(C(M, N),)``."""
        out = np.zeros(len(collision_free_outcomes(self.modes, self.photons)), dtype=np.int64)
        keep = (self.outcomes.sum(axis=1) == self.photons) & (self.outcomes.max(axis=1, initial=0) <= 1)
        occupied = np.nonzero(self.outcomes[keep])[1].reshape(-1, self.photons)
        np.add.at(out, rank_collision_free(occupied, self.modes), self.numbers[keep])
        return out

    @classmethod
    def from_perceval(
        cls,
        found: perceval.BSCount | Mapping[str, Any],
        *,
        photons: int,
        detector: Detector = "pnr",
        program: Program | None = None,
    ) -> Counts:
        """Counts that Perceval brought, without the empty window.

        :param found: a ``BSCount``, ``BSSamples``, or the dictionary of results that holds one.
        :param photons: photons sent in, which Perceval's counts do not say.
        :param detector: what was behind the circuit, which they do not say either.
        :param program: that was run, if it is known.
        :raises DataError: for probabilities, annotated states, outcomes of several sizes, or counts of no shot.

        >>> import perceval as pcvl
        >>> bunched = pcvl.BSCount({pcvl.BasicState([1, 1, 0]): 7, pcvl.BasicState([0, 2, 0]): 3})
        >>> Counts.from_perceval(bunched, photons=2).events
        10
        """
        outcomes, numbers = counted(found)
        return cls(photons=photons, outcomes=outcomes, numbers=numbers, detector=detector, program=program)

    def to_perceval(self) -> perceval.BSCount:
        """The kept outcomes as a ``perceval.BSCount``."""
        import perceval as pcvl

        alone = merge([self])  # an outcome that is listed twice would lose one of its numbers in a dictionary
        seen = alone.numbers > 0
        pairs = zip(alone.outcomes[seen].tolist(), alone.numbers[seen].tolist(), strict=True)
        return pcvl.BSCount({pcvl.BasicState(state): number for state, number in pairs})

    def to_json(self) -> str:
        """One line of JSON; only outcomes that were seen are written."""
        seen = self.numbers > 0
        data = {
            "schema_version": 2,
            "photons": self.photons,
            "modes": self.modes,
            "outcomes": self.outcomes[seen].tolist(),
            "numbers": self.numbers[seen].tolist(),
            "other": self.other,
            "detector": self.detector,
            "program": _data_of(self.program),
            "fingerprint": self.fingerprint,
            "device": self.device,
            "tag": self.tag,
            "job_id": self.job_id,
        }
        return json.dumps(data, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Counts:
        """Read what :meth:`to_json` wrote; raises :class:`DataError` on anything else."""
        try:
            data: Mapping[str, Any] = json.loads(text)
            if data["schema_version"] not in (1, 2):
                raise DataError(f"counts have schema version {data['schema_version']}; this SDK reads 1 and 2.")
            rows, program = data["outcomes"], None if data["schema_version"] == 1 else data["program"]
            return cls(
                photons=data["photons"],
                # Of no type yet, so that 0.5 and 300 are found out; but numpy would make an empty list float.
                outcomes=np.array(rows, dtype=None if rows else np.uint8).reshape(len(rows), int(data["modes"])),
                numbers=np.array(data["numbers"], dtype=None if rows else np.int64),
                other=int(data["other"]),
                detector=str(data["detector"]),
                program=None if program is None else _program_of(program),
                fingerprint=str(data["program" if data["schema_version"] == 1 else "fingerprint"]),
                device=str(data["device"]),
                tag=str(data["tag"]),
                job_id=str(data["job_id"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise DataError(
                f"not a line of counts ({type(error).__name__}: {error}). Expected Counts.to_json()."
            ) from error


def _ket(outcome: npt.NDArray[np.uint8]) -> str:
    return f"|{','.join(map(str, outcome.tolist()))}>"


def _share(number: int, shots: int) -> str:
    return f"{100 * number / shots:.2f} %" if shots else ""


def _data_of(program: Program | None) -> object:
    """A program as JSON has it; None for one whose mesh is somebody's own, which no file can name."""
    with suppress(ProgramError):
        return None if program is None else json.loads(program.to_json())
    return None


def _program_of(data: object) -> Program:
    return Program.from_json(json.dumps(data))


def merge(counts: Iterable[Counts], *, program: Program | None = None) -> Counts:
    """Counts of several settings as if they were of one.

    :param program: what they all stand for; their own where it is one, unless given.
    :raises DataError: when photons, modes, detectors or devices differ, or there are none.

    >>> once = Counts(photons=1, outcomes=np.array([[1, 0], [0, 1]]), numbers=np.array([3, 1]))
    >>> merge([once, once]).numbers.tolist()
    [2, 6]
    """
    counts = tuple(counts)
    kinds = {(c.photons, c.modes, c.detector, c.device) for c in counts}
    if len(kinds) != 1:
        raise DataError(f"counts of {len(kinds)} kinds of setting cannot be merged. Merge those of one program.")
    outcomes, which = np.unique(np.concatenate([c.outcomes for c in counts]), axis=0, return_inverse=True)
    numbers = np.zeros(len(outcomes), dtype=np.int64)
    # The inverse is not flat in NumPy 2.0.0; outcomes repeat, so += would lose counts.
    np.add.at(numbers, which.ravel(), np.concatenate([c.numbers for c in counts]))
    alone = len({c.fingerprint for c in counts}) == 1
    found = program or (counts[0].program if alone else None)
    fingerprint = found.fingerprint if found is not None else counts[0].fingerprint if alone else ""
    other = sum(c.other for c in counts)
    return replace(counts[0], outcomes=outcomes, numbers=numbers, other=other, program=found, fingerprint=fingerprint)
