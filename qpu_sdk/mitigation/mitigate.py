"""Counts and a calibration record in, a distribution with error bars out.

======================  ===============================================================================================
``post-select``         relative frequencies of the collision-free N-click events: the baseline
``response``            detector efficiencies and dark counts are inverted, then selected
``subtract``            gated background subtraction of the N-click class; needs the circuit
``unfold``              EM unfolding of all click classes, stopped by held-out counts; without the circuit of loss only
``unfold, fuse``        the classes of fewer clicks are unfolded, and the N-click class fused with them: the best
``fuse``                fused with recycled photons instead, where the circuit is not known
``recycle``             photon recycling as Perceval does it, in closed form, to compare with
======================  ===============================================================================================

``auto`` takes what the counts can bear: with the circuit ``unfold, fuse``, or ``subtract`` where the classes of fewer
clicks were filtered away; without it, ``fuse`` where outcomes are many and events few, ``unfold`` below 500 events, and
``response`` else. What was left out and why is in the distribution's history. Every step that models the detectors does
so once: their response is part of ``unfold`` and ``subtract``. Correction comes before selection, always.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..calibration.record import CalibrationRecord
from ..errors import ConfigError, MitigationError
from ..photonics.counts import Counts
from ..photonics.program import Program
from .case import Case, check_match
from .distribution import Distribution, StepReport
from .methods import RUN
from .selection import post_select

STEPS = ("response", "unfold", "subtract", "fuse", "recycle", "post-select")
#: Without the circuit, loss is unfolded below so many events: with more, what it leaves out would show.
FEW_EVENTS = 500
#: Recycled photons help below so many events an outcome, in circuits of more modes than photons squared.
SPARSE = 5


def mitigate(
    counts: Counts,
    record: CalibrationRecord,
    *,
    program: Program | None = None,
    steps: str | Sequence[str] = "auto",
    seed: int,
) -> Distribution:
    """The best estimate of the conditional collision-free distribution that counts and record allow.

    :param counts: raw, of all click classes.
    :param program: what was run; steps that model the circuit need it.
    :param steps: ``"auto"``, or names out of :data:`STEPS`.
    :param seed: of held-out and resampled counts and of draws for error bars.
    :raises CalibrationMismatch: when the record is of another device, of fewer modes, other inputs or detectors.
    :raises MitigationError: when the counts have no event, or not what a step needs.
    :raises ConfigError: when steps are unknown or do not go together.
    :raises ProgramError: when a step has no model of the noise, such as detectors that count behind overlaps by pair.

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
    >>> [step.name for step in found.history if step.used], len(found.probabilities)
    (['unfold', 'fuse'], 10)
    """
    chosen = checked_steps(steps)
    check_match(counts, record, program)
    case = Case(counts, record, record.noise(), program, post_select(counts), seed)
    if chosen:
        return RUN[chosen](case, [])
    chosen, left_out = _choose(case)
    for names in dict.fromkeys((chosen, ("response",))):
        try:
            return RUN[names](case, left_out)
        except MitigationError as error:
            left_out.append(StepReport(", ".join(names), False, str(error)))
    return RUN[("post-select",)](case, left_out)


def checked_steps(steps: str | Sequence[str]) -> tuple[str, ...]:
    """The steps, empty for auto."""
    names = (steps,) if isinstance(steps, str) else tuple(steps)
    if names == ("auto",):
        return ()
    for name in names:
        if name not in STEPS:
            raise ConfigError(f"step {name!r} is unknown. Use auto, or of {', '.join(STEPS)}.")
    if "post-select" in names[:-1]:
        raise MitigationError(
            f"steps {', '.join(names)} select before they correct, which is worse than no correction. "
            "Put post-select last."
        )
    names = names[:-1] if len(names) > 1 and names[-1] == "post-select" else names
    if names not in RUN:
        known = "; ".join(", ".join(key) for key in RUN)
        raise ConfigError(f"steps {', '.join(names) or '(none)'} do not go together. Use auto, or one of: {known}.")
    return names


def _choose(case: Case) -> tuple[tuple[str, ...], list[StepReport]]:
    """The best steps that the counts can bear, and why the others were left out."""
    counts, events = case.counts, case.baseline.samples
    if case.program is not None and counts.detector == "pnr" and np.ndim(case.noise.indistinguishability):
        why = "detectors that count have no model of overlaps that differ by pair"
        return ("response",), [StepReport("unfold", False, why)]
    try:
        _ = case.model
    except MitigationError as error:
        return ("response",), [StepReport("unfold", False, str(error))]
    if case.program is not None:
        why = case.filtered.partition(";")[0]
        return (("subtract",), [StepReport("unfold", False, why)]) if why else (("unfold", "fuse"), [])
    unknown = StepReport("subtract", False, "the circuit was not given")
    why = "one photon has no class of fewer clicks" if counts.photons == 1 else case.filtered.partition(";")[0]
    if why:
        return ("response",), [unknown, StepReport("unfold", False, why)]
    outcomes = len(case.baseline.probabilities)
    if counts.modes > counts.photons**2 and events < SPARSE * outcomes:
        return ("fuse",), [unknown]
    if events < FEW_EVENTS:
        return ("unfold",), [unknown]
    why = "the circuit was not given, and with so many events loss alone is not enough"
    return ("response",), [unknown, StepReport("unfold", False, why)]
