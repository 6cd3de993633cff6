"""``python -m tests.benchmarks.published.cobyla MNIST``: the published schedule on sampled shots, while time allows.

A round is one measurement of p, five epochs of Adam (rate 1e-3, batches of 128) on the generator of chi = 4, which
starts with noise of 1e-9, and 1,000 evaluations of COBYLA on the phases (rhobeg 1, one random batch of 1,000 images).
Published are 200 rounds; every evaluation asks two settings of 100,000 shots. The device is that of our runs: a perfect
simulator, of which counts are sampled. Writes docs/results/cobyla.json.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qpu_sdk.arrays import FloatArray
from qpu_sdk.devices.registry import open_device
from qpu_sdk.runs.feasible import open_parts
from qpu_sdk.runs.given import Given
from qpu_sdk.runs.opened import torch_threads
from qpu_sdk.seeds import child_seed
from qpu_sdk.training.config_file import load_config
from qpu_sdk.training.evaluation import evaluate
from qpu_sdk.training.loop import Training, TrainingState
from qpu_sdk.training.qnn import QNNBank, joint_measured
from qpu_sdk.training.schedule import Schedule
from tests.benchmarks.pages import ROOT
from tests.benchmarks.published import tables

SHOTS, EVALUATIONS, EPOCHS, IMAGES = 100_000, 1000, 5, 1000
#: Seconds that a setting takes on a machine, whatever its shots.
SECONDS_A_SETTING = 15.0
OVERRIDES = (
    "generator.bond_dim=4",
    "generator.init_std=1e-9",
    "training.optimiser=adam",
    "training.lr=0.001",
    "training.beta2=0.999",
    "training.clip=0",
    "training.warmup=0",
    "training.final_lr=1",
    "training.label_smoothing=0",
    "training.weight_penalty=0",
    "training.trials=1",
    "training.warm_start_epochs=0",
    "budget.settings=none",
)


def opened(mnist: str, seed: int) -> tuple[Training, Any]:
    """The parts of a run under the published rates, and its images."""
    data = [f"data.source={mnist}", "data.draw=training", "data.train_size=6000", "data.test_size=600"]
    config = load_config(
        ROOT / "examples" / "paper.toml", overrides=[*OVERRIDES, *data, f"data.second_test={mnist}", f"seed={seed}"]
    )
    target, dataset, generator = open_parts(config, Given())
    devices = {name: open_device(name, seed=child_seed(seed, "device", name)) for name in config.device_names}
    bank = QNNBank.of(config, devices)
    schedule = Schedule.of(config)
    training = Training.of(config, schedule, dataset=dataset, target=target, generator=generator, bank=bank)
    return training, dataset


def rounds(mnist: str, seed: int, minutes: float) -> list[tables.Row]:
    """Rounds until the time is over; a row after each."""
    training, dataset = opened(mnist, seed)
    state, rows, begun, settings = training.init(), [], time.monotonic(), 0
    while (time.monotonic() - begun) < 60 * minutes:
        r = len(rows)
        state = one_round(training, state, r)
        settings += 2 * (1 + EVALUATIONS)
        weights = training.weights(state, state.p)
        parts = (dataset.test, dataset.second)
        accuracy = [evaluate(training.target, weights, *part.tensors()).accuracy for part in parts]
        rows.append(
            {
                "seed": seed,
                "round": r + 1,
                "settings": settings,
                "shots": settings * SHOTS,
                "machine_h": round(settings * SECONDS_A_SETTING / 3600, 1),
                "test": round(accuracy[0], tables.DIGITS),
                "second": round(accuracy[1], tables.DIGITS),
                "wall_s": round(time.monotonic() - begun, 1),
            }
        )
    return rows


def one_round(training: Training, state: TrainingState, r: int) -> TrainingState:
    """Measure, fit, COBYLA."""
    from scipy.optimize import minimize

    phases = state.learnt.spsa.x
    state = replace(state, p=joint_measured(training.bank.measure(phases[None], shots=SHOTS, tag=f"measure/{r}")[0]))
    fit = state.learnt.fit
    for epoch in range(EPOCHS):
        fit, _ = training.fitter.run_epoch(fit, training.batches, EPOCHS * r + epoch, state.p)
    state = replace(state, learnt=replace(state.learnt, fit=fit))
    images, labels = training.batches.sample(IMAGES, r)
    counted = iter(range(10 * EVALUATIONS))

    def loss(x: FloatArray) -> float:
        tag = f"cobyla/{r}/{next(counted)}"
        [measured] = training.bank.measure(np.asarray(x)[None], shots=SHOTS, tag=tag)
        weights = training.weights(state, joint_measured(measured))
        return evaluate(training.target, weights, images, labels).loss

    found = minimize(loss, phases, method="COBYLA", options={"maxiter": EVALUATIONS, "rhobeg": 1.0})
    spsa = replace(state.learnt.spsa, x=np.asarray(found.x, dtype=np.float64))
    return replace(state, learnt=replace(state.learnt, spsa=spsa))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mnist", help="folder in torchvision's MNIST layout")
    parser.add_argument("--minutes", type=float, default=5.0, help="for each seed")
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    begun, mnist = time.monotonic(), str(Path(arguments.mnist).resolve())
    with torch_threads(1):
        rows = [row for s in range(1, arguments.seeds + 1) for row in rounds(mnist, s, arguments.minutes)]
    command = f"python -m tests.benchmarks.published.cobyla MNIST --minutes {arguments.minutes:g}"
    tables.write("cobyla", {"command": command, "seconds": round(time.monotonic() - begun), "rows": rows})


if __name__ == "__main__":
    main()
