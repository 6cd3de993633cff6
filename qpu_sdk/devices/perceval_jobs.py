"""Results of Perceval's jobs, and Perceval's circuits, in files: texts of its own, read by the one reader of these.

A result says neither how many photons were sent nor through what, unless its iterations or the payload of the job
stand beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError, DataError, ProgramError
from ..photonics.detectors import efficiencies_from_perceval
from ..photonics.inputs import Inputs, photons_per_mode
from ..photonics.program import Program
from ..photonics.turns import LOCK
from ..words import short
from . import perceval_texts
from .counts_formats import OutcomeTable, printed_table, samples_table, table_of_pairs
from .perceval_archives import ARCHIVE
from .perceval_checks import Limits, UnreadableText, check_iteration

#: How a text of Perceval begins.
PERCEVAL = (":PCVL:", "pcvlar")
#: Most settings of a job.
_MOST_SETTINGS = 10_000
_LIMITS = Limits()
_STATES = frozenset({"BasicState", "StateVector", "SVDistribution"})
_CIRCUITS = frozenset({"ACircuit", "Experiment"})
_PAYLOADS = (
    _STATES
    | {"Experiment", "NoiseModel", "PostSelect", "CompilationAveraging", "DetectorBalancing", ARCHIVE}
    | {"DistinguishablePhotonMitigation", "PhotonRecycling", "ComputationIterator", "Computation", "Command"}
    | {"FockState", "NoisyFockState", "AnnotatedFockState"}
)


def perceval_table(text: str, **said: Any) -> OutcomeTable:
    """The table of a text ``:PCVL:BSCount:...``, ``BSSamples`` or ``BSDistribution``, which may be compressed.

    :param said: what else is known, in the words of :class:`OutcomeTable`.
    :raises DataError: for any other text, and what is damaged.
    """
    try:
        plain = perceval_texts.unpack(text, _LIMITS)
        if plain.startswith(":PCVL:BSDistribution:"):  # Perceval's own form is the printed one, with = for :
            found = printed_table(plain.removeprefix(":PCVL:BSDistribution:"), **said)
            if found is None:
                raise DataError("text of kind BSDistribution is cut off. Send it again.")
            # A single outcome of frequency 1 may be written without a point.
            return OutcomeTable(found.outcomes, [float(x) for x in found.numbers], **said)
        found = perceval_texts.read(plain, frozenset({"BSCount", "BSSamples"}), _LIMITS)
    except UnreadableText as error:
        raise DataError(
            f"not counts of Perceval: {error}. Expected serialize() of a BSCount, BSSamples or BSDistribution."
        ) from error
    return _table_of(found, **said)


def _table_of(found: Any, **said: Any) -> OutcomeTable:
    """The table of a ``BSCount`` or ``BSSamples``."""
    if hasattr(found, "items"):
        pairs = [(tuple(map(int, state)), int(number)) for state, number in found.items()]
        return table_of_pairs([state for state, _ in pairs], [number for _, number in pairs], **said)
    return samples_table((tuple(map(int, state)) for state in found), **said)


def job_tables(job: Mapping[str, Any], *, with_programs: bool) -> list[OutcomeTable]:
    """The settings of a job's answer, ``{"results": ...}`` or ``{"results_list": [...]}``, perhaps with its payload.

    :param with_programs: False to leave the payload aside.
    :raises DataError: when results are missing or of another kind, or do not fit the payload.
    """
    answer = _answer(job)
    entries = answer.get("results_list", [answer])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError("its results_list is no list of results. Expected the results of a job.")
    if len(entries) > _MOST_SETTINGS:
        raise DataError(f"it has {len(entries):,} results; {_MOST_SETTINGS:,} are read at most.")
    sent = _payload(job) if with_programs and "payload" in job else None
    return [
        _numbered(place, entry, None if sent is None else _sent(sent, place, entry, len(entries)))
        for place, entry in enumerate(entries)
    ]


def _answer(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of the answer that has results; a server puts it into a text."""
    results = job.get("results")
    if isinstance(results, str) and results.lstrip().startswith("{"):
        try:
            results = json.loads(results)
        except (ValueError, RecursionError):
            raise DataError("its results are cut off or not JSON. Fetch them again.") from None
    if isinstance(results, dict) and ("results" in results or "results_list" in results):
        return results
    if isinstance(results, list) and "results_list" not in job:
        return {"results_list": [one if isinstance(one, dict) else {"results": one} for one in results]}
    return job


def _numbered(place: int, entry: Mapping[str, Any], sent: tuple[Program, str] | None) -> OutcomeTable:
    try:
        said: dict[str, Any] = {"photons": _photons(entry)}
        if sent is not None:
            said = {"photons": sent[0].photons, "program": sent[0], "detector": sent[1] or None}
        results = entry.get("results")
        if not isinstance(results, str):
            raise DataError(f"results are {short(results)}. Expected a text of Perceval, such as ':PCVL:BSCount:...'.")
        if results.startswith(PERCEVAL):
            return perceval_table(results, **said)
        found = printed_table(results.strip(), **said)
        if found is None:
            raise DataError(f"results are {short(results)}. Expected a text such as ':PCVL:BSCount:...'.")
        return found
    except DataError as error:
        raise DataError(f"result {place + 1}: {error}") from error


def _photons(entry: Mapping[str, Any]) -> int | None:
    """Photons of the input state of an iteration; None where it has none."""
    iteration = entry.get("iteration")
    state = iteration.get("input_state") if isinstance(iteration, dict) else None
    if not isinstance(state, str):
        return None
    found = re.fullmatch(r"(?::PCVL:(?:Basic|Fock)State:)?(\|\d{1,3}(?:,\d{1,3})*+>)", state, re.ASCII)
    return None if found is None else sum(int(n) for n in found[1][1:-1].split(","))


# -- what was sent --------------------------------------------------------------------------------------------------


def _payload(job: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    """The experiment of a payload of version 1 or 2, and its iterations."""
    payload = job["payload"]
    if isinstance(payload, str) and payload.lstrip().startswith("{"):
        try:
            payload = json.loads(payload)
        except (ValueError, RecursionError):
            raise DataError("its payload is cut off or not JSON. Leave it out, and give programs.") from None
    if isinstance(payload, dict) and isinstance(payload.get("payload"), dict):  # with the names around it
        payload = payload["payload"]
    wanted = ("computation", "experiment", "iterator")
    if not isinstance(payload, dict) or not any(key in payload for key in wanted[:2]):
        raise DataError("its payload has neither computation nor experiment. Leave it out, and give programs.")
    try:
        found = perceval_texts.read_tree({key: payload[key] for key in wanted if key in payload}, _PAYLOADS, _LIMITS)
    except UnreadableText as error:
        raise DataError(f"its payload cannot be read: {error}. Leave it out, and give programs.") from error
    computation = found.get("computation")
    if computation is None:
        return found["experiment"], found.get("iterator") or []
    return computation.experiment, list(getattr(computation, "iterations", None) or [])


def _sent(sent: tuple[Any, list[Any]], place: int, entry: Mapping[str, Any], number: int) -> tuple[Program, str]:
    """The program of one result and the kind of its detectors, ``""`` where none are said.

    Results carry their own iteration, which a server may have printed with fewer digits; that of the payload counts
    where they are as many.
    """
    experiment, iterations = sent
    try:
        own = perceval_texts.read_tree(entry.get("iteration"), _STATES, _LIMITS)
        iteration = _matching(own, iterations, place, number)
        state = iteration.get("input_state")  # Perceval's object, or as text, which a program reads as well
        check_iteration({"circuit_params": iteration.get("circuit_params")})
        return _program(experiment, iteration.get("circuit_params") or {}, state), _detector(experiment)
    except (UnreadableText, ProgramError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"the program of result {place + 1} cannot be told: {short(str(error), 200)}. Give programs."
        ) from error


def _matching(own: Any, iterations: list[Any], place: int, number: int) -> dict[str, Any]:
    if own is None:
        if iterations and len(iterations) != number:
            raise DataError(f"{number} results without iterations, for {len(iterations)} iterations. Give programs.")
        return dict(iterations[place]) if iterations else {}
    if not isinstance(own, dict):
        raise DataError(f"its iteration is {short(own)}. Expected a table.")
    return own


def _program(experiment: Any, phases: Mapping[str, float], state: Any) -> Program:
    with LOCK:
        parameters = experiment.get_circuit_parameters()
        for name, value in phases.items():
            if name not in parameters:
                raise DataError(f"the circuit has no parameter {short(name)}. Give programs.")
            parameters[name].set_value(value)
        return Program.from_perceval(experiment, state)


def _detector(experiment: Any) -> str:
    if not any(experiment.detectors):
        return ""
    try:
        return efficiencies_from_perceval(experiment.detectors)[1]
    except ConfigError:  # of several kinds: the counts are read as whoever loads them says
        return ""


def perceval_program(text: str, inputs: Inputs | None) -> Program:
    """The program of a circuit or an experiment of Perceval as text, ``:PCVL:ACircuit:...``.

    :param inputs: where photons enter; an experiment's own unless given.
    :raises DataError: when it is neither, is damaged, or no program says it.
    """
    try:
        found = perceval_texts.read(text, _CIRCUITS, _LIMITS)
        own = getattr(found, "input_state", None)
        with LOCK:
            if inputs is not None and own is not None:
                photons_per_mode(own)  # a superposition is refused, whatever is given beside it
            return Program.from_perceval(found, inputs)
    except UnreadableText as error:
        raise DataError(f"not a circuit of Perceval: {error}. Expected serialize() of a Circuit.") from error
    except ProgramError as error:
        raise DataError(f"a circuit of Perceval: {error}") from error
