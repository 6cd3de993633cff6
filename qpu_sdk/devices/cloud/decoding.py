"""What a server sends, read without trusting it.

Its texts go through the one reader of Perceval texts. Perceval's clients import the function that an answer names;
here converters come from a list.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from ...errors import DataError, DeviceError
from ...photonics.counts import Counts, Detector
from ...photonics.program import Program
from ...words import short
from .. import perceval_texts
from ..perceval_checks import Limits, UnreadableText

#: Largest text that is unpacked, bytes.
MAX_TEXT = 256 * 2**20
#: More counts than this in one result are an error of the server.
MAX_SHOTS = 2**53  # beyond, a number that went through a float is not exact
#: A result of more than so many times the shots that were asked for is none; of fewer it is told.
MOST_EXCESS = 100
#: Kinds of Perceval's ``:PCVL:KIND:text`` that hold data only.
DATA_KINDS = frozenset({"BSCount", "BSSamples"})
HARDWARE_KINDS = frozenset({"Experiment"})
#: Phases closer than this are the same, radians.
#: A server may print them with fewer digits than it got.
SAME_PHASE = 1e-9
#: Converters that a server may name for raw samples; they are applied here, never imported from the answer.
CONVERTERS = frozenset({("perceval.utils", "samples_to_sample_count")})

Outcomes = list[tuple[tuple[int, ...], int]]


@final
class UnusableAnswer(DeviceError):
    """The server answered with something that is not a result."""


@final
@dataclass(frozen=True, eq=False)
class Sent:
    """What a job was sent with: enough to tell its results apart.

    :param programs: in the order of the job's iterations.
    :param iterations: the iterations as they went into the payload.
    """

    programs: tuple[Program, ...]
    iterations: tuple[Mapping[str, Any], ...]

    @property
    def modes(self) -> int:
        """Of the circuit that all programs ran on."""
        return max(program.modes for program in self.programs)

    @property
    def most_bytes(self) -> int:
        """The longest answer that these settings can have: texts packed or not, with all that stands beside them."""
        beside = sum(len(json.dumps(dict(iteration), default=str)) for iteration in self.iterations)
        texts = sum(self.limits(place).text for place in range(len(self.programs)))
        return min(2 * (texts + beside) + 2**20, 2 * MAX_TEXT)

    def shots(self, place: int) -> float:
        """That one setting was asked to run; unlimited where the iteration does not say."""
        asked = self.iterations[place].get("max_shots")
        return float(asked) if isinstance(asked, int) else math.inf

    def limits(self, place: int) -> Limits:
        """How large the counts of one setting can be, whatever the server packed them into."""
        program, shots = self.programs[place], 2 * self.shots(place)
        # A source may emit two photons for one: other outcomes are dark counts, and few.
        outcomes = min(shots, math.comb(self.modes + 2 * program.photons, self.modes) + 10_000)
        one = 2 * (self.modes + program.photons) + 24  # |12,0,...,0>=count;
        size = int(min(1000 + outcomes * one + 10 * min(shots, Limits().samples), MAX_TEXT))
        return Limits(text=2 * size, unpacked=size, outcomes=int(min(outcomes, size)) + 1, samples=size)


def unpacked(text: str, limits: Limits | None = None) -> str:
    """``:PCVL:zip:`` and ``pcvlar:zip:`` undone; other text as it is.

    :raises UnusableAnswer: when it is damaged or unpacks to more than the limits, or :data:`MAX_TEXT` bytes.
    """
    try:
        return perceval_texts.unpack(text, limits or _limits())
    except UnreadableText as error:
        raise UnusableAnswer(str(error)) from None


def perceval_object(text: object, kinds: frozenset[str], limits: Limits | None = None) -> Any:
    """The Perceval object of a text of one of these kinds; raises :class:`UnusableAnswer` for anything else.

    Of an experiment, only size and detectors are read.
    """
    try:
        if kinds == HARDWARE_KINDS:
            return perceval_texts.hardware(text, limits or _limits())
        return perceval_texts.read(text, kinds, limits or _limits())
    except UnreadableText as error:
        raise UnusableAnswer(str(error)) from None


def _limits() -> Limits:
    return Limits(text=MAX_TEXT, unpacked=MAX_TEXT)


def command_names(specs: Mapping[str, Any]) -> frozenset[str]:
    """Commands of a platform, from ``available_commands`` or the archive ``commands``."""
    listed = specs.get("available_commands")
    names = {str(name) for name in listed} if isinstance(listed, list) else set()
    archive = specs.get("commands")
    if isinstance(archive, str):
        # an archive lists its strings with their lengths; no object needs to be built to see the names
        with contextlib.suppress(UnusableAnswer):
            names |= set(re.findall(r"\bstr \d+ (probs|samples|sample_count)\b", unpacked(archive)))
    return frozenset(names)


def decode_result(
    answer: Mapping[str, Any], sent: Sent, *, detector: Detector, labels: Mapping[str, str]
) -> list[Counts | None]:
    """Counts of every program of a job, ``None`` where the answer has none.

    Results are told apart by the iteration that stands beside them, not by their place in the list.

    :param labels: ``device``, ``tag`` and ``job_id`` of the counts.
    :raises UnusableAnswer: when there are no results, or one that cannot be attributed.
    """
    inner = _inner(answer)
    entries = inner.get("results_list")
    if entries is None and "results" in inner and len(sent.programs) == 1:
        entries = [inner]
    if not isinstance(entries, list):
        raise UnusableAnswer("there are no results in the answer")
    out: list[Counts | None] = [None] * len(sent.programs)
    for place, entry in _places(entries, sent):
        outcomes = _outcomes(entry, sent.limits(place))
        if any(len(state) != sent.modes or max(state) > 255 for state, _ in outcomes):
            raise UnusableAnswer(f"an outcome does not fit the circuit's {sent.modes} modes")
        out[place] = _counts(outcomes, sent.programs[place], detector=detector, labels=labels)
    return out


def _inner(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The dictionary inside the text ``results``."""
    text = answer.get("results")
    try:
        inner = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        raise UnusableAnswer("the results are cut off or not JSON") from None
    if not isinstance(inner, dict):
        raise UnusableAnswer(f"there are no results in the answer ({type(inner).__name__})")
    context = inner.get("job_context")
    mapping = context.get("result_mapping") if isinstance(context, dict) else None
    if mapping is not None and (not isinstance(mapping, list) or tuple(map(str, mapping)) not in CONVERTERS):
        raise UnusableAnswer(
            f"the server names the converter {short(mapping)}, which is not one of Perceval's for samples"
        )
    return inner


def _places(entries: Sequence[Any], sent: Sent) -> list[tuple[int, Mapping[str, Any]]]:
    """Which program each entry belongs to; equal iterations are served in order."""
    waiting: defaultdict[Hashable, list[int]] = defaultdict(list)
    phases = []
    for place, iteration in enumerate(sent.iterations):
        key, numbers = _key(iteration)
        waiting[key].append(place)
        phases.append(numbers)
    if not all(isinstance(e, dict) for e in entries):
        raise UnusableAnswer("a result is not a JSON object")
    named = [isinstance(e.get("iteration"), dict) for e in entries]
    if not all(named):
        if any(named) or len(entries) != len(sent.programs):
            raise UnusableAnswer(f"{len(entries)} results without their iterations, for {len(sent.programs)} programs")
        return list(enumerate(entries))
    found = []
    for entry in entries:
        key, numbers = _key(entry["iteration"])
        same = (p for p in waiting[key] if np.allclose(phases[p], numbers, rtol=0.0, atol=SAME_PHASE))
        first = next(same, None)
        if first is None:
            raise UnusableAnswer("a result belongs to no iteration of this job")
        waiting[key].remove(first)
        found.append((first, entry))
    return found


def _key(iteration: Mapping[str, Any]) -> tuple[Hashable, list[float]]:
    """The input state with the names of the phases, and their values in radians, whatever else there is."""
    params = iteration.get("circuit_params")
    pairs = sorted(params.items()) if isinstance(params, dict) else []
    state = str(iteration.get("input_state")).removeprefix(":PCVL:BasicState:").removeprefix(":PCVL:FockState:")
    try:
        return (state, *(name for name, _ in pairs)), [float(value) for _, value in pairs]
    except (TypeError, ValueError, OverflowError):
        raise UnusableAnswer("an iteration has a phase that is not a number") from None


def _outcomes(entry: Mapping[str, Any], limits: Limits) -> Outcomes:
    """Outcomes and how often each was seen, an outcome once."""
    text = entry.get("results")
    text = unpacked(text, limits) if isinstance(text, str) else text
    found = perceval_object(text, DATA_KINDS, limits)
    if hasattr(found, "items"):
        outcomes = [(tuple(state), int(number)) for state, number in found.items()]
        if len({state for state, _ in outcomes}) != str(text).count("|"):  # Perceval keeps the last of the numbers
            raise UnusableAnswer("an outcome stands in the counts more than once")
        return outcomes
    counted: defaultdict[tuple[int, ...], int] = defaultdict(int)
    for state in found:  # samples, one by one
        counted[tuple(state)] += 1
    return list(counted.items())


def _counts(outcomes: Outcomes, program: Program, *, detector: Detector, labels: Mapping[str, str]) -> Counts:
    """Counts of the program's own modes; shots with clicks in modes it does not use are not kept apart."""
    seen = [(state, number) for state, number in outcomes if number > 0 and any(state)]
    own = [(state[: program.modes], number) for state, number in seen if not any(state[program.modes :])]
    if sum(number for _, number in seen) >= MAX_SHOTS:
        raise UnusableAnswer("there are more counts than any device can make")
    rows = np.array([state for state, _ in own], dtype=np.uint8).reshape(len(own), program.modes)
    try:
        return Counts(
            photons=program.photons,
            outcomes=rows,
            numbers=np.array([number for _, number in own], dtype=np.int64),
            other=sum(number for _, number in seen) - sum(number for _, number in own),
            detector=detector,
            program=program,
            device=labels["device"],
            tag=labels["tag"],
            job_id=labels["job_id"],
        )
    except DataError as error:
        raise UnusableAnswer(str(error)) from None


def check_plausible(counts: Sequence[Counts | None], sent: Sent) -> None:
    """Refuse what no machine brings that was asked for this; more clicks than photons now and then are its noise.

    :param counts: of every program, as :func:`decode_result` gives them.
    :raises UnusableAnswer: names what is wrong.
    """
    for place, one in enumerate(counts):
        if one is None:
            continue
        if one.shots > MOST_EXCESS * sent.shots(place):
            raise UnusableAnswer(f"there are {one.shots} shots where {sent.shots(place):.0f} were asked for")
        many = int(one.numbers[one.outcomes.sum(axis=1) > one.photons].sum())
        if 2 * many > one.shots:  # a source may emit more than it should, and a detector click for nothing, but rarely
            raise UnusableAnswer(f"{many} of {one.shots} shots have more clicks than the {one.photons} photons sent")
