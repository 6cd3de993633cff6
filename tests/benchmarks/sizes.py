"""``python -m tests.benchmarks.sizes [--write]``: time and memory of one mitigation by size.

Each size is a process of its own, so that the memory is its own; its seconds are of ``mitigate`` alone, after one call
of a small size that loads what is loaded once. ``--write`` puts the table into docs/how-to/mitigation.md.
About two minutes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from qpu_sdk.calibration.known import known_record
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.mitigation.mitigate import mitigate
from qpu_sdk.photonics.meshes import BrickwallMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program
from qpu_sdk.statistics import total_variation
from tests.benchmarks.pages import ROOT, replace_between

PAGE = ROOT / "docs" / "how-to" / "mitigation.md"
SHOTS, SEED = 10_000_000, 7
#: Modes, photons, detector, transmittance: enough that there are events.
SIZES = (
    (9, 4, "threshold", 0.3),
    (12, 4, "threshold", 0.3),
    (12, 6, "threshold", 0.3),
    (12, 6, "pnr", 0.3),
    (16, 4, "threshold", 0.3),
    (16, 4, "ppnr:4", 0.3),
    (24, 4, "threshold", 0.3),
    (20, 5, "threshold", 0.3),
    (16, 6, "threshold", 0.4),
    (18, 6, "threshold", 0.4),
    (14, 8, "threshold", 0.5),
    (20, 6, "threshold", 0.4),
)
Measured = dict[str, float | str]


def measure(modes: int, photons: int, detector: str, transmittance: float) -> Measured:
    """One mitigation of a random brick-wall program, in this process."""
    once(6, 2, detector, transmittance)
    return once(modes, photons, detector, transmittance)


def once(modes: int, photons: int, detector: str, transmittance: float) -> Measured:
    """Simulated counts, and their mitigation."""
    mesh = BrickwallMesh(modes)
    inputs = tuple(sorted({(2 * k) % modes + (2 * k) // modes for k in range(photons)}))
    program = Program(mesh, np.random.default_rng(SEED).uniform(0.0, 2.0 * np.pi, mesh.declared), inputs)
    noise = Noise(indistinguishability=0.92, g2=0.02, transmittance=transmittance, dark_counts=1e-6)
    device = LocalDevice(seed=SEED, model=LocalModel(noise=noise, detector=detector), name="simulated")
    record = known_record(noise, Identity("simulated", "simulated", modes, inputs, detector))
    [counts] = device.submit([program], shots=SHOTS).result()
    begun = time.perf_counter()
    found = mitigate(counts, record, program=program, seed=SEED)
    seconds, raw, truth = time.perf_counter() - begun, counts.collision_free(), program.probabilities()
    return {
        "method": found.method,
        "seconds": seconds,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
        "events": int(raw.sum()),
        "outcomes": len(raw),
        "raw": total_variation(raw / max(raw.sum(), 1), truth),
        "ours": total_variation(found.probabilities, truth),
        "why": next((step.why for step in found.history if not step.used), ""),
    }


def apart(*size: int | float | str) -> Measured:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.sizes", "--one", *(str(one) for one in size)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found: Measured = json.loads(run.stdout)
    return found


def row(size: tuple[int, int, str, float]) -> str:
    """One row of the table."""
    modes, photons, detector, transmittance = size
    m = apart(*size)
    cells = [
        f"{modes}, {photons}",
        detector,
        f"{transmittance}",
        f"{m['outcomes']:,}",
        f"{m['events']:,}",
        f"`{m['method']}`",
        f"{m['seconds']:.2f}",
        f"{m['megabytes']:.0f}",
        f"{m['raw']:.3f}",
        f"{m['ours']:.3f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table, or put it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/how-to/mitigation.md")
    parser.add_argument("--one", nargs=4, metavar=("MODES", "PHOTONS", "DETECTOR", "TRANSMITTANCE"))
    arguments = parser.parse_args()
    if arguments.one:
        modes, photons, detector, transmittance = arguments.one
        json.dump(measure(int(modes), int(photons), detector, float(transmittance)), sys.stdout)
        return
    lines = [
        "| modes, photons | detectors | transmittance | outcomes | events | method | seconds | MB | raw TVD | ours |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size in SIZES:
        lines.append(row(size))
        sys.stdout.write(lines[-1] + "\n")
        sys.stdout.flush()
    if arguments.write:
        replace_between(PAGE, "size table", "\n".join(lines))


if __name__ == "__main__":
    main()
