"""Counts and a calibration record in, a distribution with error bars out.

The methods and what each does are :data:`~qpu_sdk.mitigation.methods.METHODS`. ``auto`` takes the best one that the
counts can bear:

* with the circuit ``unfold-fuse``, or ``subtract`` where the classes of fewer clicks were filtered away;
* without it ``fuse`` where outcomes are many and events few, ``unfold`` of loss alone below 500 events, else
  ``response``;
* ``response``, and at last ``post-select``, where what the record says leaves no model of the counts.

What was left out and why is in the distribution's history. Detectors are modelled once: their response is part of
``unfold`` and ``subtract``. Correction comes before selection, always.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..arrays import whole
from ..calibration.record import CalibrationRecord
from ..errors import MitigationError
from ..photonics.counts import Counts
from ..photonics.program import Program
from .agreement import NOTHING
from .case import Case, as_resolved, check_match
from .distribution import Distribution, MethodReport
from .methods import AUTO, check_method, estimator_of
from .selection import post_select

#: Without the circuit, loss is unfolded below so many events: with more, what it leaves out would show.
FEW_EVENTS = 500
#: Recycled photons help below so many events an outcome, in circuits of more modes than photons squared.
SPARSE = 5


def mitigate(
    counts: Counts,
    record: CalibrationRecord,
    *,
    program: Program | None = None,
    method: str = AUTO,
    seed: int,
) -> Distribution:
    """The best estimate of the conditional collision-free distribution that counts and record allow.

    :param counts: raw, of all click classes.
    :param program: what was run, where the counts do not carry it; methods that model the circuit need it.
    :param method: ``"auto"``, or a name of :data:`~qpu_sdk.mitigation.methods.METHODS`.
    :param seed: of held-out and resampled counts and of draws for error bars.
    :returns: probabilities of the ``C(M, N)`` collision-free outcomes, lexicographic.
    :raises CalibrationMismatch: when the record is of another device, of fewer modes, other inputs or detectors.
    :raises MitigationError: when the counts have no event, or not what the method needs.
    :raises ConfigError: when the method is unknown.
    :raises ProgramError: when a method has no model of the noise, such as detectors that count behind overlaps by pair.

    >>> from qpu_sdk.calibration.known import known_record
    >>> from qpu_sdk.calibration.parts import Identity
    >>> from qpu_sdk.devices.local import LocalDevice, LocalModel
    >>> from qpu_sdk.photonics.meshes import BrickwallMesh
    >>> from qpu_sdk.photonics.noise import Noise
    >>> noise = Noise(indistinguishability=0.9, g2=0.02, transmittance=0.2)
    >>> program = Program(BrickwallMesh(5), np.arange(30.0), (0, 2, 4))
    >>> device = LocalDevice(seed=1, model=LocalModel(noise=noise), name="twin")
    >>> [counts] = device.submit([program], shots=100_000).result()
    >>> identity = Identity("twin", "twin", 5, (0, 2, 4), "threshold")
    >>> record = known_record(noise, identity)
    >>> found = mitigate(counts, record, program=program, seed=0)
    >>> mitigate(counts, record, program=program, seed=0).method
    'unfold-fuse'
    >>> mitigate(counts, record, program=program, method="subtract", seed=0).probabilities.shape
    (10,)
    """
    seed = whole(seed, "seed", MitigationError, least=0)
    program = getattr(counts, "program", None) if program is None else program
    check_method(method)
    counts = as_resolved(counts, record) if isinstance(counts, Counts) else counts
    check_match(counts, record, program)
    case = Case(counts, record, record.noise(), program, post_select(counts), seed).compared()
    if method != AUTO:
        return _estimate(case, method, [])
    best, left_out = _choose(case)
    for name in dict.fromkeys((best, "response")):  # tried once where it is the best
        try:
            made = _estimate(case, name, left_out)
        except MitigationError as error:
            left_out.append(MethodReport(name, False, str(error)))
            continue
        if name != "subtract" or made.diagnostics.subtracted is None or made.diagnostics.subtracted >= NOTHING:
            return made
        left_out.append(MethodReport(name, False, "what the model does not know of would grow more than what it knows"))
    return _estimate(case, "post-select", left_out)


def _estimate(case: Case, method: str, left_out: list[MethodReport]) -> Distribution:
    """What one method makes of the case, after what was left out for it."""
    made = estimator_of(method)(case)
    if not isinstance(made, Distribution):
        raise MitigationError(
            f"method {method} gave a {type(made).__name__}. It is of a package: return a Distribution, as case.result "
            "makes one."
        )
    return replace(made, method=method, history=(*left_out, *made.history), record_id=case.record.id)


def _choose(case: Case) -> tuple[str, list[MethodReport]]:
    """The best method that the counts can bear, and why better ones were left out."""
    if case.program is not None:
        method, why = _with_circuit(case)
        return method, [MethodReport("unfold-fuse", False, why)] if why else []
    method, why = _without_circuit(case)
    unknown = MethodReport("unfold-fuse", False, "the circuit was not given")
    return method, [unknown, MethodReport("unfold", False, why)] if why else [unknown]


def _with_circuit(case: Case) -> tuple[str, str]:
    """The method, and why it is not ``unfold-fuse``, ``""`` where it is."""
    if case.counts.detector != "threshold" and np.ndim(case.noise.indistinguishability):
        return "response", "detectors that count have no model of overlaps that differ by pair"
    if why := _no_model(case):
        return "response", why
    if why := case.filtered.partition(";")[0]:  # the reason, without the advice behind it
        return "subtract", why
    return "unfold-fuse", ""


def _without_circuit(case: Case) -> tuple[str, str]:
    """The method, and why it does not unfold loss, ``""`` where it does or does better."""
    counts, events, outcomes = case.counts, case.baseline.samples, len(case.baseline.probabilities)
    if why := _no_model(case):
        return "response", why
    if counts.photons == 1:
        return "response", "one photon has no class of fewer clicks"
    if why := case.filtered.partition(";")[0]:
        return "response", why
    if counts.modes > counts.photons**2 and events < SPARSE * outcomes:
        return "fuse", ""
    if events < FEW_EVENTS:
        return "unfold", ""
    return "response", "the circuit was not given, and with so many events loss alone is not enough"


def _no_model(case: Case) -> str:
    """Why the record gives no model of the counts, ``""`` where it does."""
    try:
        _ = case.model
    except MitigationError as error:
        return str(error)
    return ""
