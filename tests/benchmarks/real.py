"""``make real DATA=FOLDER``: mitigation of counts that a real machine gave, for circuits whose unitary is known.

The folder holds JSON files, each of one job: ``modes``, ``input_modes``, ``outcomes`` (pairs of modes), ``settings``
with ``counts`` of each outcome and the unitary (``unitary_real``, ``unitary_imag``), ``vendor_figures``, ``device``.
Only coincidences in different modes are counts; ``pairs`` that are not among them were bunched or not resolved, and are
part of nothing. No file of such a folder belongs to this repository, and no test needs one.

Ways: the vendor's figures; a record fitted by ``calibrate_from`` to the *other* settings of the same file (each of
``--folds`` parts is left out once); a record fitted to another file. Never is a setting judged by a record that has
seen it. Distances are to the ideal distribution of the unitary; the machine's own errors of phases are in them, and
what a perfect device would have with as many events is the sampling floor. ``--write`` stores docs/results/real.json
and the table of docs/explanation/real-machines.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

import qpu_sdk as qs
from qpu_sdk.arrays import FloatArray
from qpu_sdk.calibration.known import vendor_record
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.errors import QPUError
from qpu_sdk.mitigation.selection import post_select
from qpu_sdk.photonics.meshes import RectangularMesh
from qpu_sdk.photonics.program import Program
from qpu_sdk.statistics import sampling_distance
from tests.benchmarks.mismatch import judged
from tests.benchmarks.pages import ROOT, replace_between

RESULTS = ROOT / "docs" / "results" / "real.json"
PAGE = ROOT / "docs" / "explanation" / "real-machines.md"
MARK = "real table"
METHODS = ("auto", "response", "subtract")
#: Of the records that are fitted; the published ones have what the vendor says and nothing else.
PUBLISHED, SAME, OTHER = "vendor's figures", "fitted to other settings of the job", "fitted to another job"


@final
@dataclass(frozen=True, eq=False)
class Job:
    """A file: settings with their counts, and what is known of the machine."""

    name: str
    device: str
    vendor: dict[str, Any]
    counts: tuple[qs.Counts, ...]
    programs: tuple[Program, ...]
    truths: tuple[FloatArray, ...]

    @classmethod
    def read(cls, path: Path) -> Job:
        """Of a file of the folder."""
        data = json.loads(path.read_text(encoding="utf-8"))
        modes, inputs = int(data["modes"]), tuple(data["input_modes"])
        outcomes = np.zeros((len(data["outcomes"]), modes), dtype=np.uint8)
        for row, seen in zip(outcomes, data["outcomes"], strict=True):
            row[seen] = 1
        programs, counts = [], []
        mesh = RectangularMesh(modes)
        for setting in data["settings"]:
            unitary = np.array(setting["unitary_real"]) + 1j * np.array(setting["unitary_imag"])
            programs.append(Program(mesh, mesh.phases_of(_nearest(unitary)), inputs))
            numbers = np.array(setting["counts"])
            counts.append(
                qs.Counts(
                    photons=len(inputs), outcomes=outcomes, numbers=numbers, detector="pnr", device=data["device"]
                )
            )
        truths = tuple(program.probabilities() for program in programs)
        return cls(path.stem, data["device"], data["vendor_figures"], tuple(counts), tuple(programs), truths)

    def published(self) -> qs.CalibrationRecord:
        """What the vendor says."""
        program = self.programs[0]
        identity = Identity(self.device, self.device, program.modes, program.input_modes, "pnr")
        return vendor_record(self.vendor, identity, utc="2026-03-01T12:00:00Z")

    def fitted(self, settings: Sequence[int]) -> qs.CalibrationRecord:
        """To some of the settings."""
        fit = getattr(qs, "calibrate_from")  # noqa: B009 - the front door gives names when they are asked for
        found: qs.CalibrationRecord = fit(
            [self.counts[i] for i in settings],
            [self.programs[i] for i in settings],
            device=self.device,
            vendor=self.vendor,
        )
        return found


def _nearest(unitary: np.typing.NDArray[np.complex128]) -> np.typing.NDArray[np.complex128]:
    """The nearest unitary: files hold fifteen digits or fewer."""
    left, _, right = np.linalg.svd(unitary)
    return np.asarray(left @ right)


def cells_of(jobs: Sequence[Job], folds: int) -> Iterator[dict[str, Any]]:
    """Every way of every setting."""
    for job in jobs:
        every = range(len(job.counts))
        yield from judge(job, every, job.published(), PUBLISHED)
        if not hasattr(qs, "calibrate_from"):
            sys.stderr.write("this version has no calibrate_from; the vendor's figures are all there is\n")
            continue
        number = min(folds, len(job.counts))
        for fold in range(number if number > 1 else 0):
            left_out = [i for i in every if i % number == fold]
            yield from judge(job, left_out, job.fitted([i for i in every if i not in left_out]), SAME)
        for other in jobs:
            if other is not job:
                yield from judge(job, every, other.fitted(range(len(other.counts))), f"{OTHER} ({other.name})")


def judge(job: Job, settings: Sequence[int], record: qs.CalibrationRecord, whose: str) -> Iterator[dict[str, Any]]:
    """Some settings of a job by one record."""
    for i in settings:
        counts, truth = job.counts[i], job.truths[i]
        floor = sampling_distance(truth, int(counts.collision_free().sum()))
        for method in METHODS:
            cell: dict[str, Any] = {"job": job.name, "setting": i, "record": whose, "asked": method, "floor": floor}
            try:
                found = qs.mitigate(counts, record, program=job.programs[i], method=method, seed=i)
            except QPUError as error:
                yield cell | {"error": str(error)}
                continue
            yield cell | judged(found, post_select(counts), truth)
        sys.stderr.write(f"{job.name} {i}: {whose}\n")


HEAD = ("job", "record", "method", "settings", "raw", "estimate", "worse than raw", "most worse", "claimed / true")
HEAD += ("holds, %", "of the ten largest, %", "sampling floor")


def table(cells: Sequence[dict[str, Any]]) -> str:
    """Markdown, a line for every job, record and method."""
    lines = ["| " + " | ".join(HEAD) + " |", "| " + " | ".join("---" for _ in HEAD) + " |"]
    for key in dict.fromkeys((c["job"], c["record"], c["asked"]) for c in cells):
        of = [c for c in cells if (c["job"], c["record"], c["asked"]) == key]
        good = [c for c in of if "error" not in c]
        if not good:
            lines.append("| " + " | ".join((*key, f"0 of {len(of)}: {of[0]['error']}", *("",) * 8)) + " |")
            continue
        mean = {k: float(np.mean([c[k] for c in good])) for k in ("raw", "auto", "claimed", "covered", "largest")}
        worse = np.array([c["auto"] - c["raw"] for c in good])
        row = [*key[:2], f"{key[2]} ({', '.join(sorted({c['method'] for c in good}))})" if key[2] == "auto" else key[2]]
        row += [str(len(good)), f"{mean['raw']:.3f}", f"**{mean['auto']:.3f}**", f"{int((worse > 0.0).sum())}"]
        row += [f"{worse.max():+.3f}", f"{mean['claimed'] / mean['auto']:.2f}", f"{100 * mean['covered']:.0f}"]
        row += [f"{100 * mean['largest']:.0f}", f"{np.mean([c['floor'] for c in good]):.3f}"]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> None:
    """Judge all files of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--folds", type=int, default=9, help="parts that are left out in turn")
    parser.add_argument("--write", action="store_true", help="store the results and the table of the page")
    parser.add_argument("--history", action="store_true", help="print what each estimate says of itself")
    arguments = parser.parse_args()
    paths = sorted(arguments.folder.glob("*.json"))
    if not paths:
        parser.error(f"{arguments.folder} holds no JSON file. Give the folder of the counts.")
    cells = list(cells_of([Job.read(path) for path in paths], arguments.folds))
    if arguments.history:
        for c in cells:
            told = c.get("error") or f"{c['raw']:.4f} -> {c['auto']:.4f}: {c['verdict']} {c['history']}"
            sys.stdout.write(f"{c['job']} {c['setting']} {c['record']} {c['asked']}: {told}\n")
    text = table(cells)
    sys.stdout.write(text + "\n")
    if arguments.write:
        kept = [{k: round(v, 5) if isinstance(v, float) else v for k, v in c.items() if k != "history"} for c in cells]
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        if PAGE.exists() and f"<!-- {MARK} -->" in PAGE.read_text(encoding="utf-8"):
            replace_between(PAGE, MARK, text)


if __name__ == "__main__":
    main()
