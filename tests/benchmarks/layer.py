"""``make layer``: a hybrid classifier trained by each way to gradients, accuracy against settings, three seeds.

1,000 of the digits that ship, 7 x 7 pixels each: 600 to train on, 150 for the curves, 250 to test, once, at the end.
A linear layer encodes 49 pixels in the phases of two photons in six modes, another decodes their 15 probabilities to
ten classes, and the circuit has phases of its own. Nothing is chosen by the results. Writes docs/results/layer.json
and the table of docs/how-to/photonic-layer.md; what is there is not done again, ``--only NAME`` does one row.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qpu_sdk.layer.photonic_layer import PhotonicLayer
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.training.sources import read_embedded_digits
from tests.benchmarks.pages import ROOT, mean_and_spread, replace_between

PAGE, RESULTS = ROOT / "docs" / "how-to" / "photonic-layer.md", ROOT / "docs" / "results" / "layer.json"
SEEDS = (0, 1, 2)
BELENOS = "local:slos?noise=belenos"


@dataclass(frozen=True)
class Row:
    """One way to train.

    :param options: of the layer; None: no circuit at all, pixels decoded linearly.
    :param steps: of Adam, with so many images each.
    """

    name: str
    options: dict[str, Any] | None = field(default_factory=dict)
    steps: int = 600
    batch: int = 16


ROWS = (
    Row("linear, no circuit", None),
    Row("exact, ideal p"),
    Row("exact, 2,000 shots", {"shots": 2000}),
    Row("parameter-shift, 2,000 shots", {"shots": 2000, "gradient": "parameter-shift"}, steps=150, batch=8),
    Row("4 phases at a time", {"shots": 2000, "gradient": "parameter-shift", "shift_phases": 4}, steps=450, batch=8),
    Row("SPSA, 1 pair", {"shots": 2000, "gradient": "spsa", "step": 0.3}),
    Row("SPSA, 4 pairs", {"shots": 2000, "gradient": "spsa", "step": 0.3, "pairs": 4}, steps=300),
    Row("SPSA, 1 pair, Belenos", {"shots": 100_000, "gradient": "spsa", "step": 0.3, "device": BELENOS}, 150, 8),
)


class Hybrid(nn.Module):
    """49 pixels to phases to probabilities to ten classes."""

    def __init__(self, *, seed: int, **options: Any) -> None:
        super().__init__()
        self.circuit = PhotonicLayer(IsometryMesh(6, 2), seed=seed, **options)
        self.encode = nn.Linear(49, self.circuit.declared)
        self.decode = nn.Linear(self.circuit.outcomes, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits, ``(B, 49) -> (B, 10)``."""
        p = self.circuit(self.encode(pixels))
        logits: Tensor = self.decode(self.circuit.outcomes * p)
        return logits


def digits() -> list[tuple[Tensor, Tensor]]:
    """Training, curve and test images: a hundred a class, drawn once for all seeds."""
    found, rng = read_embedded_digits(), np.random.default_rng(1)
    chosen = np.concatenate([rng.permutation(np.flatnonzero(found["y_train"] == label))[:100] for label in range(10)])
    chosen = rng.permutation(chosen)
    x = torch.from_numpy(found["x_train"][chosen].astype(np.float32) / 255.0)
    pixels = F.avg_pool2d(x[:, None], 4).flatten(1)
    labels = torch.from_numpy(found["y_train"][chosen])
    return list(zip(pixels.split([600, 150, 250]), labels.split([600, 150, 250]), strict=True))


def accuracy(model: nn.Module, part: tuple[Tensor, Tensor]) -> float:
    """With exact probabilities of the ideal circuit, whatever it was trained with: looking at a curve costs nothing."""
    pixels, labels = part
    judge = model
    if isinstance(model, Hybrid):
        judge = Hybrid(seed=0)
        judge.load_state_dict(model.state_dict())
    with torch.no_grad():
        return float((judge(pixels).argmax(dim=1) == labels).float().mean())


def train(row: Row, seed: int) -> dict[str, Any]:
    """One training: curve of (settings, accuracy), accuracy on the test images at the end, settings, seconds."""
    learned, curve_part, test = digits()
    torch.manual_seed(seed)
    model = nn.Linear(49, 10) if row.options is None else Hybrid(seed=seed, **row.options)
    rule, draw = torch.optim.Adam(model.parameters(), lr=0.02), torch.Generator().manual_seed(seed)
    curve, begun = [], time.perf_counter()
    for step in range(row.steps):
        some = torch.randint(len(learned[0]), (row.batch,), generator=draw)
        rule.zero_grad()
        F.cross_entropy(model(learned[0][some]), learned[1][some]).backward()
        rule.step()
        if (step + 1) % (row.steps // 10) == 0:
            curve.append([spent(model), round(accuracy(model, curve_part), 4)])
    seconds = round(time.perf_counter() - begun, 1)
    result = {
        "test_accuracy": round(accuracy(model, test), 4),
        "settings": spent(model),
        "seconds": seconds,
        "curve": curve,
    }
    return {"row": row.name, "seed": seed, "steps": row.steps, "batch": row.batch} | result


def spent(model: nn.Module) -> int:
    """Settings so far."""
    return model.circuit.spent.settings if isinstance(model, Hybrid) else 0


def table(results: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of the page."""
    curve = "accuracy on the curve's images after a tenth, three tenths and all steps, %"
    yield f"| gradient | steps x images | settings | {curve} | test accuracy, % |"
    yield "| --- | --- | --- | --- | --- |"
    for row in ROWS:
        own = [result for result in results if result["row"] == row.name]
        if len(own) == len(SEEDS):
            at = [statistics.mean(100 * result["curve"][i][1] for result in own) for i in (0, 2, 9)]
            settings = statistics.mean(result["settings"] for result in own)
            yield (
                f"| {row.name} | {row.steps} x {row.batch} | {settings:,.0f} | {', '.join(f'{a:.0f}' for a in at)} | "
                f"{mean_and_spread([result['test_accuracy'] for result in own])} |"
            )


def main() -> None:
    """Do what is missing, and write it down after each training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[row.name for row in ROWS], help="one row")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    done = {(result["row"], result["seed"]) for result in results}
    for row in ROWS:
        for seed in SEEDS:
            if (row.name, seed) not in done and only in (None, row.name):
                results.append(train(row, seed))
                sys.stdout.write(json.dumps(results[-1]) + "\n")
                sys.stdout.flush()
                RESULTS.write_text("[\n" + ",\n".join(json.dumps(result) for result in results) + "\n]\n")
    replace_between(PAGE, "layer table", "\n".join(table(results)))


if __name__ == "__main__":
    main()
