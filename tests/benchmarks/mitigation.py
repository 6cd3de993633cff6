"""``make mitigation``: mitigations side by side where the project is measured; writes docs/how-to/mitigation.md.

Threshold detectors, indistinguishability 0.92, g2 0.02, transmittance 0.3 and 0.06, an unknown error of up to 0.01 rad
on every phase, 1e6 and 1e7 shots an estimate. The record is measured first, on the same simulated device, in ten
settings. Programs and counts are drawn from seeds that nothing was tuned on. ``--table`` rewrites the tables from the
stored results, ``--coverage`` measures only how often the intervals hold the truth.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np

from qpu_sdk.calibration.calibrate import measure_device
from qpu_sdk.calibration.measure import CalibrationRequest
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.calibration.store import CalibrationStore
from qpu_sdk.comparison.compare import compare_on
from qpu_sdk.comparison.page import cells, comparison_page, harm
from qpu_sdk.comparison.programs import KINDS, ProgramKind, known_programs
from qpu_sdk.comparison.table import MeanRow, rows
from qpu_sdk.comparison.trial import ComparisonRequest
from qpu_sdk.devices.registry import open_device
from qpu_sdk.mitigation.mitigate import mitigate
from qpu_sdk.mitigation.outcomes import LEVEL
from qpu_sdk.statistics import total_variation
from tests.benchmarks.pages import ROOT, replace_between

RESULTS = ROOT / "docs" / "results" / "mitigation.json"
PAGE = ROOT / "docs" / "how-to" / "mitigation.md"
FOLDER = ROOT / "runs" / "mitigation"
INPUTS, SEED = (0, 2, 5, 8), 2026
#: Programs of a kind: the goals are about the first one.
EACH: tuple[tuple[tuple[ProgramKind, ...], int], ...] = (
    (("brickwall",), 20),
    (("haar", "identity", "permutation", "dft"), 8),
)
POINTS = ((0.3, 10_000_000), (0.3, 1_000_000), (0.06, 10_000_000), (0.06, 1_000_000))
#: TVD of post-selection and goals of the project for the mean over brick-wall programs, in the order of the points.
GOALS = ((0.079, 0.025), (0.094, 0.060), (0.251, 0.160), (0.580, 0.220))
REPETITIONS = 200


def device_of(transmittance: float) -> str:
    """The simulated device."""
    return f"local:slos?noise=indistinguishability:0.92,g2:0.02,phase_error:0.01,transmittance:{transmittance}"


def record_of(transmittance: float) -> CalibrationRecord:
    """The record of the device, measured once."""
    store = CalibrationStore(FOLDER / "records")
    name = device_of(transmittance)
    if not store.all(name).records:
        measure_device(name, store.folder, CalibrationRequest(9, INPUTS, 1_000_000, seed=1))
    return store.all(name).records[-1]


def compare_at(point: tuple[float, int]) -> dict[str, Any]:
    """One comparison, all kinds of programs."""
    transmittance, shots = point
    record = record_of(transmittance)
    path = FOLDER / f"{record.id}.json"
    path.write_text(record.to_json())
    found = []
    for kinds, each in EACH:
        request = ComparisonRequest(kinds, each, (shots,), SEED, methods=("unfold", "subtract", "fuse"))
        found.append(compare_on(device_of(transmittance), path, request, folder=FOLDER))
        (FOLDER / f"T{transmittance}-{shots}-{kinds[0]}.html").write_text(comparison_page(found[-1]))
    trials = [trial for comparison in found for trial in comparison.trials]
    return {
        "point": list(point),
        "record_id": record.id,
        "calibration": [found[0].calibration_settings, found[0].calibration_shots],
        "kinds": {kind: [asdict(r) for r in rows([t for t in trials if t.kind == kind])] for kind in KINDS},
        "harm": [line for comparison in found for line in harm(comparison)],
        "estimates": sum(trial.method == "ours" for trial in trials),
    }


def coverage_at(point: tuple[float, int]) -> dict[str, Any]:
    """Share of outcomes whose interval holds the truth, over repetitions with other programs and counts."""
    transmittance, shots = point
    record, inside = record_of(transmittance), []
    distances: list[float] = []
    programs = known_programs(("brickwall",), modes=9, input_modes=INPUTS, each=REPETITIONS, seed=SEED + 1)
    device = open_device(device_of(transmittance), seed=SEED + 1)
    for known in programs:
        [counts] = device.submit([known.program], shots=shots).result()
        found = mitigate(counts, record, program=known.program, seed=known.number)
        low, high = found.interval(LEVEL)
        inside.append(float(((low <= known.truth) & (known.truth <= high)).mean()))
        distances.append(total_variation(found.probabilities, known.truth))
    spread = float(np.std(inside, ddof=1) / np.sqrt(len(inside)))
    return {
        "point": list(point),
        "repetitions": len(inside),
        "covered": float(np.mean(inside)),
        "standard_error": spread,
        "tvd": float(np.mean(distances)),
        "tvd_error": float(np.std(distances, ddof=1) / np.sqrt(len(distances))),
    }


def by_method(data: dict[str, Any], kind: str) -> dict[tuple[str, int], MeanRow]:
    """Rows of one kind of program, by method and settings."""
    found = [MeanRow(**row) for row in data["kinds"][kind]]
    return {(row.method, row.settings): row for row in found}


def goal_table(results: dict[str, Any]) -> str:
    """Ours against raw and the best of Perceval on the paper's mesh, and the goals."""
    head = ["transmittance, shots", "goal (raw then)", "raw", "**ours, 1 setting**", "**ours, 75 settings**"]
    head += ["Perceval none", "low", "medium (27)", "high (75)", "recycling", "sampling floor"]
    head += ["in 95 % intervals, 200 repetitions"]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for point, (raw, goal), data, covered in zip(
        POINTS, GOALS, results["comparisons"], results["coverage"], strict=True
    ):
        by = by_method(data, "brickwall")
        named = [("raw", 1), ("ours", 1), ("ours", 75), ("none", 1), ("low", 1), ("medium", 27), ("high", 75)]
        means = [cells(by[key])[2] for key in [*named, ("recycling", 1)]]
        line = [f"{point[0]}, {point[1]:,}", f"≤ {goal:.3f} ({raw:.3f})", means[0]]
        line += [f"**{means[1]}**", f"**{means[2]}**", *means[3:], f"{by['raw', 1].floor:.3f}"]
        line += [f"{100 * covered['covered']:.1f} ± {100 * covered['standard_error']:.1f} %"]
        lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines)


def kind_table(results: dict[str, Any]) -> str:
    """Every kind of program at every point: raw and ours, and the other methods of ours."""
    head = ["programs", "transmittance, shots", "raw", "**ours**", "95 % interval of ours - raw", "unfold", "subtract"]
    head += ["fuse", "medium (27)", "high (75)", "recycling", "sampling floor"]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for kind in KINDS:
        for point, data in zip(POINTS, results["comparisons"], strict=True):
            by = by_method(data, kind)
            ours = cells(by["ours", 1])
            line = [f"{by['raw', 1].programs} {kind}", f"{point[0]}, {point[1]:,}", cells(by["raw", 1])[2]]
            line += [f"**{ours[2]}**", ours[3]]
            keys = [(f"ours: {method}", 1) for method in ("unfold", "subtract", "fuse")]
            keys += [("medium", 27), ("high", 75), ("recycling", 1)]
            line += [cells(by[key])[2].split(" ")[0] for key in keys]
            lines.append("| " + " | ".join([*line, f"{by['raw', 1].floor:.3f}"]) + " |")
    return "\n".join(lines)


def harm_list(results: dict[str, Any]) -> str:
    """Where ours is worse than raw."""
    lines = []
    for (transmittance, shots), data in zip(POINTS, results["comparisons"], strict=True):
        found = data["harm"]
        lines.append(f"Transmittance {transmittance}, {shots:,} shots, {len(found)} of {data['estimates']} estimates:")
        lines += [f"- {line}" for line in found[:6]] + ([f"- and {len(found) - 6} smaller"] if len(found) > 6 else [])
        lines.append("")
    return "\n".join(lines).rstrip()


def write(results: dict[str, Any]) -> None:
    """Put the tables into the page."""
    replace_between(PAGE, "goal table", goal_table(results))
    replace_between(PAGE, "kind table", kind_table(results))
    replace_between(PAGE, "harm list", harm_list(results))


def main() -> None:
    """Run everything, two processes of one thread each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="only rewrite the tables from the stored results")
    parser.add_argument("--coverage", action="store_true", help="measure only the coverage, and print it")
    arguments = parser.parse_args()
    if arguments.table:
        write(json.loads(RESULTS.read_text()))
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    for transmittance in (0.3, 0.06):
        record_of(transmittance)
    with ProcessPoolExecutor(max_workers=2) as pool:
        coverage = list(pool.map(coverage_at, POINTS))
        for found in coverage:
            sys.stdout.write(json.dumps(found) + "\n")
        if arguments.coverage:
            return
        results = {"coverage": coverage, "comparisons": list(pool.map(compare_at, POINTS))}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    write(results)


if __name__ == "__main__":
    main()
