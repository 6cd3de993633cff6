"""``make protocol MNIST=FOLDER``: the paper's protocol, seed by seed, with controls; writes the tables of the docs.

6,000 training and 600 test images are drawn by seed from MNIST's training files. Every run is a run folder under
runs/protocol, so the command can be interrupted and called again; finished runs are not repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.pages import README, RESULTS_PAGE, ROOT, replace_between

RESULTS = ROOT / "docs" / "results" / "protocol.json"
SEEDS = (1, 2, 3, 4, 5)
CONTROL_SEEDS = (1,)
CONTROLS = ("frozen_random", "constant", "random_subspace", "plain_network")


@dataclass(frozen=True)
class Arm:
    """One row of the table."""

    name: str
    config: str
    overrides: tuple[str, ...] = ()
    protocol: bool = True
    controls: bool = True
    seeds: tuple[int, ...] = SEEDS

    @property
    def slug(self) -> str:
        """Name of its run folders."""
        return "".join(c if c.isalnum() else "-" for c in self.name)


ARMS = (
    Arm("paper, chi = 4", "paper.toml", ("generator.bond_dim=4",)),
    Arm("paper, chi = 10", "paper.toml", ("generator.bond_dim=10",)),
    Arm("tapered, r = 8", "lean.toml"),
    Arm("tapered, r = 8, shifts", "shifted.toml"),
    Arm("tapered, r = 23, shifts", "shifted.toml", ("generator.bond_dim=23", "training.trials=1")),
    Arm("larger target, r = 21, shifts", "normed.toml"),
    Arm("tapered, no SPSA", "lean.toml", ("spsa.steps=0",), controls=False, seeds=(2, 3)),
    Arm("tapered, `make run` data", "lean.toml", protocol=False, seeds=(3, 2, 1)),
)


def run(arm: Arm, seed: int, mnist: str) -> dict[str, Any]:
    """One run, with its controls where the arm has them; gives its summary."""
    from qpu_sdk.runs import train as runs
    from qpu_sdk.runs.summary import RunSummary
    from qpu_sdk.training.config_file import load_config

    folder = ROOT / "runs" / "protocol" / f"{arm.slug}-seed{seed}"
    overrides = [f"seed={seed}", "training.threads=1", *arm.overrides]
    overrides += ["controls=true"] if arm.controls and seed in CONTROL_SEEDS else []
    if arm.protocol:
        overrides += [f"data.source={mnist}", "data.draw=training", "data.train_size=6000", "data.test_size=600"]
    if not (folder / "summary.json").is_file():
        if (folder / "config.toml").is_file():
            runs.resume(folder)
        else:
            config = load_config(ROOT / "examples" / arm.config, overrides=overrides)
            runs.train(config, folder)
    summary = RunSummary.model_validate_json((folder / "summary.json").read_text()).model_dump(mode="json")
    summary["data"] = "MNIST training files" if arm.protocol else summary["data"]
    return {"arm": arm.name, **summary}


def mean_and_spread(values: list[float]) -> str:
    """Mean and standard deviation (ddof = 1) in percent; nothing for no values."""
    if len(values) < 2:
        return "".join(f"{100 * value:.2f}" for value in values)
    return f"{100 * statistics.mean(values):.2f} ± {100 * statistics.stdev(values):.2f}"


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a row an arm; accuracies are means over seeds and their standard deviation."""
    head = ["", "train / test images", "seeds", "parameters (identifiable)", "settings", "epochs (exact gradients)"]
    seeds = ", ".join(map(str, CONTROL_SEEDS))
    head += ["train %", "**test %**"]
    head += [f"control (seed {seeds}): {name.replace('_', ' ')}" for name in CONTROLS] + ["training, s"]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for arm in ARMS:
        rows = [r for r in results if r["arm"] == arm.name]
        if rows:
            lines.append("| " + " | ".join(_cells(arm, rows)) + " |")
    return "\n".join(lines)


def _cells(arm: Arm, rows: list[dict[str, Any]]) -> list[str]:
    first, q = rows[0], rows[0]["trainable_parameters"]
    return [
        arm.name,
        f"{first['train_size']:,} / {first['test_size']:,}",
        str(len(rows)),
        f"{q['total']:,} ({q['identifiable']:,})",
        str(first["circuit_settings"]),
        f"{first['epochs']} ({first['exact_gradient_epochs']})",
        mean_and_spread([r["train_accuracy"] for r in rows]),
        f"**{mean_and_spread([r['test_accuracy'] for r in rows])}**",
        *(mean_and_spread([r["controls"][c] for r in rows if c in r["controls"]]) for c in CONTROLS),
        f"{statistics.mean(r['wall_s'] for r in rows):.0f}",
    ]


def write(results: list[dict[str, Any]]) -> None:
    """Store the results and put the table between its marks in every page that shows it."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    for page in (RESULTS_PAGE, README):
        replace_between(page, "protocol table", table(results))


def mnist_folder(about: str | None) -> str | None:
    """MNIST's folder out of the command line; None for ``--table``, where nothing is to be run."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("mnist", nargs="?", default="", help="folder in torchvision's MNIST layout")
    parser.add_argument("--table", action="store_true", help="only rewrite the table from the stored results")
    arguments = parser.parse_args()
    return None if arguments.table else str(Path(arguments.mnist).resolve())


def main() -> None:
    """Run everything, two processes of one thread each."""
    mnist = mnist_folder(__doc__)
    if mnist is None:
        write(json.loads(RESULTS.read_text()))
        return
    order = [arm.name for arm in ARMS]
    jobs = [(arm, seed) for seed in (3, 2, 4, 5, 1) for arm in reversed(ARMS) if seed in arm.seeds]
    quick_first = sorted(jobs, key=lambda job: job[1] in CONTROL_SEEDS)
    with ProcessPoolExecutor(max_workers=2) as pool:
        futures = [pool.submit(run, arm, seed, mnist) for arm, seed in quick_first]
        results: list[dict[str, Any]] = []
        for future in as_completed(futures):
            done = future.result()
            results.append(done)
            sys.stdout.write(
                f"{done['arm']} seed {done['seed']}: {100 * done['test_accuracy']:.2f} {done['controls']}\n"
            )
            sys.stdout.flush()
            write(sorted(results, key=lambda r: (order.index(r["arm"]), r["seed"])))


if __name__ == "__main__":
    main()
