"""The local simulator: exact probabilities, then honest sampling.

Without noise here; :mod:`qpu_sdk.devices.local_noise` has the distributions of noisy devices.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError, JobCancelled, JobFailed, JobTimeout, ProgramError
from ..files import child_seed
from ..photonics.click_model import DeviceNoise
from ..photonics.counts import Counts, Detector
from ..photonics.fock import collision_free_index, collision_free_outcomes, fock_outcomes, occupations
from ..photonics.noise import NoiseParameters
from ..photonics.permanents import ComplexArray, FloatArray, PrefixTree, collision_free_tree, fock_tree, probabilities
from ..photonics.program import Program
from .base import Device, DeviceSpec, Job, JobStatus
from .local_noise import NoisyChip

Engine = Literal["auto", "slos", "permanents", "perceval"]
Keep = Literal["all", "collision_free"]
OutcomeArray = npt.NDArray[np.uint8]

#: Largest number of outcomes that one program may have.
MAX_OUTCOMES = 5_000_000


@final
@dataclass(frozen=True)
class LocalModel:
    """The physics of a :class:`LocalDevice`.

    :param brightness: probability that the source emits the photon.
    :param transmittance: probability that an emitted photon is detected; the same for every path.
    :param detector: ``"pnr"`` or ``"threshold"``; None: what ``noise`` says, without noise ``"pnr"``.
    :param outcomes: ``"all"``, or ``"collision_free"`` to keep only collision-free N-photon outcomes apart
        (every other shot goes into ``Counts.other``).
    :param engine: ``"slos"`` (Perceval), ``"permanents"`` (ours), ``"auto"``: whichever is faster. With noise
        ``"auto"`` and ``"permanents"`` are :mod:`qpu_sdk.photonics.click_model`, and ``"perceval"`` is Perceval's
        simulator at full precision, slow, to check it with.
    :param noise: everything between program and clicks, brightness and transmittance included: the same everywhere,
        or of every mode.
    :raises ConfigError: when a value is out of range, or two do not go together.

    >>> LocalModel(noise=NoiseParameters(transmittance=0.1)).detects
    'threshold'
    """

    brightness: float = 1.0
    transmittance: float = 1.0
    detector: Detector | None = None
    outcomes: Keep = "all"
    engine: Engine = "auto"
    noise: DeviceNoise | NoiseParameters | None = None

    def __post_init__(self) -> None:
        for name in ("brightness", "transmittance"):
            value = getattr(self, name)
            if not 0.0 < value <= 1.0:
                raise ConfigError(f"{name} is {value}; the local device takes 0 < {name} <= 1. Choose such a value.")
        for name, allowed in (
            ("detector", (None, "pnr", "threshold")),
            ("outcomes", ("all", "collision_free")),
            ("engine", ("auto", "slos", "permanents", "perceval")),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is {getattr(self, name)!r}. Use one of {', '.join(filter(None, allowed))}.")
        if self.noise is None and self.engine == "perceval":
            raise ConfigError("engine is 'perceval' and there is no noise. Use engine=slos, or add noise=ideal.")
        if self.noise is not None:
            self._check_noise()

    def _check_noise(self) -> None:
        for name in ("brightness", "transmittance"):
            if getattr(self, name) != 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)} beside noise. Name it within noise only.")
        if self.engine == "slos":
            raise ConfigError("engine is 'slos', which has no noise. Use engine=auto or engine=perceval.")
        self.chip(seed=0)

    @property
    def detects(self) -> Detector:
        """What the detectors resolve."""
        if self.detector is not None:
            return self.detector
        if isinstance(self.noise, DeviceNoise):
            return self.noise.detector
        return "pnr" if self.noise is None else "threshold"

    def chip(self, *, seed: int) -> NoisyChip | None:
        """The noisy physics, None without noise."""
        if self.noise is None:
            return None
        return NoisyChip(
            noise=self.noise,
            detector=self.detects,
            engine="perceval" if self.engine == "perceval" else "clicks",
            collision_free=self.outcomes == "collision_free",
            seed=seed,
        )

    @property
    def efficiency(self) -> float:
        """Probability that a photon that was asked for clicks, brightness * transmittance."""
        return self.brightness * self.transmittance


def exact_probabilities(columns: ComplexArray, *, collision_free: bool, engine: Engine = "auto") -> FloatArray:
    """Exact outcome probabilities of a batch, by Perceval's SLOS backend or by our permanents (equal to 1e-10).

    :param columns: occupied columns of each unitary, ``(B, M, N)``.
    :param collision_free: True for the collision-free outcomes only, False for all Fock outcomes.
    :param engine: ``"auto"`` takes permanents where Glynn's sum needs fewer products than SLOS steps.
    :returns: ``(B, K)``, unconditional.

    >>> columns = np.eye(3)[None, :, :2]
    >>> exact_probabilities(columns, collision_free=True).round(6).tolist()
    [[1.0, 0.0, 0.0]]
    """
    modes, photons = columns.shape[1:]
    tree = (collision_free_tree if collision_free else fock_tree)(modes, photons)
    if engine == "permanents" or (engine == "auto" and _permanents_are_faster(tree)):
        return probabilities(columns, tree)
    every = np.stack([slos_probabilities(one) for one in columns])
    return every[:, collision_free_index(modes, photons)] if collision_free else every


def _permanents_are_faster(tree: PrefixTree) -> bool:
    """Complex products of Glynn's tree, 2^(N-1) for every prefix, against those of SLOS; ours cost about half."""
    glynn = 2 ** (tree.photons - 1) * tree.entries
    slos = tree.photons * math.comb(tree.modes + tree.photons - 1, tree.photons)
    return bool(glynn < 2 * slos)


def slos_probabilities(columns: ComplexArray) -> FloatArray:
    """All Fock-outcome probabilities from Perceval's SLOS backend, called directly, ``(M, N) -> (C(M+N-1, N),)``.

    SLOS takes a whole unitary: the columns that no photon enters are completed by a QR factorisation, and the
    photons enter modes 0..N-1, which renames inputs and changes no outcome.
    """
    import perceval as pcvl

    modes, photons = columns.shape
    completed, _ = np.linalg.qr(np.concatenate([columns, np.eye(modes)], axis=1))
    unitary = np.concatenate([columns, completed[:, photons:modes]], axis=1)
    backend = pcvl.BackendFactory.get_backend("SLOS")
    backend.set_circuit(pcvl.Unitary(pcvl.Matrix(unitary)))
    backend.set_input_state(pcvl.BasicState([1] * photons + [0] * (modes - photons)))
    return np.asarray(backend.all_prob(), dtype=np.float64)


def shot_distribution(columns: ComplexArray, model: LocalModel) -> tuple[OutcomeArray, FloatArray]:
    """What one shot shows: probabilities given at least one click.

    Uniform loss commutes with the interferometer, so every photon survives at its input with probability
    eta = brightness * transmittance: ``P(s) = sum_S eta^|S| (1-eta)^(N-|S|) P_U(s | photons S)`` over
    subsets S of the inputs, and the empty window, (1-eta)^N, is not a shot.

    :param columns: ``(B, M, N)``.
    :returns: outcomes ``(K, M)`` and probabilities ``(B, K)``; what the rows lack to 1 is not kept apart.
    """
    modes, photons = columns.shape[1:]
    eta = model.efficiency
    window = 1.0 if eta == 1.0 else -math.expm1(photons * math.log1p(-eta))  # 1 - (1 - eta)^N, exact for tiny eta
    if model.outcomes == "collision_free":
        p = exact_probabilities(columns, collision_free=True, engine=model.engine)
        return occupations(collision_free_outcomes(modes, photons), modes), p * (eta**photons / window)
    outcomes, rows = [], []
    for survivors in range(photons if eta == 1.0 else 1, photons + 1):
        weight = eta**survivors * (1.0 - eta) ** (photons - survivors) / window
        by_inputs = [
            exact_probabilities(columns[:, :, list(kept)], collision_free=False, engine=model.engine)
            for kept in itertools.combinations(range(photons), survivors)
        ]
        outcomes.append(occupations(fock_outcomes(modes, survivors), modes))
        rows.append(weight * np.sum(by_inputs, axis=0))
    every, p = np.concatenate(outcomes), np.concatenate(rows, axis=1)
    return _clicks(every, p) if model.detects == "threshold" else (every, p)


def _clicks(outcomes: OutcomeArray, p: FloatArray) -> tuple[OutcomeArray, FloatArray]:
    """Add up Fock outcomes with the same click pattern, ``(K, M), (B, K) -> (C, M), (B, C)``."""
    patterns, pattern = np.unique(outcomes > 0, axis=0, return_inverse=True)
    order = np.argsort(pattern.ravel(), kind="stable")
    starts = np.searchsorted(pattern.ravel()[order], np.arange(len(patterns)))
    return patterns.astype(np.uint8), np.add.reduceat(p[:, order], starts, axis=1)


def _outcome_count(program: Program, model: LocalModel) -> int:
    if model.outcomes == "collision_free":
        return math.comb(program.modes, program.photons)
    return math.comb(program.modes + program.photons - 1, program.photons)


@final
class LocalJob(Job):
    """A submission to the local simulator; it runs in the device's worker thread."""

    def __init__(self, job_id: str, future: Future[list[Counts]]) -> None:
        self.id = job_id
        self._future = future

    def status(self) -> JobStatus:
        """Where the job stands now."""
        if self._future.cancelled():
            return JobStatus.CANCELLED
        if self._future.done():
            return JobStatus.FAILED if self._future.exception() else JobStatus.DONE
        return JobStatus.RUNNING if self._future.running() else JobStatus.QUEUED

    def result(self, timeout_s: float | None = None) -> list[Counts]:
        """Counts of every program; see :meth:`qpu_sdk.devices.base.Job.result`."""
        try:
            return list(self._future.result(timeout_s))
        except CancelledError:
            raise JobCancelled(f"job {self.id} was cancelled. Submit it again.", job_id=self.id) from None
        except FutureTimeoutError:
            raise JobTimeout(f"job {self.id} is not done after {timeout_s} s. Ask again.", job_id=self.id) from None
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise JobFailed(f"job {self.id} failed ({what}). Try a smaller program.", job_id=self.id) from error

    def cancel(self) -> None:
        """Cancel unless the job has begun."""
        self._future.cancel()


@final
class LocalDevice(Device):
    """Exact simulation on this machine, then multinomial sampling with numpy's seeded Generator.

    The random numbers of a submission depend on the seed, its tag and how often the tag was used before, so
    equal tags draw afresh, the order of differently tagged submissions does not matter, and a resumed run that
    uses its tags again gets the same counts.

    >>> from qpu_sdk.photonics.meshes import IsometryMesh
    >>> mesh = IsometryMesh(4, 2)
    >>> program = Program(mesh, np.zeros(mesh.declared), (0, 1))
    >>> device = LocalDevice(seed=1)
    >>> [counts] = device.submit([program], shots=100).result()
    >>> counts.shots
    100
    """

    def __init__(self, *, seed: int, model: LocalModel | None = None, name: str = "local:slos") -> None:
        self.model = model if model is not None else LocalModel()
        self.seed = seed
        self._chip = self.model.chip(seed=seed)
        modes = 64 if self._chip is None else self._chip.max_modes
        self.spec = DeviceSpec(name=name, max_modes=modes, max_photons=16, detector=self.model.detects, seeded=True)
        self._used: Counter[str] = Counter()
        self._submitted = itertools.count(1)
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qpu-sdk-local")

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> LocalJob:
        """Run all programs as one batch; see :meth:`qpu_sdk.devices.base.Device.submit`."""
        self.spec.check(programs, shots=shots)
        for program in programs:
            if self._chip is not None:
                self._chip.check(program)
            elif (size := _outcome_count(program, self.model)) > MAX_OUTCOMES:
                raise ProgramError(
                    f"{program.photons} photons in {program.modes} modes have {size} outcomes; {self.spec.name} "
                    f"holds {MAX_OUTCOMES}. Use fewer photons or ?outcomes=collision_free."
                )
        with self._lock:
            job_id = f"local-{next(self._submitted)}"
            occurrence = self._used[tag]
            self._used[tag] += 1
        stream = child_seed(self.seed, tag, occurrence)
        return LocalJob(job_id, self._worker.submit(self._run, tuple(programs), shots, tag, job_id, stream))

    def _run(self, programs: tuple[Program, ...], shots: int, tag: str, job_id: str, stream: int) -> list[Counts]:
        rng = np.random.default_rng(stream)
        out: dict[int, Counts] = {}
        for i, outcomes, p in self._distributions(programs):
            every = np.append(p, max(0.0, 1.0 - p.sum()))
            numbers = rng.multinomial(shots, every / every.sum())
            seen = np.flatnonzero(numbers[:-1])
            kept = slice(None) if self._chip is None else seen  # a noisy device has many outcomes that never happen
            out[i] = Counts(
                photons=programs[i].photons,
                outcomes=outcomes[kept],
                numbers=numbers[:-1][kept],
                other=int(numbers[-1]),
                detector=self.spec.detector,
                program=programs[i].fingerprint,
                device=self.spec.name,
                tag=tag,
                job_id=job_id,
            )
        return [out[i] for i in range(len(programs))]

    def _distributions(self, programs: tuple[Program, ...]) -> Iterator[tuple[int, OutcomeArray, FloatArray]]:
        """Index of each program, its outcomes, and their probabilities in a shot."""
        if self._chip is not None:
            for i, program in enumerate(programs):
                yield i, *self._chip.shot(program)
            return
        for members in _by_size(programs):
            outcomes, rows = shot_distribution(_columns([programs[i] for i in members]), self.model)
            for i, row in zip(members, rows, strict=True):
                yield i, outcomes, row


def _columns(programs: Sequence[Program]) -> ComplexArray:
    """Occupied columns of programs of one size, ``(B, M, N)``; programs on one mesh are one batch."""
    out = np.empty((len(programs), programs[0].modes, programs[0].photons), dtype=np.complex128)
    for members in _grouped(programs, lambda program: (program.mesh, program.input_modes)):
        first = programs[members[0]]
        out[members] = first.mesh.columns(np.stack([programs[i].phases for i in members]), first.input_modes)
    return out


def _by_size(programs: Sequence[Program]) -> list[list[int]]:
    """Indices of programs with equal modes and photons: each group is one batch."""
    return _grouped(programs, lambda program: (program.modes, program.photons))


def _grouped(programs: Sequence[Program], key: Callable[[Program], Hashable]) -> list[list[int]]:
    groups: dict[Hashable, list[int]] = {}
    for i, program in enumerate(programs):
        groups.setdefault(key(program), []).append(i)
    return list(groups.values())
