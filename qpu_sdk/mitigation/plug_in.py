"""Our mitigation as a Perceval ``AMitigation``, for a ``SimulatedComputer`` or a ``RemoteComputer``.

    computer.mitigations = [CalibratedMitigation(record, seed=0)]

What Perceval 1.3.1 does with it (``abstract_computer.py`` and ``error_mitigation/`` in ``perceval/runtime``): it asks
which computations to run, runs them, and has the results parsed; filter, heralds and post-selection of the user are
applied to what comes back. Here that is one computation, with a filter of one click and no selection, because the lossy
shots are data too. With that filter a sample is a shot, so a limit of shots becomes one of samples as well, and one of
samples alone is the number of shots. What comes back are the collision-free outcomes of all photons:

* for ``probs`` a ``BSDistribution``; without a limit :data:`ASSUMED_SHOTS` shots are asked for. A simulator that
  takes a precision is asked for :data:`PRECISION`: by default it drops what is rare at the input, behind much loss
  most of what all detectors see. Its exact probabilities, those that are no whole numbers of shots, count as
  :data:`EXACT_SHOTS` shots. ``sample_count`` takes no precision: on an exact simulator behind much loss use
  ``probs``;
* for ``sample_count`` and ``samples`` as many samples as the limit says, in proportion to the estimate: they are
  expected numbers, not statistics. The errors are in the :class:`~qpu_sdk.mitigation.distribution.Distribution`;
* under the key :data:`KEY` of the results the distribution itself. Perceval keeps it in synchronous and asynchronous
  runs (of averaged compilations, that of the first). An ``Execution`` can be saved while it waits; once it has results,
  take the distribution out before.

``global_perf`` becomes the share of windows with a collision-free event of all photons. Everything is done on this
side: no server is believed to know this class, so a ``RemoteComputer`` sends ``mitigations=[]`` and gets raw counts.
To estimate shots (``estimate_required_shots``), take the mitigations off: mitigated results have lost no photon.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from copy import copy, deepcopy
from functools import cached_property
from typing import Any, final

import numpy as np
import perceval as pcvl
from perceval.runtime.computation import Computation
from perceval.runtime.error_mitigation import AMitigation, Imperfections
from perceval.serialization import Serialization
from perceval.utils import ConversionHelper

from ..arrays import FloatArray, IntArray, OutcomeArray, whole
from ..calibration.record import CalibrationRecord
from ..errors import CalibrationMismatch, ConfigError, MitigationError, ProgramError
from ..photonics.conversions import interferometer_of
from ..photonics.counts import Counts
from ..photonics.detectors import efficiencies_from_perceval
from ..photonics.fock import collision_free_outcomes, occupations
from ..photonics.meshes import RectangularMesh
from ..photonics.program import Program
from .distribution import Distribution
from .methods import AUTO, check_method
from .mitigate import mitigate

#: Where the results hold our :class:`~qpu_sdk.mitigation.distribution.Distribution`.
KEY = "distribution"
#: Shots of a computation that names no limit.
ASSUMED_SHOTS = 1_000_000
#: Shots that exact probabilities stand for.
EXACT_SHOTS = 10**12
#: Smallest probability of an input, relative to the largest, that an exact simulation keeps.
PRECISION = 1e-12
#: What Perceval calls it.
TAG = "qpu_sdk.CalibratedMitigation"
if TAG in AMitigation.KNOWN_MITIGATIONS:  # this module is loaded again: Perceval refuses a tag it has
    AMitigation.KNOWN_MITIGATIONS.remove(TAG)


@final
class CalibratedMitigation(AMitigation, tag=TAG):  # type: ignore[misc,call-arg]
    """Mitigation that knows the device from a calibration record.

    :param record: of the device that runs the computations.
    :param method: ``"auto"``, or a name of :data:`~qpu_sdk.mitigation.methods.METHODS`.
    :param seed: of whatever the method draws.
    :raises ConfigError: when the method is unknown.
    :raises MitigationError: when the seed is no whole number.

    >>> from perceval.runtime import SimulatedComputer
    >>> from qpu_sdk.calibration.known import vendor_record
    >>> from qpu_sdk.calibration.parts import Identity
    >>> identity = Identity("local:twin", "local", 3, (0, 2), "pnr")
    >>> figures = {"Transmittance (%)": 30.0, "HOM (%)": 90.0, "g2 (%)": 2.0}
    >>> record = vendor_record(figures, identity, utc="2026-03-01T12:00:00Z")
    >>> experiment = pcvl.Experiment(pcvl.GenericInterferometer(3, lambda i: pcvl.BS()))
    >>> experiment.with_input(pcvl.BasicState([1, 0, 1]))
    >>> computer = SimulatedComputer("SLOS")
    >>> computer.noise = pcvl.NoiseModel(transmittance=0.3, indistinguishability=0.9, g2=0.02)
    >>> computer.mitigations = [CalibratedMitigation(record, method="subtract", seed=0)]
    >>> result = computer.execute(Computation(computer.get_command("probs"), experiment))
    >>> result[KEY].method, sorted(map(str, result["results"]))
    ('subtract', ['|0,1,1>', '|1,0,1>', '|1,1,0>'])
    """

    def __init__(self, record: CalibrationRecord, *, method: str = AUTO, seed: int) -> None:
        self._record = record.to_json()  # Perceval saves texts and numbers of an execution that goes on elsewhere
        self.method = check_method(method)
        self.seed = whole(seed, "seed", MitigationError, least=0)

    @cached_property
    def record(self) -> CalibrationRecord:
        """What is known about the device."""
        return CalibrationRecord.from_json(self._record)

    def is_known_from(self, known_classes: list[str]) -> bool:
        """False: no server knows it, so it is applied on this side."""
        return False

    def extend_computation(self, computation: Computation, imperfections: Imperfections) -> list[Computation]:
        """The same computation, filtered by one click only.

        :raises MitigationError: unless single photons enter an interferometer.
        :raises CalibrationMismatch: when the record is of other modes or detectors.
        """
        self._check(_program_of(computation.experiment), imperfections)
        comp = deepcopy(computation)  # the user's own keeps its filter and its selection, for what comes back
        if comp.command.name == "samples":
            # Samples one by one would be millions of states, and say no more.
            comp.command.name = "sample_count"
        known = {name for name, *_ in comp.command.signature}
        wanted = {"precision": PRECISION} | computation.parameters | _limits(computation.parameters)
        comp.add_params(**{name: value for name, value in wanted.items() if name in known})
        comp.experiment.remove_all_ports()
        comp.experiment.clear_postselection()
        comp.experiment.min_detected_photons_filter(1)
        return [comp]

    def _parse_results(
        self, computation: Computation, results: list[dict[str, Any]], imperfections: Imperfections
    ) -> dict[str, Any]:
        program = _program_of(computation.experiment)
        self._check(program, imperfections)
        counts = self._counts(results[0], program, computation)
        found = mitigate(counts, self.record, program=program, method=self.method, seed=self.seed)
        parsed = copy(results[0])
        parsed["results"] = _outcomes(found, program, computation)
        share = float(counts.collision_free().sum() / counts.shots)
        parsed["global_perf"] = float(parsed.get("global_perf", 1.0)) * share
        if "physical_perf" in parsed:
            parsed["physical_perf"] = float(parsed["physical_perf"]) * share
        parsed[KEY] = found
        return parsed

    def _counts(self, result: Mapping[str, Any], program: Program, computation: Computation) -> Counts:
        shots = int(result.get("nb_shots_used") or _limits(computation.parameters)["max_samples"])
        may_be_exact = any(name == "precision" for name, *_ in computation.command.signature)
        outcomes, numbers = _numbers(result["results"], program.modes, shots, may_be_exact)
        return Counts(
            photons=program.photons,
            outcomes=outcomes,
            numbers=numbers,
            detector=self.record.detector,
            program=program,
            device=self.record.device,
        )

    def _check(self, program: Program, imperfections: Imperfections) -> None:
        record = self.record
        if program.modes > record.modes or not set(program.input_modes) <= set(record.input_modes):
            raise CalibrationMismatch(
                f"photons enter modes {program.input_modes} of {program.modes}; the record of {record.device} has "
                f"sources at {record.input_modes} of {record.modes} modes. Use those, or calibrate these."
            )
        try:
            _, kind = efficiencies_from_perceval(imperfections.detectors[: program.modes])
        except ConfigError as error:
            raise CalibrationMismatch(str(error)) from error
        if kind != record.detector:
            raise CalibrationMismatch(
                f"the computer has {kind} detectors, the record of {record.device} {record.detector} ones. "
                "Add the detectors of the record to the experiment, or calibrate again."
            )


def _make_storable() -> None:
    """Let Perceval save an ``Execution`` that has this mitigation, and read it in another process."""
    with contextlib.suppress(RuntimeError):  # loaded again: Perceval knows the tag
        Serialization.register_class(CalibratedMitigation, ["_record", "seed", "method"], tag=TAG)


_make_storable()


def _program_of(experiment: pcvl.Experiment) -> Program:
    """The program of an experiment, heralded photons included; what is selected comes afterwards.

    :raises MitigationError: when more than a photon enters a mode, or something is no interferometer.
    """
    try:
        unitary, inputs = interferometer_of(experiment, unselected=True)
        mesh = RectangularMesh(len(unitary))
        return Program(mesh, mesh.phases_of(unitary), inputs)
    except ProgramError as error:
        raise MitigationError(str(error)) from error


def _limits(parameters: Mapping[str, Any]) -> dict[str, int]:
    """Limits of a computation whose samples are shots."""
    shots = parameters.get("max_shots") or parameters.get("max_samples") or ASSUMED_SHOTS
    return {"max_samples": int(shots)} | ({"max_shots": int(shots)} if parameters.get("max_shots") else {})


def _numbers(found: Any, modes: int, shots: int, may_be_exact: bool) -> tuple[OutcomeArray, IntArray]:
    """Outcomes ``(K, M)`` and their numbers ``(K,)``; probabilities become the numbers they came from, or expected."""
    sampled = not isinstance(found, pcvl.BSDistribution)
    if sampled:
        found = ConversionHelper.convert_to("sample_count", found)
    pairs = [(list(state), float(value)) for state, value in found.items() if state.n and value > 0]
    if not pairs:
        raise MitigationError("the computer returned no event with a click. Use more shots.")
    outcomes = np.array([state for state, _ in pairs], dtype=np.uint8).reshape(-1, modes)
    values = np.array([value for _, value in pairs])
    if sampled:
        return outcomes, values.astype(np.int64)
    # Frequencies of samples are n / shots, so this is whole but for rounding; exact probabilities are not.
    times = values * shots
    exact = may_be_exact and np.abs(times - np.round(times)).max() > 1e-3
    return outcomes, apportion(values, EXACT_SHOTS if exact else shots)


def _outcomes(found: Distribution, program: Program, computation: Computation) -> Any:
    """The estimate as what the command returns, except that ``samples`` are still counted."""
    states = occupations(collision_free_outcomes(program.modes, program.photons), program.modes).tolist()
    if computation.command.name == "probs":
        values: list[Any] = found.probabilities.tolist()
        kind = pcvl.BSDistribution
    else:
        asked = [computation.parameters.get(name) for name in ("max_samples", "max_shots")]
        values = apportion(found.probabilities, min((n for n in asked if n), default=ASSUMED_SHOTS)).tolist()
        kind = pcvl.BSCount
    return kind({pcvl.BasicState(state): value for state, value in zip(states, values, strict=True) if value > 0})


def apportion(weights: FloatArray, total: int) -> IntArray:
    """Whole numbers in proportion to weights, by largest remainder, ``(K,)``; they add up to ``total``.

    >>> apportion(np.array([0.5, 0.3, 0.2]), 4).tolist()
    [2, 1, 1]
    """
    exact = weights * (total / weights.sum())
    numbers: IntArray = np.floor(exact).astype(np.int64)
    rest = total - int(numbers.sum())
    numbers[np.argsort(numbers - exact, kind="stable")[: max(rest, 0)]] += 1
    return numbers
