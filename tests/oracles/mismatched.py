"""A device that is *not* of the family that calibration and mitigation assume, with exact distributions of its clicks.

Everything that the click model has (one source, one loss an input, one efficiency a mode) is in ``noise``; beside it:

* crosstalk: every shifter shows ``phi' = phi + k (sum of the phases of the nearest shifters)``, phases within
  [0, 2 pi), the nearest being the next one above and the next one below in the same column of the chip. A gate's
  mixing angle is a shifter of its own column, its external phases are in the next one, input phases in the first;
* mixing angles off by a Gaussian error, the same whatever is set: it belongs to the place of the gate on the chip, so
  that circuits of the brick-wall and of the rectangular mesh meet the same errors;
* loss inside the mesh: each arm behind each gate loses a share uniform in 0..``gate_loss``, fixed to its place too. The
  occupied columns A are no longer orthonormal but a contraction, and the click model's formula holds for it as it
  stands: ``H(T) = 1 - A^dagger diag(eta_i [i not in T]) A`` is the chance to be lost or to end inside T;
* errors of phases, uniform or Gaussian, drawn once a setting (from seed and program);
* drift: within a setting every phase walks randomly, by ``drift`` (standard deviation) from its beginning to its end,
  in ``SLICES`` steps, and the shots are the mixture.

Propagation, gate by gate, is written here and not taken from the package.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, final

import numpy as np

from qpu_sdk.arrays import ComplexArray, FloatArray, IntArray, OutcomeArray
from qpu_sdk.devices.base import Device, DeviceSpec
from qpu_sdk.devices.replay import ReplayJob
from qpu_sdk.photonics.click_model import accurate_click_distribution
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.interferometer import ABSENT, Mesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.photon_counting import fock_distribution
from qpu_sdk.photonics.program import Program
from qpu_sdk.seeds import child_seed

#: Steps of a drift within a setting.
SLICES = 8
#: Of the physics here: stored counts are of one version.
VERSION = 1


@final
@dataclass(frozen=True)
class Chip:
    """What a device is like; see the module's docstring.

    :param noise: what the click model knows too.
    :param phase_uniform: half width of a uniform error of every phase, radians, drawn for each setting.
    :param phase_sd: standard deviation of a Gaussian one.
    :param coincidences: True: detectors count, and only N photons in N different modes are kept, as people have them.
    :param seed: decides what is fixed on the chip, and errors of settings.
    """

    noise: Noise
    seed: int
    crosstalk: float = 0.0
    angle_sd: float = 0.0
    gate_loss: float = 0.0
    phase_uniform: float = 0.0
    phase_sd: float = 0.0
    drift: float = 0.0
    coincidences: bool = False

    @property
    def detector(self) -> str:
        return "pnr" if self.coincidences else "threshold"

    def columns(self, program: Program) -> ComplexArray:
        """What the photons of a setting meet, ``(S, M, N)``, one matrix for each slice of time."""
        mesh, phases = program.mesh, program.phases % math.tau
        rng = np.random.default_rng(child_seed(self.seed, "setting", program.fingerprint))
        phases = phases + self.crosstalk * (neighbours(mesh) @ phases)
        phases = phases + rng.uniform(-self.phase_uniform, self.phase_uniform, len(phases))
        phases = phases + self.phase_sd * rng.normal(size=len(phases))
        if self.drift == 0.0:
            return self._propagated(mesh, phases[None], program.input_modes)
        steps = rng.normal(size=(SLICES, len(phases))) * (self.drift / math.sqrt(SLICES))
        return self._propagated(mesh, phases + np.cumsum(steps, axis=0), program.input_modes)

    def _propagated(self, mesh: Mesh, phases: FloatArray, inputs: tuple[int, ...]) -> ComplexArray:
        state = np.zeros((len(phases), mesh.modes, len(inputs)), dtype=np.complex128)
        state[:, list(inputs), range(len(inputs))] = 1.0
        for mode, slot in enumerate(mesh.input_phases):
            state[:, mode] *= np.exp(1j * phases[:, slot])[:, None]
        for gate, layer in zip(mesh.gates, layers(mesh), strict=True):
            place = np.random.default_rng(child_seed(self.seed, "place", layer, gate.mode))
            angle, lost = self.angle_sd * place.normal(), place.uniform(0.0, self.gate_loss, 2)
            theta = phases[:, gate.theta] + angle
            c, s = np.cos(theta / 2), np.sin(theta / 2)
            if mesh.mach_zehnder:
                lead = 1j * np.exp(0.5j * theta)
                mixer = np.array([[lead * s, lead * c], [lead * c, -lead * s]])
            else:
                mixer = np.array([[c, 1j * s], [1j * s, c]])
            pair = [gate.mode, gate.mode + 1]
            state[:, pair] = np.einsum("ijs,sjn->sin", mixer, state[:, pair])
            for mode, slot, share in zip(pair, (gate.phi_top, gate.phi_bottom), lost, strict=True):
                turned = 1.0 if slot == ABSENT else np.exp(1j * phases[:, slot])[:, None]
                state[:, mode] *= math.sqrt(1.0 - share) * turned
        return state

    def distribution(self, program: Program) -> tuple[OutcomeArray, FloatArray]:
        """Outcomes ``(K, M)`` of a window and their probabilities ``(K,)``, the empty window left out, sum 1."""
        noise, total = self.noise.at(program), np.zeros(1)
        most = min(program.modes, 2 * program.photons)  # there are no dark counts, and two photons at most an input
        for columns in self.columns(program):
            if self.coincidences:
                assert self.gate_loss == 0.0, "the model of detectors that count wants orthonormal columns"
                outcomes, p = fock_distribution(columns, noise, most_photons=2 * program.photons)
            else:
                sets, p = accurate_click_distribution(columns, noise, most_clicks=most)
                outcomes = sets.members.astype(np.uint8)
            total = total + p
        seen = outcomes.any(axis=1)
        return outcomes[seen], total[seen] / total[seen].sum()

    def kept(self, outcomes: OutcomeArray, photons: int) -> IntArray:
        """Indices of the outcomes that the device tells."""
        if not self.coincidences:
            return np.arange(len(outcomes))
        return np.flatnonzero((outcomes.sum(axis=1) == photons) & (outcomes.max(axis=1) == 1))


def layers(mesh: Mesh) -> list[int]:
    """The layer of each gate, every gate as early as its modes are free."""
    free, out = [0] * mesh.modes, []
    for gate in mesh.gates:
        depth = max(free[gate.mode], free[gate.mode + 1])
        free[gate.mode] = free[gate.mode + 1] = depth + 1
        out.append(depth)
    return out


def neighbours(mesh: Mesh) -> FloatArray:
    """1 where a shifter is the next above or below another in its column, ``(declared, declared)``."""
    places: dict[int, list[tuple[int, int]]] = {-1: [(mode, slot) for mode, slot in enumerate(mesh.input_phases)]}
    for gate, layer in zip(mesh.gates, layers(mesh), strict=True):
        places.setdefault(2 * layer, []).append((gate.mode, gate.theta))
        outer = places.setdefault(2 * layer + 1, [])
        outer += [(gate.mode + k, s) for k, s in enumerate((gate.phi_top, gate.phi_bottom)) if s != ABSENT]
    out = np.zeros((mesh.declared, mesh.declared))
    for column in places.values():
        slots = [slot for _, slot in sorted(column)]
        out[slots[1:], slots[:-1]] = out[slots[:-1], slots[1:]] = 1.0
    return out


@final
class MismatchedDevice(Device):
    """Runs programs on a :class:`Chip`; ``shots`` are windows with at least one click.

    :param seed: of the counts.
    :param memory: folder where counts are kept and found again; None for none.
    """

    def __init__(self, chip: Chip, *, seed: int, name: str = "mismatched", memory: Path | None = None) -> None:
        self.chip, self.seed, self.memory = chip, seed, memory
        self.spec = DeviceSpec(
            name,
            max_modes=16,
            max_photons=6,
            detector=chip.detector,
            seeded=True,  # type: ignore[arg-type]
        )
        self._used: Counter[str] = Counter()

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> ReplayJob:
        """Run at once."""
        programs, shots = self.spec.check(programs, shots=shots)
        number = self._used[tag]
        self._used[tag] += 1
        job_id = f"mismatched-{number}"
        out = []
        for place, program in enumerate(programs):
            rng_seed = child_seed(self.seed, tag, number, place)
            outcomes, numbers = self._remembered(program, shots, rng_seed)
            labels: dict[str, Any] = {"device": self.spec.name, "tag": tag, "job_id": job_id}
            # Counts carry their program where they can, else its fingerprint.
            carries = any(f.name == "fingerprint" for f in fields(Counts)) or hasattr(Counts, "fingerprint")
            labels |= {"program": program if carries else program.fingerprint, "detector": self.chip.detector}
            out.append(Counts(photons=program.photons, outcomes=outcomes, numbers=numbers, **labels))
        return ReplayJob(job_id, out)

    def _remembered(self, program: Program, shots: int, rng_seed: int) -> tuple[OutcomeArray, IntArray]:
        if self.memory is None:
            return self._drawn(program, shots, rng_seed)
        key = hashlib.sha256(repr((VERSION, self.chip, program.fingerprint, shots, rng_seed)).encode()).hexdigest()
        path = self.memory / f"{key[:24]}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as stored:
                return stored["outcomes"], stored["numbers"]
        outcomes, numbers = self._drawn(program, shots, rng_seed)
        self.memory.mkdir(parents=True, exist_ok=True)
        being = path.with_suffix(f".{rng_seed}.tmp.npz")
        np.savez_compressed(being, outcomes=outcomes, numbers=numbers)
        being.replace(path)
        return outcomes, numbers

    def _drawn(self, program: Program, shots: int, rng_seed: int) -> tuple[OutcomeArray, IntArray]:
        outcomes, p = self.chip.distribution(program)
        numbers = np.random.default_rng(rng_seed).multinomial(shots, p / p.sum())
        kept = self.chip.kept(outcomes, program.photons)
        kept = kept[numbers[kept] > 0]
        return outcomes[kept], numbers[kept]
