"""What one shot of an ideal or lossy circuit shows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from ..arrays import ComplexArray, FloatArray, OutcomeArray
from ..errors import ConfigError, ProgramError
from ..photonics.counts import Detector, check_detector
from ..photonics.fock import collision_free_index, collision_free_outcomes, fock_outcomes, occupations
from ..photonics.noise import Noise
from ..photonics.permanents import (
    MOST_PRODUCTS,
    collision_free_tree,
    fock_tree,
    prefix_counts,
    probabilities,
    tree_products,
)
from ..photonics.program import Program
from .noisy_chip import NoisyChip

Engine = Literal["auto", "slos", "permanents", "perceval"]
Keep = Literal["all", "collision_free"]
#: Largest number of outcomes that one program may have.
MAX_OUTCOMES = 5_000_000
#: Products of ours in the time of one of SLOS.
SLOS_COST = 6


@final
@dataclass(frozen=True)
class LocalModel:
    """The physics of a :class:`LocalDevice`.

    :param noise: everything between program and clicks. A loss that all modes share and nothing else is simulated
        fast, photon by photon; everything else by :mod:`qpu_sdk.devices.noisy_chip`.
    :param detector: ``"pnr"``, ``"threshold"`` or ``"ppnr:W"``; None: a simulator without loss and noise counts
        photons, any other only clicks.
    :param outcomes: ``"all"``, or ``"collision_free"`` to keep only collision-free N-photon outcomes apart
        (every other shot goes into ``Counts.other``).
    :param engine: ``"slos"`` (Perceval), ``"permanents"`` (ours), ``"auto"``: whichever is faster. With noise
        ``"auto"`` and ``"permanents"`` are :mod:`qpu_sdk.photonics.click_model`, and ``"perceval"`` is Perceval's
        simulator at full precision, slow, to check it with.
    :raises ConfigError: when a value is out of range, or two do not go together.

    >>> LocalModel().detects, LocalModel(noise=Noise(transmittance=0.1)).detects
    ('pnr', 'threshold')
    """

    noise: Noise = Noise()  # noqa: RUF009 - it cannot change
    detector: Detector | None = None
    outcomes: Keep = "all"
    engine: Engine = "auto"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("outcomes", ("all", "collision_free")),
            ("engine", ("auto", "slos", "permanents", "perceval")),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is {getattr(self, name)!r}. Use one of {', '.join(filter(None, allowed))}.")
        if self.detector is not None:
            check_detector(self.detector)
        if self.noise.click_probability == 0.0:
            none = next(
                (n for n in ("brightness", "transmittance") if not np.any(getattr(self.noise, n))), "efficiency"
            )
            raise ConfigError(f"noise {none} is {getattr(self.noise, none)}; no photon arrives. Use one above 0.")
        if self.engine == "slos" and not self.noise.only_loss:
            raise ConfigError("engine is 'slos', which has no noise but loss. Use engine=auto or engine=perceval.")
        self.chip(seed=0)  # made for its checks alone

    @property
    def detects(self) -> Detector:
        """What the detectors resolve."""
        if self.detector is not None:
            return self.detector
        return "pnr" if self.noise.only_loss and self.noise.click_probability == 1.0 else "threshold"

    def chip(self, *, seed: int) -> NoisyChip | None:
        """The noisy physics, None where there is nothing but loss that all modes share."""
        resolves_partly = self.detects not in ("pnr", "threshold")
        if self.noise.only_loss and self.engine != "perceval" and not resolves_partly:
            return None
        return NoisyChip(
            noise=self.noise,
            detector=self.detects,
            engine="perceval" if self.engine == "perceval" else "clicks",
            collision_free=self.outcomes == "collision_free",
            seed=seed,
        )


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
    if _by_permanents(modes, photons, collision_free=collision_free, engine=engine):
        return probabilities(columns, (collision_free_tree if collision_free else fock_tree)(modes, photons))
    every = np.stack([slos_probabilities(one) for one in columns])
    return every[:, collision_free_index(modes, photons)] if collision_free else every


def _by_permanents(modes: int, photons: int, *, collision_free: bool, engine: Engine) -> bool:
    """Complex products of Glynn's tree, 2^(N-1) for every prefix, against those of SLOS; ours cost about half."""
    if engine != "auto":
        return engine == "permanents"
    glynn = 2 ** (photons - 1) * (sum(prefix_counts(modes, photons, bunched=not collision_free)) + modes)
    return bool(glynn < 2 * _slos_products(modes, photons))


def _slos_products(modes: int, photons: int) -> int:
    return photons * math.comb(modes + photons - 1, photons)


def check_simulation(modes: int, photons: int, model: LocalModel) -> None:
    """Raise :class:`ProgramError` when a shot without noise but loss takes too much memory or time to work out."""
    collision_free = model.outcomes == "collision_free"
    lossy = model.noise.click_probability < 1.0 and not collision_free
    outcomes = (
        math.comb(modes, photons)
        if collision_free
        else sum(math.comb(modes + k - 1, k) for k in (range(1, photons + 1) if lossy else [photons]))
    )
    if outcomes > MAX_OUTCOMES:
        way = "fewer photons" if collision_free else "fewer photons or ?outcomes=collision_free"
        raise ProgramError(
            f"{photons} photons in {modes} modes have {outcomes} outcomes; this simulation holds {MAX_OUTCOMES}. "
            f"Use {way}."
        )
    # With loss, every subset of the photons interferes by itself.
    products = sum(
        math.comb(photons, k) * _products(modes, k, model) for k in (range(1, photons + 1) if lossy else [photons])
    )
    if products > MOST_PRODUCTS:
        raise ProgramError(
            f"{photons} photons in {modes} modes take {products:.1e} products; {MOST_PRODUCTS:.0e}, about half a "
            "minute, are formed. Use fewer photons or modes."
        )


def _products(modes: int, photons: int, model: LocalModel) -> int:
    """What exact probabilities of one circuit take, in products of ours."""
    collision_free = model.outcomes == "collision_free"
    if _by_permanents(modes, photons, collision_free=collision_free, engine=model.engine):
        return tree_products(modes, photons, bunched=not collision_free)
    states = math.comb(modes + photons - 1, photons)  # SLOS holds them all, whatever is kept
    return SLOS_COST * _slos_products(modes, photons) if states <= MAX_OUTCOMES else MOST_PRODUCTS + 1


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
    eta = brightness * transmittance * efficiency: ``P(s) = sum_S eta^|S| (1-eta)^(N-|S|) P_U(s | photons S)`` over
    subsets S of the inputs, and the empty window, (1-eta)^N, is not a shot.

    :param columns: ``(B, M, N)``.
    :returns: outcomes ``(K, M)`` and probabilities ``(B, K)``; what the rows lack to 1 is not kept apart.
    """
    modes, photons = columns.shape[1:]
    eta = model.noise.click_probability
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
    return patterns.astype(np.uint8), np.add.reduceat(p[:, order], starts, axis=1)  # no pattern is without an outcome


def columns_of(programs: Sequence[Program]) -> ComplexArray:
    """Occupied columns of programs of one size, ``(B, M, N)``; programs on one mesh are one batch."""
    out = np.empty((len(programs), programs[0].modes, programs[0].photons), dtype=np.complex128)
    for members in _grouped(programs, lambda program: (program.mesh, program.input_modes)):
        first = programs[members[0]]
        out[members] = first.mesh.columns(np.stack([programs[i].phases for i in members]), first.input_modes)
    return out


def by_size(programs: Sequence[Program]) -> list[list[int]]:
    """Indices of programs with equal modes and photons: each group is one batch."""
    return _grouped(programs, lambda program: (program.modes, program.photons))


def _grouped(programs: Sequence[Program], key: Callable[[Program], Hashable]) -> list[list[int]]:
    groups: dict[Hashable, list[int]] = {}
    for i, program in enumerate(programs):
        groups.setdefault(key(program), []).append(i)
    return list(groups.values())
