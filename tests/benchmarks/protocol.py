"""``make protocol MNIST=FOLDER``: the paper's protocol, seed by seed, with controls; writes docs/results/ and the table.

6,000 training and 600 test images are drawn by seed from MNIST's training files. Every run is a run folder under
runs/protocol, so the command can be interrupted and called again; finished runs are not repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results" / "protocol.json"
PAGE = ROOT / "docs" / "results.md"
ARMS: dict[str, tuple[str, list[str]]] = {
    "paper, chi = 4": ("paper.toml", ["generator.bond_dim=4"]),
    "paper, chi = 10": ("paper.toml", ["generator.bond_dim=10"]),
    "lean, r = 6": ("lean.toml", []),
}
SEEDS = (1, 2, 3, 4, 5)
BEGIN, END = "<!-- protocol table -->", "<!-- end -->"


def run(arm: str, seed: int, mnist: str) -> dict[str, Any]:
    """One run with its controls; gives its summary."""
    from qpu_sdk import runs
    from qpu_sdk.training.config import load_config
    from qpu_sdk.training.summary import read_summary

    config_file, overrides = ARMS[arm]
    folder = ROOT / "runs" / "protocol" / f"{arm.replace(', ', '-').replace(' = ', '')}-seed{seed}"
    config = load_config(
        ROOT / "examples" / config_file,
        overrides=[
            f"data.source={mnist}",
            "data.draw=training",
            "data.train_size=6000",
            "data.test_size=600",
            f"seed={seed}",
            "controls=true",
            "training.threads=1",
            *overrides,
        ],
    )
    if not (folder / "summary.json").is_file():
        observer = runs.Silent()
        if (folder / "config.toml").is_file():
            runs.resume(folder, observer=observer)
        else:
            runs.start(config, folder, observer=observer)
    summary = read_summary(folder).model_dump(mode="json")
    summary["data"] = "MNIST training files"
    return {"arm": arm, **summary}


def mean_and_spread(values: list[float]) -> str:
    """Mean and standard deviation (ddof = 1) in percent."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.2f} ± {100 * spread:.2f}"


def table(results: list[Mapping[str, Any]]) -> str:
    """Markdown: a row an arm; accuracies are means over seeds."""
    names = ("frozen_random", "constant", "random_subspace", "plain_network")
    head = ["", "seeds", "parameters (identifiable)", "settings", "epochs", "train %", "**test %**"]
    head += [name.replace("_", " ") for name in names] + ["training, s"]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for arm in ARMS:
        rows = [r for r in results if r["arm"] == arm]
        if not rows:
            continue
        first, q = rows[0], rows[0]["trainable_parameters"]
        cells = [arm, str(len(rows)), f"{q['total']:,} ({q['identifiable']:,})", str(first["circuit_settings"])]
        cells += [str(first["epochs"]), mean_and_spread([r["train_accuracy"] for r in rows])]
        cells += [f"**{mean_and_spread([r['test_accuracy'] for r in rows])}**"]
        cells += [mean_and_spread([r["controls"][name] for r in rows]) for name in names]
        cells += [f"{statistics.mean(r['wall_s'] for r in rows):.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(results: list[dict[str, Any]]) -> None:
    """Store the results and put the table between its marks in docs/results.md."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    text = PAGE.read_text()
    start, stop = text.index(BEGIN) + len(BEGIN), text.index(END)
    PAGE.write_text(f"{text[:start]}\n{table(results)}\n{text[stop:]}")


def main() -> None:
    """Run everything, two processes of one thread each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mnist", help="folder in torchvision's MNIST layout")
    parser.add_argument("--table", action="store_true", help="only rewrite the table from the stored results")
    arguments = parser.parse_args()
    if arguments.table:
        write(json.loads(RESULTS.read_text()))
        return
    jobs = [(arm, seed) for seed in SEEDS for arm in ARMS]
    with ProcessPoolExecutor(max_workers=2) as pool:
        futures = [pool.submit(run, arm, seed, str(Path(arguments.mnist).resolve())) for arm, seed in jobs]
        results = []
        for future in futures:
            results.append(future.result())
            done = results[-1]
            sys.stdout.write(
                f"{done['arm']} seed {done['seed']}: {100 * done['test_accuracy']:.2f} {done['controls']}\n"
            )
            sys.stdout.flush()
    write(sorted(results, key=lambda r: (list(ARMS).index(r["arm"]), r["seed"])))


if __name__ == "__main__":
    main()
