"""``make seen``: training on an emulated Belenos as its counts look, mitigated and not, with and without SPSA on it.

The simulated machine is ``noise=belenos``: uneven efficiencies, errors of phases and of mixing angles, g2 and
indistinguishability as counts of a real one tell them, behind detectors that only click and behind some of six wires.
Two circuits of two photons in 14 modes (examples/belenos.toml), the 5,000 digits that come with the package, five
seeds; the record is measured on the machine in ten settings of a million shots. SPSA off is the same training with the
phases of the warm start kept, so that the difference, seed by seed, is what steps on the machine bring. Writes
docs/results/seen.json and the table of docs/explanation/real-machines.md.
"""

from __future__ import annotations

import json
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, final

from tests.benchmarks.pages import ROOT, mean_and_spread, replace_between

RESULTS = ROOT / "docs" / "results" / "seen.json"
PAGE = ROOT / "docs" / "explanation" / "real-machines.md"
RECORDS = ROOT / "runs" / "seen-records"
SEEDS = (0, 1, 2, 3, 4)
DETECTORS = ("threshold", "ppnr:6")
MODES, INPUTS, SHOTS = 14, (0, 1), 1_000_000


@final
@dataclass(frozen=True)
class Way:
    """One row and column of the table.

    :param detector: of the machine; None for one without noise.
    """

    detector: str | None
    mitigated: bool
    spsa: bool

    @property
    def device(self) -> str:
        """As configurations name it."""
        return "local:slos" if self.detector is None else f"local:slos?noise=belenos&detector={self.detector}"

    @property
    def name(self) -> str:
        """Of its runs."""
        parts = [self.detector or "ideal", "mitigated" if self.mitigated else "raw", "spsa" if self.spsa else "warm"]
        return "-".join(parts).replace(":", "")


WAYS = (
    Way(None, False, spsa=True),
    *(Way(detector, mitigated, spsa=True) for detector in DETECTORS for mitigated in (True, False)),
    Way("threshold", mitigated=True, spsa=False),
)


def calibrate(detector: str) -> None:
    """Measure the machine, once."""
    from qpu_sdk.calibration.calibrate import measure_device
    from qpu_sdk.calibration.measure import CalibrationRequest
    from qpu_sdk.calibration.store import CalibrationStore

    device = Way(detector, True, True).device
    if not CalibrationStore(RECORDS).all(device).records:
        measure_device(device, RECORDS, CalibrationRequest(MODES, INPUTS, SHOTS, seed=1))


def run(way: Way, seed: int) -> dict[str, Any]:
    """One run; gives its summary with the way."""
    import torch

    from qpu_sdk.runs import train as runs
    from qpu_sdk.runs.summary import RunSummary
    from qpu_sdk.training.config_file import load_config

    torch.set_num_threads(1)
    folder = ROOT / "runs" / "seen" / f"{way.name}-{seed}"
    if not (folder / "summary.json").is_file():
        overrides = [
            f"device={way.device}",
            f"seed={seed}",
            "controls=false",
            f"mitigation.method={'auto' if way.mitigated else 'post-select'}",
            *([] if way.detector is None else [f"mitigation.record={RECORDS}"]),
            *([] if way.spsa else ["spsa.steps=0"]),
        ]
        config = load_config(ROOT / "examples" / "belenos.toml", overrides=overrides)
        (runs.resume if (folder / "config.toml").exists() else lambda at: runs.train(config, at))(folder)
    summary = RunSummary.model_validate_json((folder / "summary.json").read_text()).model_dump(mode="json")
    kept = ("seed", "test_accuracy", "test_size", "train_size", "circuit_settings", "shots", "wall_s", "versions")
    return {"way": way.name, **{key: summary[key] for key in kept}}


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: accuracies in percent over seeds, and what SPSA on the machine brings, paired."""
    head = ["machine", "seeds", "settings", "shots", "SPSA on it, %", "warm start kept, %", "difference, 95 % interval"]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for way in (way for way in WAYS if way.spsa):
        on, off = (
            {r["seed"]: r for r in results if r["way"] == Way(way.detector, way.mitigated, s).name}
            for s in (True, False)
        )
        both = sorted(set(on) & set(off) if off else set(on))
        if len(both) < 2:
            continue
        label = "no noise" if way.detector is None else f"as seen, {way.detector}, " + way.name.split("-")[1]
        accuracies = [[r[s]["test_accuracy"] for s in both] for r in (on, off) if r]
        runs = [r[both[0]] for r in (on, off) if r]
        cells = [
            label,
            str(len(both)),
            ", ".join(str(r["circuit_settings"]) for r in runs),
            ", ".join(f"{r['shots'] / 1e6:.1f} M" for r in runs),
            f"**{mean_and_spread(accuracies[0])}**",
            mean_and_spread(accuracies[1]) if off else "-",
            _paired([a - b for a, b in zip(*accuracies, strict=True)]) if off else "-",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _paired(differences: list[float]) -> str:
    from scipy import stats

    mean, error = statistics.mean(differences), statistics.stdev(differences) / len(differences) ** 0.5
    half = float(stats.t.ppf(0.975, len(differences) - 1)) * error
    return f"{100 * mean:+.2f} ({100 * (mean - half):+.2f} to {100 * (mean + half):+.2f})"


def main() -> None:
    """Run everything, two processes of one thread each; finished runs are not repeated."""
    for detector in DETECTORS:
        calibrate(detector)
    jobs, results = [(way, seed) for seed in SEEDS for way in WAYS], list[dict[str, Any]]()
    with ProcessPoolExecutor(max_workers=2) as pool:
        for future in as_completed([pool.submit(run, *job) for job in jobs]):
            results.append(done := future.result())
            sys.stdout.write(f"{done['way']} seed {done['seed']}: {100 * done['test_accuracy']:.2f}\n")
            sys.stdout.flush()
    results.sort(key=lambda r: (r["way"], r["seed"]))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    replace_between(PAGE, "seen table", table(results))


if __name__ == "__main__":
    main()
