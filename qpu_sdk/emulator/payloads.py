"""Payloads of the emulated cloud: what a client sent, decoded, and results encoded as the client reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

from ..devices.perceval_archives import ARCHIVE
from ..devices.perceval_checks import Limits, UnreadableText, check_iteration
from ..devices.perceval_texts import read_tree, written
from ..errors import ConfigError
from ..words import one_line, short
from .apart import outcomes_of

Command = Literal["probs", "sample_count", "samples"]
COMMANDS = ("sample_count", "samples", "probs")

_LIMITS = Limits(text=2**26, unpacked=2**26, samples=5_000_000)
#: Most settings of a job, and most outcomes of all its answers together.
MOST_SETTINGS, MOST_ANSWERED = 10_000, 5_000_000
#: Largest number of shots or samples of a setting.
MOST_SAMPLED = 10**12
_KINDS = frozenset({"Experiment", "BasicState", "StateVector", "SVDistribution", "NoiseModel", "PostSelect"})
_MITIGATIONS = {"CompilationAveraging", "DetectorBalancing", "DistinguishablePhotonMitigation", "PhotonRecycling"}
_ARCHIVED_KINDS = (
    _KINDS
    | _MITIGATIONS
    | {ARCHIVE, "ComputationIterator", "Computation", "Command", "FockState", "NoisyFockState", "AnnotatedFockState"}
)


@final
@dataclass(frozen=True)
class SentSetting:
    """One iteration of a job.

    :param iteration: what the client varied, as it must be echoed; None when the job has no iterations.
    :param digest: SHA-256 of everything that decides the result but the random numbers.
    """

    iteration: dict[str, Any] | None
    max_shots: int
    max_samples: int
    digest: str


@final
@dataclass(frozen=True)
class Submission:
    """A decoded payload.

    :param version: 1 (legacy payload) or 2 (Perceval 1.3).
    :param experiment: serialised; a fresh object from it costs a third of Perceval's copy of an experiment.
    :param noise: the user's noise for all settings, a Perceval NoiseModel or None.
    """

    version: int
    command: Command
    experiment: str
    settings: tuple[SentSetting, ...]
    noise: Any
    job_context: Any
    split_performance: bool


@final
@dataclass(frozen=True)
class SettingResult:
    """A finished setting: the entry of the answer, serialised, and what it cost."""

    entry: dict[str, Any]
    shots: int


def read_submission(payload: dict[str, Any], *, platform: str) -> Submission:
    """Decode a v1 or v2 payload.

    :raises ConfigError: when it is no payload of a command that is known here.
    :raises UnreadableText: when a text in it is damaged, too large, or would be evaluated.
    """
    try:
        version = 2 if "computation" in payload else 1
        parts = _decode_v2(payload) if version == 2 else _decode_v1(payload)
        return _submission(version, parts, platform)
    except (ConfigError, UnreadableText):
        raise
    except Exception as error:  # whatever Perceval's deserialiser says about a broken payload
        what = one_line(f"{type(error).__name__}: {error}")
        raise ConfigError(f"payload cannot be decoded ({what}). Send what Perceval 1.3 sends.") from error


def _decode_v1(payload: dict[str, Any]) -> dict[str, Any]:
    p = read_tree(payload, _KINDS, _LIMITS)
    if "experiment" not in p:
        raise ConfigError("payload has neither computation nor experiment. Send what Perceval 1.0 or newer sends.")
    return {**p, "noise": p["experiment"].noise, "job_context": p.get("job_context")}


def _decode_v2(payload: dict[str, Any]) -> dict[str, Any]:
    from perceval.runtime import ComputationIterator

    p = read_tree(payload, _ARCHIVED_KINDS, _LIMITS)
    computation = p["computation"]
    if p.get("mitigations"):
        raise ConfigError("payload asks for error mitigation, which is not emulated. Set mitigations to an empty list.")
    out = {
        "command": computation.command.name,
        "experiment": computation.experiment,
        "noise": p["noise"] if p.get("noise") is not None else computation.experiment.noise,
        "parameters": p.get("parameters"),
        **{k: computation.parameters.get(k) for k in ("max_shots", "max_samples")},
    }
    if isinstance(computation, ComputationIterator) and computation.iterations:
        out["iterator"] = computation.iterations
    return out


def _submission(version: int, parts: dict[str, Any], platform: str) -> Submission:
    command, experiment = parts["command"], parts["experiment"]
    if command not in COMMANDS:
        raise ConfigError(f"command {command!r} is unknown. Use one of {', '.join(COMMANDS)}.")
    iterator = parts.get("iterator")
    experiment.name = "emulated"  # the client's name for it must not decide the random numbers
    text = written(experiment)
    common = json.dumps([platform, command, text, repr(parts["noise"])])
    settings: list[SentSetting] = []
    iterations = iterator or [None]
    if len(iterations) > MOST_SETTINGS:
        raise UnreadableText(f"{len(iterations)} iterations; the limit is {MOST_SETTINGS}. Send several jobs.")
    for iteration in iterations:
        if iteration is not None:
            check_iteration(iteration, modes=experiment.circuit_size)
        asked = {**parts, **(iteration or {})}
        shots = _whole(asked, "max_shots")
        samples = _whole(asked, "max_samples") if asked.get("max_samples") is not None else shots
        content = json.dumps([common, shots, samples, written(iteration)], sort_keys=True)
        settings.append(SentSetting(iteration, shots, samples, hashlib.sha256(content.encode()).hexdigest()))
    _check_answers(command, experiment, settings)
    parameters = parts.get("parameters") or {}
    return Submission(
        version=version,
        command=command,
        experiment=text,
        settings=tuple(settings),
        noise=parts["noise"],
        job_context=parts.get("job_context"),
        split_performance=bool(parameters.get("compute_physical_logical_perf")),
    )


def _whole(asked: dict[str, Any], name: str) -> int:
    value = asked[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MOST_SAMPLED:
        raise UnreadableText(f"{name} is {short(value)}; it is 1..{MOST_SAMPLED:.0e}. Send such a number.")
    return value


def _check_answers(command: Command, experiment: Any, settings: Sequence[SentSetting]) -> None:
    """Refuse a job whose answers together would fill the memory."""
    wanted = [min(setting.max_shots, setting.max_samples) for setting in settings]
    if command == "samples":  # each is an object of its own in the answer
        if sum(wanted) > _LIMITS.samples:
            raise UnreadableText(f"{sum(wanted)} samples; the limit is {_LIMITS.samples}. Use sample_count.")
        return
    total = 0
    for setting, shots in zip(settings, wanted, strict=True):
        state = (setting.iteration or {}).get("input_state", experiment.input_state)
        outcomes = outcomes_of(experiment, state) if state is not None else 0  # without one the job ends in error
        total += outcomes if command == "probs" else min(outcomes, shots)
    if total > MOST_ANSWERED:
        raise UnreadableText(f"answers of up to {total} outcomes; the limit is {MOST_ANSWERED}. Send fewer settings.")


def encode_results(submission: Submission, results: Sequence[SettingResult]) -> str | None:
    """The ``results`` string of an answer; None when nothing is finished."""
    if not results:
        return None
    listed = submission.settings[0].iteration is not None
    out: dict[str, Any] = {"results_list": [r.entry for r in results]} if listed else dict(results[0].entry)
    if submission.job_context:
        out["job_context"] = submission.job_context
    return json.dumps(out)
