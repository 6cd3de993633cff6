"""``make noisy MNIST=FOLDER``: the paper's protocol on noisy devices, with mitigation, without it, and without noise.

Two simulated machines have the published noise of Ascella and Belenos. A setting gets as many shots as the machine
gives in about the time that a setting takes anyway: 1e8 on Ascella (80 MHz, a click in a tenth of the windows), 1e7 on
Belenos (4.94 MHz), ten times as many at the end. Mitigation knows a record that was measured on the machine, of ten
settings. The runs without noise are those of ``make protocol``. Writes docs/results/noisy.json and the table of
docs/mitigation.md.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.pages import ROOT, replace_between
from tests.benchmarks.protocol import RESULTS as PROTOCOL
from tests.benchmarks.protocol import SEEDS, Arm, mean_and_spread, mnist_folder, run

RESULTS = ROOT / "docs" / "results" / "noisy.json"
PAGE = ROOT / "docs" / "mitigation.md"
RECORDS = ROOT / "runs" / "noisy-records"
IDEAL = "paper, chi = 10"
#: Inputs of the two meshes of the paper, 9 and 8 modes.
INPUTS = (0, 2, 4, 5, 7, 8)
CALIBRATION_SHOTS = 10_000_000


@dataclass(frozen=True)
class Machine:
    """A noisy device, and the shots that a setting has time for."""

    name: str
    shots: int

    @property
    def device(self) -> str:
        """As configurations name it."""
        return f"local:slos?noise={self.name}-published"

    def arm(self, mitigated: bool) -> Arm:
        """One row of the table."""
        method = "auto" if mitigated else "post-select"
        overrides = (
            "generator.bond_dim=10",
            f"device={self.device}",
            f"training.shots={self.shots}",
            f"spsa.shots={self.shots}",
            f"training.final_shots={10 * self.shots}",
            f"mitigation.method={method}",
            f"mitigation.record={RECORDS}",
        )
        return Arm(f"{self.name}, {'mitigated' if mitigated else 'post-selected'}", "paper.toml", overrides)


MACHINES = (Machine("ascella", 100_000_000), Machine("belenos", 10_000_000))


def calibrate(machine: Machine) -> None:
    """Measure the machine, once."""
    from qpu_sdk.calibration.calibrate import measure_device
    from qpu_sdk.calibration.measure import CalibrationRequest
    from qpu_sdk.calibration.store import CalibrationStore

    if not CalibrationStore(RECORDS).all(machine.device).records:
        measure_device(machine.device, RECORDS, CalibrationRequest(9, INPUTS, CALIBRATION_SHOTS, seed=1))


def job(machine: Machine, mitigated: bool, seed: int, mnist: str) -> dict[str, Any]:
    """One run; controls know nothing of noise and are those of the protocol."""
    arm = machine.arm(mitigated)
    return run(Arm(arm.name, arm.config, arm.overrides, controls=False), seed, mnist)


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a row a machine, accuracies in percent over seeds."""
    head = ["", "seeds", "settings", "shots a run", "events behind the final p", "mitigated", "post-selected"]
    head += ["no noise", "mitigated minus no noise", "worst seed"]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    ideal = {r["seed"]: r["test_accuracy"] for r in json.loads(PROTOCOL.read_text()) if r["arm"] == IDEAL}
    for machine in MACHINES:
        by = {m: {r["seed"]: r for r in results if r["arm"] == machine.arm(m).name} for m in (True, False)}
        both = sorted(set(by[True]) & set(ideal))
        if not both:
            continue
        gaps = [by[True][s]["test_accuracy"] - ideal[s] for s in both]
        first = by[True][both[0]]
        events = [n for s in both for n in by[True][s]["events"]]
        cells = [
            machine.name,
            ", ".join(map(str, both)),
            str(first["circuit_settings"]),
            f"{first['shots']:.3g}",
            f"{min(events):,} to {max(events):,}",
            f"**{mean_and_spread([by[True][s]['test_accuracy'] for s in both])}**",
            mean_and_spread([r["test_accuracy"] for r in by[False].values()]),
            mean_and_spread([ideal[s] for s in both]),
            mean_and_spread(gaps),
            f"{100 * min(gaps):+.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(results: list[dict[str, Any]]) -> None:
    """Store the results and put the table into the page."""
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    if PAGE.is_file():
        replace_between(PAGE, "noisy table", table(results))


def main() -> None:
    """Run everything, two processes of one thread each."""
    mnist = mnist_folder(__doc__)
    if mnist is None:
        write(json.loads(RESULTS.read_text()))
        return
    for machine in MACHINES:
        calibrate(machine)
    jobs = [(machine, mitigated, seed) for mitigated in (True, False) for seed in SEEDS for machine in MACHINES]
    results: list[dict[str, Any]] = []
    with ProcessPoolExecutor(max_workers=2) as pool:
        for future in as_completed([pool.submit(job, *one, mnist) for one in jobs]):
            done = future.result()
            results.append(done)
            sys.stdout.write(f"{done['arm']} seed {done['seed']}: {100 * done['test_accuracy']:.2f}\n")
            sys.stdout.flush()
            write(sorted(results, key=lambda r: (r["arm"], r["seed"])))


if __name__ == "__main__":
    main()
