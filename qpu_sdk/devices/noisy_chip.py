"""The physics of a noisy :class:`~qpu_sdk.devices.local.LocalDevice`: exact distributions of one shot.

The click model gives them (:mod:`qpu_sdk.photonics.click_model`), or, to check it, Perceval's simulator at the finest
precision it has.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, final

import numpy as np

from ..arrays import FloatArray, OutcomeArray
from ..errors import ConfigError, ProgramError
from ..photonics.click_model import check_click_work
from ..photonics.counts import Detector, wires
from ..photonics.detection import detected_distribution
from ..photonics.detectors import detectors_to_perceval
from ..photonics.interferometer import Mesh
from ..photonics.noise import Noise, by_mode
from ..photonics.patterns import MAX_SETS, count_fock_states
from ..photonics.program import Program
from ..photonics.program_noise import enough_counts
from ..photonics.turns import LOCK
from ..seeds import child_seed

NoisyEngine = Literal["clicks", "perceval"]

#: Share of the shots whose patterns need not be kept apart, because they have too many counts.
NEGLECTED = 1e-9
#: The same behind detectors that count, where so few would be more than so many outcomes.
RARE, MANY = (1e-7, 1e-5), 250_000
#: Most Fock outcomes of 2N photons that Perceval's simulator is asked for; 12 modes and 4 photons are 75 582.
MAX_PERCEVAL_OUTCOMES = 100_000
#: Most additions of one photon to one outcome behind detectors that count.
MAX_STEPS = 5_000_000_000
#: Bytes that remembered distributions may take together.
MAX_REMEMBERED = 256_000_000


@final
@dataclass(frozen=True, eq=False)
class NoisyChip:
    """What one device does to programs, errors of its phases included.

    :param collision_free: keep only patterns of N counts in N modes apart.
    :param seed: decides the errors of the phases, together with the program.
    :raises ConfigError: when the engine does not have such noise.
    """

    noise: Noise
    detector: Detector
    engine: NoisyEngine
    collision_free: bool
    seed: int
    _memory: OrderedDict[str, tuple[OutcomeArray, FloatArray]] = field(default_factory=OrderedDict, repr=False)

    def __post_init__(self) -> None:
        by_pair = np.ndim(self.noise.indistinguishability) == 2
        if self.engine == "clicks":
            self.noise.check_model()
        elif by_pair or np.any(self.noise.dark_counts):
            raise ConfigError("perceval has neither dark counts nor overlaps that differ by pair. Use engine=auto.")
        if self.detector != "threshold" and by_pair:
            raise ConfigError("only threshold detectors have overlaps that differ by pair. Use detector=threshold.")

    @property
    def max_modes(self) -> int:
        """Most modes of a program."""
        return 62 if self.noise.modes is None else self.noise.modes  # click patterns are signed 64-bit numbers

    def check(self, program: Program) -> None:
        """Raise :class:`ProgramError` when a program takes too much memory or time, or no photon of it arrives."""
        modes, photons = program.modes, program.photons
        if self.engine == "perceval":
            if (size := math.comb(modes + 2 * photons - 1, 2 * photons)) > MAX_PERCEVAL_OUTCOMES:
                raise ProgramError(
                    f"{photons} photons in {modes} modes have {size} outcomes with second photons; engine=perceval "
                    f"takes {MAX_PERCEVAL_OUTCOMES}. Use engine=auto."
                )
            return
        most = self._most_counts(program)
        if self.detector == "threshold":
            check_click_work(modes, photons, most)
            return
        if (size := count_fock_states(modes, most)) > MAX_SETS:
            raise ProgramError(
                f"{most} counts in {modes} modes are {size} outcomes; detector={self.detector} holds {MAX_SETS}. "
                "Use detector=threshold or fewer photons."
            )
        # Every subset of the photons may be alike, and to each of them the others are added, mode by mode.
        if (steps := 2**photons * modes * size) > MAX_STEPS:
            raise ProgramError(
                f"{photons} photons in {modes} modes with up to {most} counts take {steps:.1e} steps; "
                f"detector={self.detector} takes {MAX_STEPS:.0e}, about a minute. Use detector=threshold or fewer "
                "photons."
            )

    def shot(self, program: Program) -> tuple[OutcomeArray, FloatArray]:
        """Outcomes ``(K, M)`` of one shot and their probabilities ``(K,)``, given that something clicks.

        What the probabilities lack to 1 is not kept apart. Programs that were asked for lately are remembered.
        """
        found = self._memory.pop(program.fingerprint, None) or self._exact(program)
        self._memory[program.fingerprint] = found  # at the end again: what was asked for last goes last
        # The newest stays, however large it is.
        while len(self._memory) > 1 and sum(s.nbytes + p.nbytes for s, p in self._memory.values()) > MAX_REMEMBERED:
            self._memory.popitem(last=False)
        return found

    def phases(self, program: Program) -> FloatArray:
        """The phases that the chip really sets, ``(declared,)``, radians.

        Every theta gets the error of its gate, which is the chip's. Then every phase gets an error uniform in
        +-phase_error, drawn from the seed and the program's fingerprint, and is rounded to a multiple of
        phase_imprecision: Perceval's order.
        """
        step = self.noise.phase_imprecision
        phases = with_angle_errors(program.mesh, program.phases, self.noise.angle_error, seed=self.seed)
        if self.noise.phase_error > 0.0:
            rng = np.random.default_rng(child_seed(self.seed, "phase errors", program.fingerprint))
            phases = phases + rng.uniform(-self.noise.phase_error, self.noise.phase_error, len(phases))
        return step * np.round(phases / step) if step > 0.0 else phases

    def _most_counts(self, program: Program) -> int:
        """N counts are kept apart in any case: they are what a program is measured for."""
        seen, modes, photons = self.noise.at(program), program.modes, program.photons
        if self.detector == "threshold":
            enough = min(enough_counts(seen, neglected=NEGLECTED), modes)
            return photons if self.collision_free else max(enough, photons)
        most = [max(enough_counts(seen, neglected=share), photons) for share in (NEGLECTED, *RARE)]
        # Many modes have more outcomes of many counts than can be held; those are rare.
        return next((k for k in most if count_fock_states(modes, k) <= MANY), most[0])

    def _exact(self, program: Program) -> tuple[OutcomeArray, FloatArray]:
        set_to = Program(program.mesh, self.phases(program), program.input_modes)
        if self.engine == "perceval":
            outcomes, p = perceval_distribution(set_to, self.noise, self.detector)
        else:
            columns = set_to.mesh.columns(set_to.phases, set_to.input_modes)
            most = self._most_counts(program)
            outcomes, p = detected_distribution(columns, self.noise.at(program), self.detector, most_clicks=most)
        keep, limit = outcomes.any(axis=1), wires(self.detector)
        if limit is not None:
            keep &= outcomes.max(axis=1) <= limit  # a lattice of counts has patterns that such detectors never show
        rest = 1.0 - p.sum()  # left out above; below 1e-12 it is rounding
        shot = p[keep].sum() + (rest if rest > 1e-12 else 0.0)
        if self.collision_free:
            keep &= (outcomes.sum(axis=1) == program.photons) & (outcomes.max(axis=1) == 1)
        return outcomes[keep], p[keep] / shot


def with_angle_errors(mesh: Mesh, phases: FloatArray, angle_error: float, *, seed: int) -> FloatArray:
    """Phases with every gate's theta off by what it is off on this chip, ``(declared,)``, radians.

    :param angle_error: standard deviation of the errors, radians.
    :param seed: of the chip; an error follows from it and from the gate's column and mode.

    >>> from qpu_sdk.photonics.meshes import BrickwallMesh
    >>> with_angle_errors(BrickwallMesh(2), np.zeros(3), 0.1, seed=1).round(3).tolist()
    [-0.022, 0.0, 0.0]
    """
    if angle_error == 0.0:
        return phases
    moved = np.array(phases, dtype=np.float64)
    slots = [gate.theta for gate in mesh.gates]
    moved[slots] += angle_error * _unit_errors(mesh, seed)
    return moved


@lru_cache(maxsize=32)
def _unit_errors(mesh: Mesh, seed: int) -> FloatArray:
    """A standard normal number for every gate, ``(G,)``."""
    # One stream a place: another mesh on the same chip meets the same couplers where it has any.
    streams = (child_seed(seed, "angle errors", column, mode) for column, mode in mesh.places)
    return np.array([np.random.default_rng(stream).standard_normal() for stream in streams])


def perceval_distribution(program: Program, noise: Noise, detector: Detector) -> tuple[OutcomeArray, FloatArray]:
    """The same from Perceval's simulator, at precision 1e-16, the empty window included.

    At its default precision the simulator drops input states below 1e-6 of the commonest: behind 6 % of transmittance
    that is most of what four detectors see. The noise goes to the computer, the phases are set beforehand, and the
    detection filter is off. Losses that differ by input are ``LC`` components, by output detector efficiencies.

    :param noise: neither dark counts nor overlaps by pair; its errors of phases must already be in the program.
    :returns: outcomes ``(K, M)`` and probabilities ``(K,)``.
    """
    import perceval as pcvl
    from perceval.runtime import SimulatedComputer

    source, losses, efficiencies = _perceval_losses(program, noise)
    circuit, state = program.to_perceval()
    experiment = pcvl.Experiment(program.modes)
    for mode, loss in zip(program.input_modes, losses, strict=True):
        if loss > 0.0:
            experiment.add(mode, pcvl.LC(loss))
    experiment.add(0, circuit)
    for mode, found in enumerate(detectors_to_perceval(efficiencies, detector)):
        experiment.add(mode, found)
    computer = SimulatedComputer("SLOS")
    computer.noise = source.to_perceval()
    with LOCK:
        experiment.with_input(state)
        experiment.min_detected_photons_filter(0)
        results: Any = computer.probs(experiment, precision=1e-16)["results"]
    outcomes = np.array([list(found) for found in results], dtype=np.uint8).reshape(-1, program.modes)
    return outcomes, np.array([float(p) for p in results.values()])


def _perceval_losses(program: Program, noise: Noise) -> tuple[Noise, FloatArray, FloatArray]:
    """Noise of the source, loss of each input beyond that, and efficiencies of the detectors."""
    t = by_mode(noise.transmittance, program.modes)[list(program.input_modes)]
    best = float(t.max())
    still = replace(noise, phase_error=0.0, phase_imprecision=0.0, angle_error=0.0)
    source = replace(still, transmittance=best, efficiency=1.0, dark_counts=0.0)
    losses = 1.0 - t / best if best > 0.0 else np.zeros(program.photons)
    return source, losses, by_mode(noise.efficiency, program.modes)
