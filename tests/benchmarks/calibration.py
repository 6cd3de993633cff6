"""``python -m tests.benchmarks.calibration``: the fit, the formula against Perceval, and the pulls of many devices.

Times are of this machine and this process; nothing is asserted. ``--write`` puts the tables into
docs/how-to/calibration.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from qpu_sdk.arrays import FloatArray
from qpu_sdk.calibration.plan import calibration_plan, haar
from qpu_sdk.devices.noisy_chip import perceval_distribution
from qpu_sdk.photonics.click_model import accurate_click_distribution, click_distribution
from qpu_sdk.photonics.meshes import RectangularMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program
from tests.benchmarks.pages import ROOT, replace_between
from tests.calibration.simulate import random_parameters, simulate, uniform_parameters

PAGE = ROOT / "docs" / "how-to" / "calibration.md"
MODES, INPUTS, PULSES = 9, (0, 2, 5, 8), 2_000_000
NOISE = Noise(indistinguishability=0.92, g2=0.02, transmittance=0.06)
SIZES = ((4, (0, 2)), (6, (0, 2, 4)), (9, INPUTS))


def seconds(work: Callable[[], object], *, runs: int) -> float:
    """Median time of one call; the first is not timed."""
    work()
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def fit_rows() -> Iterator[str]:
    """Time and precision of one whole fit."""
    what = f"fit of ({MODES}, {len(INPUTS)}), {PULSES:,} pulses a setting"
    yield f"| {what} | seconds | iterations | I | g2 | transmission |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for transmission in (0.06, 0.3):
        truth = uniform_parameters(MODES, INPUTS, transmission)
        run = simulate(calibration_plan(MODES, INPUTS, seed=1), truth, pulses=PULSES, seed=1)
        found, taken = run.fit(), seconds(run.fit, runs=3)
        overlap, g2, *t = found.standard_errors[: 2 + len(INPUTS)]
        yield (
            f"| T = {transmission}, g2 = {truth.g2} | {taken:.2f} | {found.iterations} | +- {overlap:.4f} | "
            f"+- {100 * g2 / truth.g2:.1f} % | +- {100 * max(t) / transmission:.2f} % |"
        )


def formula_rows() -> Iterator[str]:
    """The click model against Perceval's simulator at precision 1e-16, one Haar-random program each."""
    yield "| (modes, photons) | formula, ms | with rare patterns, ms | Perceval, ms | ratio | largest difference |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for modes, inputs in SIZES:
        mesh = RectangularMesh(modes)
        program = Program(mesh, mesh.phases_of(haar(modes, np.random.default_rng(1))), inputs)
        columns = mesh.columns(program.phases, inputs)
        noise = NOISE.at(inputs, modes=modes)
        plain = seconds(lambda c=columns, n=noise: click_distribution(c[None], n), runs=20)  # type: ignore[misc]
        accurate = seconds(lambda c=columns, n=noise: accurate_click_distribution(c, n), runs=20)  # type: ignore[misc]
        peer = seconds(lambda p=program: perceval_distribution(p, NOISE, "threshold"), runs=3)  # type: ignore[misc]
        outcomes, p = perceval_distribution(program, NOISE, "threshold")
        theirs = np.zeros(2**modes)
        np.add.at(theirs, (outcomes > 0) @ (1 << np.arange(modes)), p)
        sets, [ours] = click_distribution(columns[None], noise)
        difference = np.abs(theirs[sets.masks] - ours).max()
        yield (
            f"| ({modes}, {len(inputs)}) | {1e3 * plain:.2f} | {1e3 * accurate:.2f} | {1e3 * peer:.1f} | "
            f"{peer / plain:.0f} | {difference:.1e} |"
        )


def pull_rows(devices: int) -> Iterator[str]:
    """(estimate - truth) / standard error of random devices."""
    plan, rng = calibration_plan(MODES, INPUTS, seed=1), np.random.default_rng(20260301)
    rows: list[FloatArray] = []
    begun = time.perf_counter()
    for seed in range(devices):
        truth = random_parameters(rng, MODES, INPUTS)
        found = simulate(plan, truth, pulses=PULSES, seed=seed).fit()
        rows.append((found.parameters.vector() - truth.vector()) / found.standard_errors)
    z, taken = np.array(rows), time.perf_counter() - begun
    ends = np.cumsum([0, 1, 1, len(INPUTS), MODES, MODES])
    yield f"| pulls of {devices} devices, {taken:.0f} s | mean | deviation | largest |"
    yield "| --- | --- | --- | --- |"
    for kind, first, end in zip(("I", "g2", "transmissions", "efficiencies", "dark"), ends, ends[1:], strict=False):
        part = z[:, first:end]
        yield f"| {kind} | {part.mean():+.3f} | {part.std():.3f} | {np.abs(part).max():.1f} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=100, help="of the pulls")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/how-to/calibration.md")
    arguments = parser.parse_args()
    lines: list[str] = []
    for rows in (fit_rows(), formula_rows(), pull_rows(arguments.devices)):
        for row in (*rows, ""):
            sys.stdout.write(row + "\n")
            sys.stdout.flush()
            lines.append(row)
    if arguments.write:
        replace_between(PAGE, "calibration tables", "\n".join(lines).strip())


if __name__ == "__main__":
    main()
