"""``python -m tests.benchmarks.mitigation_peers``: photon recycling in closed form against Perceval's, one JSON line.

Both start from the same counts in memory, each in its own type. Here are also the simulated counts and Perceval's
answer in our order, for the tests.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import perceval as pcvl
from perceval.runtime.error_mitigation.photon_recycling import photon_recycling

from qpu_sdk.arrays import ComplexArray, FloatArray
from qpu_sdk.calibration.known import known_record
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.mitigation.forward import Forward, forward
from qpu_sdk.mitigation.recycling import recycle
from qpu_sdk.mitigation.shrinkage import shrink
from qpu_sdk.mitigation.unfolding import unfold_below
from qpu_sdk.photonics.click_model import accurate_click_distribution
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.fock import collision_free_outcomes, occupations
from qpu_sdk.photonics.meshes import BrickwallMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program
from qpu_sdk.photonics.program_noise import ProgramNoise
from tests.oracles.unitaries import haar

MODES, PHOTONS, PULSES = 9, 4, 1_000_000
NOISE = Noise(indistinguishability=0.92, g2=0.02, transmittance=0.3)


def lossy_counts(columns: ComplexArray, noise: ProgramNoise, *, pulses: int, seed: int) -> Counts:
    """Clicks of threshold detectors in so many windows of one program; empty windows are not recorded.

    :param columns: occupied columns of the unitary, ``(M, N)``.
    """
    sets, p = accurate_click_distribution(columns, noise)
    numbers = np.random.default_rng(seed).multinomial(pulses, p / p.sum())
    keep = (sets.clicks > 0) & (numbers > 0)
    return Counts(
        photons=columns.shape[1],
        outcomes=sets.members[keep].astype(np.uint8),
        numbers=numbers[keep],
        detector="threshold",
        fingerprint="simulated",
        device="simulated",
    )


def perceval_recycling(counts: pcvl.BSCount, modes: int, photons: int) -> FloatArray:
    """What Perceval makes of its own counts, in lexicographic order of the occupied modes."""
    found = perceval_answer(counts, photons)
    states = occupations(collision_free_outcomes(modes, photons), modes).tolist()
    return np.array([found[pcvl.BasicState(state)] for state in states])


def perceval_answer(counts: pcvl.BSCount, photons: int) -> pcvl.BSDistribution:
    """The same in its own type. Its fits of three points warn that they have no covariance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return photon_recycling(counts, photons)


def recycling(runs: int = 7) -> tuple[float, float, float]:
    """Seconds of ours and of Perceval's, medians of alternating runs, and the largest difference of a probability.

    126 outcomes of 4 photons in 9 modes, a Haar-random program, nearly all patterns seen. A turn is Perceval's once and
    ours ten times, after one call of ours that is not timed.
    """
    columns = haar(MODES, 1)[:, :PHOTONS]
    counts = lossy_counts(columns, NOISE.at(range(PHOTONS), modes=MODES), pulses=PULSES, seed=1)
    theirs = counts.to_perceval()
    difference = np.abs(recycle(counts) - perceval_recycling(theirs, MODES, PHOTONS)).max()
    ours_s: list[float] = []
    peer_s: list[float] = []
    for _ in range(runs):
        peer_s += _seconds(lambda: perceval_answer(theirs, PHOTONS), times=1)
        recycle(counts)
        ours_s += _seconds(lambda: recycle(counts), times=10)
    return statistics.median(ours_s), statistics.median(peer_s), float(difference)


def mitigation_case(seed: int) -> tuple[Counts, CalibrationRecord, Program]:
    """A brick-wall program on a simulated device that knows its own noise, 1e6 shots."""
    mesh = BrickwallMesh(MODES)
    phases = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, mesh.declared)
    program = Program(mesh, phases, mesh.default_input(PHOTONS))
    device = LocalDevice(seed=seed, model=LocalModel(noise=NOISE), name="simulated")
    identity = Identity("simulated", "simulated", MODES, program.input_modes, "threshold")
    [counts] = device.submit([program], shots=1_000_000).result()
    return counts, known_record(NOISE, identity), program


def unfolding_case(seed: int) -> tuple[FloatArray, Forward]:
    """Counts of every pattern, and the model of their program."""
    counts, record, program = mitigation_case(seed)
    noise = record.noise().at(program.input_modes, modes=MODES)
    model = forward(program.mesh.columns(program.phases, program.input_modes), noise)
    return model.space.numbers(counts), model


def unfold_and_fuse(numbers: FloatArray, model: Forward) -> FloatArray:
    """What the pipeline does with them."""
    below, here = unfold_below(numbers, model), model.space
    background = model.background[here.full] + model.mistaken(below.fock)
    return shrink(numbers[here.full], model.gain, background, below.fock[here.free], windows=below.windows).mean


def plain_unfolding(numbers: FloatArray, model: Forward, *, iterations: int = 3000) -> FloatArray:
    """Richardson and Lucy's iteration as it is, on two thinned sets of counts and on all of them."""
    kept = np.random.default_rng(1).binomial(np.rint(numbers).astype(np.int64), 0.7, (2, len(numbers)))
    n = np.concatenate([kept.astype(np.float64), numbers[None]])
    response, background = model.response.dense(), model.background
    pi = np.full((len(n), response.shape[1]), 1.0 / response.shape[1])
    for _ in range(iterations):
        mu = pi @ response.T + background
        pi *= ((n / mu) @ response) / response.sum(axis=0)
        pi /= pi.sum(axis=1, keepdims=True)
    return pi


def _seconds(work: Callable[[], object], *, times: int) -> list[float]:
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return taken


def main() -> None:
    """Print one line in the form of ``tests.benchmarks.run``."""
    ours_s, peer_s, difference = recycling()
    values: dict[str, str | float] = {"name": "recycling_9_4", "ours_ms": round(1e3 * ours_s, 4)}
    values |= {"peer": "Perceval photon_recycling", "peer_ms": round(1e3 * peer_s, 4)}
    values |= {"ratio": round(peer_s / ours_s, 2), "max_difference": difference}
    sys.stdout.write(json.dumps(values) + "\n")


if __name__ == "__main__":
    main()
