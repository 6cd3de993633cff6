"""Perceval's own error mitigations on any device: the presets none, low, medium and high, and photon recycling.

What Perceval 1.3.1 does (``perceval/runtime``: ``abstract_computer.py``, ``error_mitigation/``): each mitigation of an
ordered list extends every computation that the one before it asked for, and the results are parsed in reverse order.
The list is empty for ``none``, ``DetectorBalancing`` for ``low``; ``medium`` is ``CompilationAveraging(3)``,
``DistinguishablePhotonMitigation(1)`` and the balancing, ``high`` the same with 5 compilations and order 3; photon
recycling is in no preset and is run alone. For four photons these are 1, 1, 27, 75 and 1 settings. Perceval divides the
shots: equally over compilations, then in proportion to ``(T B) ** (-n / 2)`` over inputs of n photons.

Here Perceval plans and parses, and a :class:`~qpu_sdk.devices.base.Device` measures in between. What is ours:

* The command is ``probs``. ``sample_count`` asks for the same computations, but Perceval then draws the numbers that it
  returns from the mitigated distribution anew, with noise of their own (``utils/conversion.py``, global generator).
* The filter is one click unless asked otherwise. Perceval 1.3.1 cannot use a computation of which a filter leaves
  nothing: the balancing raises, and the distinguishable-photon mitigation by itself ends the process with a
  segmentation fault (``FockState(None)``). So a setting without a single event is refused before.
* The share of windows that pass the filter (``global_perf``), which a QPU tells, follows from the counts and from the
  probability that nothing clicks, by the click model; with equal detectors that does not depend on the unitary.
* A compilation is a setting of its own: the same phases with a whole turn added (:func:`recompiled`), for which a noisy
  twin draws other phase errors.
* Perceval knows one transmittance: the mean over the inputs of the program. The efficiencies of the detectors, relative
  to the best, go into its detectors.
* Negative probabilities: Perceval deletes them wherever it normalises or balances (``BSDistribution.normalize``); any
  that are left count as 0. What is returned is conditioned on collision-free events of all photons.
* Recycling swallows its own ``ValueError`` and then returns the raw data; this is found out and said.

Perceval's errors are left in: its g2 correction is too small by about n^2 with threshold detectors (the distribution is
normalised in place by ``photon_threshold_simplification``).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
import perceval as pcvl
from perceval.runtime import SimulatedComputer
from perceval.runtime.computation import Computation
from perceval.runtime.error_mitigation import (
    AMitigation,
    Imperfections,
    MitigationFactory,
    MitigationLevel,
    PhotonRecycling,
)

from ..arrays import FloatArray
from ..devices.base import Device
from ..errors import ConfigError, MitigationError
from ..photonics.click_model import click_distribution
from ..photonics.counts import Counts, Detector
from ..photonics.detectors import detectors_to_perceval
from ..photonics.fock import collision_free_outcomes, rank_collision_free
from ..photonics.noise import Noise, mean_pair
from ..photonics.program import Program
from ..photonics.turns import LOCK

Preset = Literal["none", "low", "medium", "high", "recycling"]
PRESETS: tuple[Preset, ...] = ("none", "low", "medium", "high", "recycling")


@final
@dataclass(frozen=True)
class PresetSetting:
    """One computation that Perceval asks for, as a program of ours.

    :param shots: windows with at least one click.
    :param least_clicks: events with fewer are not given to Perceval.
    """

    program: Program
    shots: int
    least_clicks: int


@final
@dataclass(frozen=True)
class PresetPlan:
    """All that a preset has measured for one program.

    :param shots: asked for, over all settings.
    :param least_clicks: the user's filter.
    """

    preset: Preset
    program: Program
    noise: Noise = field(repr=False)
    detector: Detector
    shots: int
    least_clicks: int
    settings: tuple[PresetSetting, ...] = field(repr=False)


@final
@dataclass(frozen=True, eq=False)
class PresetResult:
    """What Perceval makes of the counts.

    :param probabilities: conditional on a collision-free event, ``(C(M, N),)``, in our order.
    :param settings: that were run.
    :param shots: that were used.
    :param skipped: why Perceval returned the raw data, ``""`` when it did not.
    """

    preset: Preset
    probabilities: FloatArray = field(repr=False)
    settings: int
    shots: int
    skipped: str = ""


def plan_preset(
    preset: Preset,
    program: Program,
    noise: Noise,
    *,
    shots: int,
    detector: Detector = "threshold",
    least_clicks: int = 1,
) -> PresetPlan:
    """What Perceval asks to be measured: the settings and how the shots are divided over them.

    :param noise: what is known about the device; Perceval divides the shots by it.
    :param shots: over all settings.
    :param detector: what its detectors resolve.
    :param least_clicks: Perceval's ``min_detected_photons_filter``, 1 to N.
    :raises ConfigError: for an unknown preset.
    :raises MitigationError: when Perceval refuses, for example because there are fewer shots than settings.

    >>> from qpu_sdk.photonics.meshes import RectangularMesh
    >>> program = Program(RectangularMesh(5), np.zeros(25), (0, 1, 2, 4))
    >>> noise = Noise(indistinguishability=0.9, transmittance=0.25)
    >>> [len(plan_preset(preset, program, noise, shots=1000).settings) for preset in PRESETS]
    [1, 1, 27, 75, 1]
    >>> [(s.program.photons, s.shots) for s in plan_preset("medium", program, noise, shots=1000).settings[:9:4]]
    [(4, 94), (1, 13), (3, 47)]
    """
    if not 1 <= least_clicks <= program.photons:
        raise ConfigError(f"least_clicks is {least_clicks}; it must be within 1..{program.photons}.")
    computer, computation = _perceval(
        preset, program, imperfections_of(noise, program, detector), shots=shots, least_clicks=least_clicks
    )
    try:
        [computations] = computer.extend_computation(computation)
    except (ValueError, RuntimeError, TypeError) as error:
        raise MitigationError(f"Perceval does not plan {preset} with {shots} shots: {error}.") from error
    settings = tuple(_setting(program, one, shots) for one in computations)
    return PresetPlan(preset, program, noise, detector, shots, least_clicks, settings)


def measure_preset(plan: PresetPlan, device: Device, *, tag: str = "") -> list[Counts]:
    """Run the settings of a plan, those of equal shots in one job; counts in the order of the settings.

    :raises ProgramError: when a setting does not fit the device.
    """
    out: dict[int, Counts] = {}
    limit = device.spec.max_programs or len(plan.settings)
    for shots in dict.fromkeys(setting.shots for setting in plan.settings):
        same = [i for i, setting in enumerate(plan.settings) if setting.shots == shots]
        for part in (same[i : i + limit] for i in range(0, len(same), limit)):
            job = device.submit([plan.settings[i].program for i in part], shots=shots, tag=tag)
            out.update(zip(part, job.result(), strict=True))
    return [out[i] for i in range(len(plan.settings))]


def apply_preset(plan: PresetPlan, counts: Sequence[Counts]) -> PresetResult:
    """Let Perceval make a distribution of the counts of a plan's settings.

    :param counts: one for every setting, in their order.
    :raises MitigationError: when the counts are not those of the settings, or Perceval cannot use them.

    >>> from qpu_sdk.devices.local import LocalDevice, LocalModel
    >>> from qpu_sdk.photonics.meshes import IsometryMesh
    >>> noise = Noise(indistinguishability=0.8, transmittance=0.5)
    >>> program = Program(IsometryMesh(3, 2), np.arange(IsometryMesh(3, 2).declared), (0, 1))
    >>> plan = plan_preset("medium", program, noise, shots=90_000)
    >>> result = apply_preset(plan, measure_preset(plan, LocalDevice(seed=1, model=LocalModel(noise=noise))))
    >>> len(result.probabilities), result.settings, result.shots
    (3, 9, 90000)
    """
    counts = tuple(counts)
    _check(plan, counts)
    known = imperfections_of(plan.noise, plan.program, plan.detector)
    computer, computation = _perceval(
        plan.preset, plan.program, known, shots=plan.shots, least_clicks=plan.least_clicks
    )
    results = [_as_perceval(setting, c, plan) for setting, c in zip(plan.settings, counts, strict=True)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of curve_fit, about covariances that recycling does not use
            parsed = computer.post_process(computation, results, known)
    except (ValueError, RuntimeError, TypeError, ZeroDivisionError, OverflowError) as error:
        what = f"{type(error).__name__}: {error}"
        raise MitigationError(f"Perceval's {plan.preset} cannot use the counts ({what}). Use more shots.") from error
    probabilities = _collision_free(parsed["results"], plan.program)
    return PresetResult(
        plan.preset,
        probabilities,
        settings=len(counts),
        shots=sum(c.shots for c in counts),
        skipped=_skipped(plan, counts[0], probabilities),
    )


def recompiled(program: Program, index: int) -> Program:
    """The same unitary as another setting: whole turns of the first phase, 4 pi because beam splitters halve angles.

    >>> from qpu_sdk.photonics.meshes import BrickwallMesh
    >>> one = Program(BrickwallMesh(4), np.arange(18.0), (0, 3))
    >>> two = recompiled(one, 2)
    >>> bool(abs(one.mesh.unitary(one.phases) - two.mesh.unitary(two.phases)).max() < 1e-13)
    True
    >>> one.fingerprint == two.fingerprint, recompiled(one, 0) is one
    (False, True)
    """
    if index == 0:
        return program
    phases = np.array(program.phases)
    phases[0] += 4.0 * math.pi * index
    return Program(program.mesh, phases, program.input_modes)


def imperfections_of(noise: Noise, program: Program, detector: Detector = "threshold") -> Imperfections:
    """What Perceval is told about the device; dark counts and differences between inputs or pairs it cannot be told.

    :raises ConfigError: when a detector sees nothing.
    """
    here = noise.at(program)
    model = Noise(
        brightness=here.brightness,
        indistinguishability=mean_pair(here.indistinguishability),
        g2=here.g2,
        transmittance=float(here.transmittance.mean()),
    )
    return Imperfections(model.to_perceval(), detectors_to_perceval(here.efficiency, detector))


def _mitigations(preset: Preset) -> list[AMitigation]:
    if preset not in PRESETS:
        raise ConfigError(f"preset {preset!r} is unknown. Use one of {', '.join(PRESETS)}.")
    if preset == "recycling":
        return [PhotonRecycling()]  # of no preset, as in Perceval
    factory = MitigationFactory(MitigationLevel[preset])
    for averaging in factory.build():
        if hasattr(averaging, "starting_seed"):  # otherwise drawn from the global generator
            factory.set_compilation_averaging(averaging.repetitions, 0)
    return list(factory.build())


def _perceval(
    preset: Preset, program: Program, known: Imperfections, *, shots: int, least_clicks: int
) -> tuple[SimulatedComputer, Computation]:
    """A computer that plans and parses, and never runs, and the computation that a user would give it."""
    computer = SimulatedComputer("SLOS")
    computer.noise = known.noise
    computer.mitigations = _mitigations(preset)
    experiment = pcvl.Experiment(program.modes)
    experiment.add(0, pcvl.Unitary(pcvl.Matrix(program.mesh.unitary(program.phases))))
    for mode, detector in enumerate(known.detectors):
        experiment.add(mode, detector)
    with LOCK:
        experiment.with_input(pcvl.BasicState(list(program.input_state)))
    experiment.min_detected_photons_filter(least_clicks)
    computation = Computation(computer.get_command("probs"), experiment)
    computation.add_params(max_shots=int(shots))
    return computer, computation


def _setting(program: Program, computation: Computation, shots: int) -> PresetSetting:
    experiment, parameters = computation.experiment, computation.parameters
    inputs = tuple(mode for mode, photons in enumerate(experiment.input_state) if photons)
    return PresetSetting(
        recompiled(Program(program.mesh, program.phases, inputs), parameters.get("compilation_seed", 0)),
        int(parameters.get("max_shots", shots)),
        int(experiment.min_photons_filter),
    )


def _check(plan: PresetPlan, counts: Sequence[Counts]) -> None:
    if len(counts) != len(plan.settings):
        raise MitigationError(f"{len(counts)} counts for {len(plan.settings)} settings. Give one for each.")
    for i, (setting, c) in enumerate(zip(plan.settings, counts, strict=True)):
        ours = setting.program
        if (c.modes, c.photons) != (ours.modes, ours.photons) or c.fingerprint not in ("", ours.fingerprint):
            raise MitigationError(f"counts {i} are not of setting {i}. Give them in the order of the settings.")
        if c.detector != plan.detector:
            raise MitigationError(
                f"counts {i} are of {c.detector} detectors, the plan is for {plan.detector} ones. Use one kind."
            )


def _as_perceval(setting: PresetSetting, counts: Counts, plan: PresetPlan) -> dict[str, Any]:
    """Counts as the dict that a computer returns for ``probs``; its numbers must be Python's own floats."""
    keep = (counts.outcomes.sum(axis=1) >= setting.least_clicks) & (counts.numbers > 0)
    events = int(counts.numbers[keep].sum())
    if events == 0:
        raise MitigationError(
            f"a setting of {plan.preset} has no event of {setting.least_clicks} clicks or more in {counts.shots} "
            "shots. Use more shots or a lower filter."
        )
    pairs = zip(counts.outcomes[keep].tolist(), (counts.numbers[keep] / events).tolist(), strict=True)
    return {
        "results": pcvl.BSDistribution({pcvl.BasicState(state): p for state, p in pairs}),
        "global_perf": float(events / counts.shots * (1.0 - _nothing(setting.program, plan.noise))),
        "nb_shots_used": counts.shots,
    }


def _nothing(program: Program, noise: Noise) -> float:
    """Probability that no detector fires in a window."""
    columns = program.mesh.columns(program.phases, program.input_modes)
    _, p = click_distribution(columns[None], noise.at(program), most_clicks=0)  # the empty pattern alone
    return float(p[0, 0])


def _collision_free(found: pcvl.BSDistribution, program: Program) -> FloatArray:
    """Conditional collision-free distribution of all photons, negative ones counted as 0, ``(C(M, N),)``."""
    out = np.zeros(len(collision_free_outcomes(program.modes, program.photons)))
    pairs = [(list(state), float(p)) for state, p in found.items() if state.n == program.photons]
    pairs = [(state, p) for state, p in pairs if max(state) == 1]
    if pairs:
        states, p = np.array([state for state, _ in pairs]), np.array([value for _, value in pairs])
        where = np.nonzero(states)[1].reshape(-1, program.photons)
        out[rank_collision_free(where, program.modes)] = np.maximum(p, 0.0)
    if not out.sum() > 0.0:
        raise MitigationError(f"Perceval left no collision-free {program.photons}-photon event. Use more shots.")
    return np.asarray(out / out.sum())


def _skipped(plan: PresetPlan, counts: Counts, probabilities: FloatArray) -> str:
    """Why recycling returned the raw data, when it did."""
    if plan.preset != "recycling":
        return ""
    if plan.program.photons < 3:
        return f"recycling needs 3 photons or more; the program has {plan.program.photons}"
    raw = counts.collision_free()
    if raw.sum() and np.allclose(probabilities, raw / raw.sum(), rtol=0.0, atol=1e-12):
        n = plan.program.photons
        return f"recycling met a ValueError; it needs events of {n}, {n - 1} and {n - 2} clicks"
    return ""
