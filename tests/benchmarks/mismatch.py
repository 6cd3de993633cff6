"""``make mismatch``: mitigation on devices that are not of the family that the model assumes, the truth being known.

Every row is a way in which reality differs (tests/oracles/mismatched.py says exactly how) or a record that is wrong.
Records are measured on the device itself by ``calibrate`` unless the row says otherwise. Base: indistinguishability
0.92, g2 0.02, threshold detectors, nine modes and four photons; every device runs one brick-wall and one Haar program
at two points, T = 0.3 with 1e6 shots and T = 0.06 with 1e7. Rows of two photons run two Haar programs of ten modes.

Of every estimate: its total variation distance to the ideal distribution and that of the raw frequencies;

* *worse*: the estimate's distance exceeds raw's by more than its own standard error, which is, to first order,
  ``sqrt(s^T C s) / 2`` with C the estimate's covariance and s the signs of its errors;
* *claimed*: the distance that its uncertainty promises, ``sum_k se_k sqrt(2 / pi) / 2``, over the true one;
* *holds*: the share of outcomes whose 95 % interval holds the truth, of all and of the ten truly largest.

Counts are drawn once and kept under runs/mismatch; records are fitted again where the calibration's code has changed,
estimates where that of mitigation has too. ``--rows a,b`` and ``--devices N`` measure a part; only a whole run writes
docs/results/mismatch.json and the table of docs/explanation/real-machines.md, unless ``--write`` asks for it.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

import qpu_sdk as qs
from qpu_sdk.arrays import FloatArray
from qpu_sdk.calibration.known import vendor_record
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.comparison.programs import KnownProgram, ProgramKind, known_programs
from qpu_sdk.errors import QPUError
from qpu_sdk.mitigation.selection import post_select
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.seeds import child_seed
from tests.benchmarks.pages import ROOT, replace_between
from tests.oracles.mismatched import Chip, MismatchedDevice

RESULTS = ROOT / "docs" / "results" / "mismatch.json"
PAGE = ROOT / "docs" / "explanation" / "real-machines.md"
FOLDER = ROOT / "runs" / "mismatch"
MARK = "mismatch table"
SEED, DEVICES, CALIBRATION_SHOTS = 2026, 20, 1_000_000
#: Of what is measured of an estimate.
VERSION = 1
#: Relative efficiencies of ten outputs, indistinguishability aside, as counts of a real machine show them.
SEEN = (1.0, 0.93, 0.44, 0.74, 0.94, 0.29, 0.70, 0.65, 0.94, 0.44)
PUBLISHED = {"HOM (%)": 82.7, "g2 (%)": 18.2}

Whose = Literal["own", "published", "stale"]


@final
@dataclass(frozen=True)
class Point:
    """Transmission and shots, the latter of each program."""

    transmittance: float
    shots: int

    @property
    def name(self) -> str:
        return f"T = {self.transmittance:g}, {self.shots:.0e} shots".replace("e+0", "e")


POINTS = (Point(0.3, 1_000_000), Point(0.06, 10_000_000))
REAL = (Point(0.0484, 1_000_000),)


@final
@dataclass(frozen=True)
class Size:
    """Programs of a row."""

    modes: int
    inputs: tuple[int, ...]
    kinds: tuple[tuple[ProgramKind, int], ...]


FOUR = Size(9, (0, 2, 5, 8), (("brickwall", 1), ("haar", 1)))
TWO = Size(10, (0, 1), (("haar", 2),))


@final
@dataclass(frozen=True)
class Row:
    """A way to differ.

    :param chip: the device of a point, from its seed.
    :param other: the device that a stale record was measured on.
    """

    name: str
    what: str
    chip: Callable[[Point, int], Chip]
    record: Whose = "own"
    other: Callable[[Point, int], Chip] | None = None
    size: Size = FOUR
    points: tuple[Point, ...] = POINTS


def base(point: Point, *, g2: float = 0.02, efficiency: Sequence[float] = (1.0,)) -> Noise:
    """The noise that the click model knows; transmission times efficiency is the point's on average."""
    eta = np.asarray(efficiency, dtype=np.float64)
    t = min(1.0, point.transmittance / float(eta.mean()))
    efficiencies: Any = 1.0 if len(eta) == 1 else eta
    return Noise(indistinguishability=0.92, g2=g2, transmittance=t, efficiency=efficiencies)


def uneven(point: Point, seed: int) -> Noise:
    """Efficiencies uniform in 0.28..1."""
    return base(
        point, efficiency=np.random.default_rng(child_seed(seed, "efficiencies")).uniform(0.28, 1.0, 9).tolist()
    )


def plain(**odd: float) -> Callable[[Point, int], Chip]:
    """The base with something odd."""
    return lambda point, seed: Chip(base(point), seed, **odd)  # type: ignore[arg-type]


def as_seen(modes: int, *, coincidences: bool = False) -> Callable[[Point, int], Chip]:
    """What a real machine's counts look like."""
    return lambda point, seed: Chip(
        base(point, g2=0.11, efficiency=SEEN[:modes]), seed, phase_sd=0.14, coincidences=coincidences
    )


ROWS = (
    Row("matched", "nothing differs", plain()),
    Row("crosstalk-0.02", "crosstalk 0.02 of the phases of the nearest shifters", plain(crosstalk=0.02)),
    Row("crosstalk-0.002", "crosstalk 0.002", plain(crosstalk=0.002)),
    Row("angles", "mixing angles, sd 0.1 rad, fixed on the chip", plain(angle_sd=0.1)),
    Row("drift", "phases drift by 0.1 rad within a setting", plain(drift=0.1)),
    Row("loss", "loss of 0-20 % behind each gate, by arm, fixed on the chip", plain(gate_loss=0.2)),
    Row("phases", "phase errors of up to 0.15 rad, drawn for each setting", plain(phase_uniform=0.15)),
    Row(
        "stale-g2",
        "record measured when g2 was 0.182, device now at 0.02",
        plain(),
        "stale",
        lambda point, seed: Chip(base(point, g2=0.182), seed),
    ),
    Row(
        "stale-flat",
        "record of flat efficiencies, device now at 0.28-1",
        lambda point, seed: Chip(uneven(point, seed), seed),
        "stale",
        plain(),
    ),
    Row("seen-published", "as counts of a Belenos look; published figures", as_seen(9), "published"),
    Row("seen-own", "as counts of a Belenos look; record of its own", as_seen(9)),
    Row(
        "two-published",
        "the same, two photons in ten modes; published figures",
        as_seen(10),
        "published",
        None,
        TWO,
        REAL,
    ),
    Row("two-own", "the same, two photons in ten modes; record of its own", as_seen(10), "own", None, TWO, REAL),
    Row(
        "two-filtered",
        "the same, detectors count, only coincidences kept; published figures",
        as_seen(10, coincidences=True),
        "published",
        None,
        TWO,
        REAL,
    ),
)


# -- one device ------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Task:
    """A device of a row at a point, and its number."""

    row: str
    point: Point
    device: int

    @property
    def key(self) -> str:
        return f"{self.row} {self.point.name} {self.device}"

    @property
    def seed(self) -> int:
        # Of all rows the same: they run the same programs, and differ in nothing else.
        return child_seed(SEED, "mismatch", self.device)

    @property
    def of(self) -> Row:
        return next(row for row in ROWS if row.name == self.row)


def measure(task: Task) -> list[dict[str, Any]]:
    """Every program of one device."""
    row, chip = task.of, task.of.chip(task.point, task.seed)
    device = MismatchedDevice(chip, seed=task.seed, memory=FOLDER / "counts")
    record, out = record_of(task), []
    for known in programs_of(task):
        counts = device.run(known.program, shots=task.point.shots, tag=f"{known.kind} {known.number}")
        begun = time.perf_counter()
        cell: dict[str, Any] = {"key": task.key, "row": row.name, "point": task.point.name, "device": task.device}
        cell |= {"kind": known.kind, "program": known.number, "events": int(counts.collision_free().sum())}
        try:
            found = qs.mitigate(counts, record, program=known.program, seed=task.device)
        except QPUError as error:
            out.append(cell | {"error": f"{type(error).__name__}: {error}"})
            continue
        seconds = time.perf_counter() - begun
        out.append(cell | judged(found, post_select(counts), known.truth) | {"seconds": round(seconds, 4)})
    return out


def programs_of(task: Task) -> list[KnownProgram]:
    """The same of every row of a size."""
    size = task.of.size
    return [
        known
        for kind, each in size.kinds
        for known in known_programs((kind,), modes=size.modes, input_modes=size.inputs, each=each, seed=task.seed)
    ]


def record_of(task: Task) -> qs.CalibrationRecord:
    """The record that a row mitigates with, measured once for each version of the calibration's code."""
    row, size = task.of, task.of.size
    if row.record == "published":
        detector = row.chip(task.point, task.seed).detector
        identity = Identity("mismatched", "mismatched", size.modes, size.inputs, detector)  # type: ignore[arg-type]
        figures = PUBLISHED | {"Transmittance (%)": 100.0 * task.point.transmittance}
        return vendor_record(figures, identity, utc="2026-03-01T12:00:00Z")
    make = row.other if row.record == "stale" else row.chip
    assert make is not None
    chip = make(task.point, task.seed)
    code = code_hash("calibration", "photonics")
    name = hashlib.sha256(repr((chip, size.modes, size.inputs, CALIBRATION_SHOTS, code)).encode()).hexdigest()[:24]
    path = FOLDER / "records" / f"{name}.json"
    if path.exists():
        return qs.CalibrationRecord.from_json(path.read_text())
    seed = child_seed(task.seed, "calibration")
    device = MismatchedDevice(chip, seed=seed, memory=FOLDER / "counts")
    record = qs.calibrate(device, modes=size.modes, inputs=size.inputs, shots=CALIBRATION_SHOTS, seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    being = path.with_suffix(f".{os.getpid()}.tmp")  # rows share records: the other process may be reading
    being.write_text(record.to_json())
    being.replace(path)
    return record


def judged(found: qs.Distribution, raw: qs.Distribution, truth: FloatArray) -> dict[str, Any]:
    """What is measured of one estimate; see the module's docstring."""
    errors = found.probabilities - truth
    signs = np.sign(errors)
    low, high = found.interval(0.95)
    inside, largest = (low <= truth) & (truth <= high), np.argsort(-truth, kind="stable")[:10]
    return {
        "method": found.method,
        "raw": 0.5 * float(np.abs(raw.probabilities - truth).sum()),
        "auto": 0.5 * float(np.abs(errors).sum()),
        "own_error": 0.5 * math.sqrt(max(0.0, float(signs @ found.covariance @ signs))),
        "claimed": 0.5 * math.sqrt(2.0 / math.pi) * float(found.standard_errors.sum()),
        "covered": float(inside.mean()),
        "largest": float(inside[largest].mean()),
        "verdict": str(getattr(found.diagnostics, "verdict", "")),
        "history": [str(one) for one in found.history],
    }


def code_hash(*folders: str) -> str:
    """Of what estimates, or records, are made by."""
    digest = hashlib.sha256(str(VERSION).encode())
    root = ROOT / "qpu_sdk"
    for folder in ("", *folders):  # what all rooms stand on, without the rooms
        for path in sorted((root / folder).rglob("*.py") if folder else (root / "arrays.py", root / "statistics.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


# -- tables ----------------------------------------------------------------------------------------------------

HEAD = ("row", "point", "programs", "raw", "auto", "worse by more than its error", "worse at all", "most worse")
HEAD += ("claimed / true", "holds, %", "of the ten largest, %", "methods")


def table(cells: Sequence[dict[str, Any]]) -> str:
    """Markdown, a line a row and point."""
    lines = ["| " + " | ".join(HEAD) + " |", "| " + " | ".join("---" for _ in HEAD) + " |"]
    for row in ROWS:
        for point in row.points:
            of = [c for c in cells if (c["row"], c["point"]) == (row.name, point.name)]
            if of:
                lines.append("| " + " | ".join((row.what, point.name, *summary(of))) + " |")
    good = [c for c in cells if "error" not in c]
    if good:
        lines.append("| " + " | ".join(("**all**", "", *summary(good))) + " |")
    return "\n".join(lines)


def summary(cells: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Cells of a line of the table."""
    good = [c for c in cells if "error" not in c]
    failed = len(cells) - len(good)
    if not good:
        return (f"{len(cells)}, all refused", *("",) * (len(HEAD) - 3))
    raw, auto, claimed = (np.array([c[name] for c in good]) for name in ("raw", "auto", "claimed"))
    beyond = auto - raw - np.array([c["own_error"] for c in good])
    methods = Counter(c["method"] for c in good)
    return (
        f"{len(good)}" + (f" ({failed} refused)" if failed else ""),
        f"{raw.mean():.4f}",
        f"{auto.mean():.4f}",
        f"{int((beyond > 0.0).sum())}",
        f"{int((auto > raw).sum())}",
        f"{(auto - raw).max():+.4f}",
        f"{claimed.mean() / auto.mean():.2f}",
        f"{100 * np.mean([c['covered'] for c in good]):.0f}",
        f"{100 * np.mean([c['largest'] for c in good]):.0f}",
        ", ".join(f"{name} {n}" for name, n in methods.most_common()),
    )


# -- all of it -------------------------------------------------------------------------------------------------


def stored(path: Path) -> list[dict[str, Any]]:
    """Cells that were measured by this code; a line that was cut is left out."""
    out = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            out.append(json.loads(line))
        except ValueError:
            continue
    return out


def measured(tasks: Sequence[Task], path: Path, processes: int) -> list[dict[str, Any]]:
    """Cells of all tasks, those that are not stored being measured now."""
    wanted = {task.key for task in tasks}
    cells = [cell for cell in stored(path) if cell["key"] in wanted]
    left = [task for task in tasks if task.key not in {cell["key"] for cell in cells}]
    path.parent.mkdir(parents=True, exist_ok=True)
    begun, last = time.monotonic(), 0.0
    with path.open("a") as out, ProcessPoolExecutor(max_workers=processes) as pool:
        futures = [pool.submit(measure, task) for task in left]
        for done, future in enumerate(as_completed(futures), 1):
            found = future.result()
            out.writelines(json.dumps(cell) + "\n" for cell in found)
            out.flush()
            cells += found
            if time.monotonic() - last > 5.0 or done == len(left):
                last = time.monotonic()
                sys.stderr.write(f"{done} of {len(left)} devices, {last - begun:.0f} s\n")
    return sorted(cells, key=lambda c: (c["row"], c["point"], c["device"], c["kind"], c["program"]))


def tasks_of(rows: Iterable[Row], devices: int) -> list[Task]:
    """In an order that every row has some early: a run that is stopped has said something of each."""
    pairs = [(row, point) for row in rows for point in row.points]
    return [Task(row.name, point, device) for device, (row, point) in itertools.product(range(devices), pairs)]


def main() -> None:
    """Measure, print the table, and write it where the run was a whole one."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=DEVICES, help="devices of each row and point")
    parser.add_argument("--rows", default=",".join(names), help="some of: " + ",".join(names))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--fresh-counts", action="store_true", help="draw all counts anew")
    parser.add_argument("--again", action="store_true", help="estimate anew though no code has changed")
    parser.add_argument("--write", action="store_true", help="write results and page though it is a part")
    parser.add_argument("--history", action="store_true", help="print what each estimate says of itself")
    arguments = parser.parse_args()
    chosen = arguments.rows.split(",")
    if unknown := sorted(set(chosen) - set(names)):
        parser.error(f"row {unknown[0]!r} is unknown. Use some of {', '.join(names)}.")
    if arguments.fresh_counts:
        for name in ("counts", "records"):
            shutil.rmtree(FOLDER / name, ignore_errors=True)
    path = FOLDER / f"cells-{code_hash('mitigation', 'calibration', 'photonics')}.jsonl"
    if arguments.again or arguments.fresh_counts:
        path.unlink(missing_ok=True)
    rows = [row for row in ROWS if row.name in chosen]
    cells = measured(tasks_of(rows, arguments.devices), path, arguments.processes)
    if arguments.history:
        for cell in cells:
            told = cell.get("error") or f"{cell['raw']:.4f} -> {cell['auto']:.4f} {cell['method']}: {cell['history']}"
            sys.stdout.write(f"{cell['key']} {cell['kind']}: {cell.get('verdict', '')} {told}\n")
    text = table(cells)
    sys.stdout.write(text + "\n")
    if arguments.write or (arguments.devices >= DEVICES and chosen == names):
        RESULTS.write_text(json.dumps({"devices": arguments.devices, "cells": short(cells)}, indent=1) + "\n")
        if f"<!-- {MARK} -->" in PAGE.read_text(encoding="utf-8"):
            replace_between(PAGE, MARK, text)


def short(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is worth keeping in the repository."""
    left_out = {"history", "key", "seconds"}
    return [
        {k: round(v, 5) if isinstance(v, float) else v for k, v in cell.items() if k not in left_out} for cell in cells
    ]


if __name__ == "__main__":
    main()
