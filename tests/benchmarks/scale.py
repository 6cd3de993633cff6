"""``python -m tests.benchmarks.scale``: what a generator takes by the number of weights, one JSON line each.

Time a weight and peak memory of 10^4 to 10^7 weights, each size in a process of its own so that its memory is its own;
and the training step of ResNet-20 against the plain network's, whose ratio is peer / ours.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

from qpu_sdk.generator.mps import Generator, TaperedMPSGenerator
from qpu_sdk.training.config import TrainingConfig
from qpu_sdk.training.fit import Fitter
from qpu_sdk.training.networks import resnet20
from qpu_sdk.training.targets import Target, paper_cnn
from tests.benchmarks.pages import ROOT
from tests.benchmarks.run import Result, compare

SIZES = (10**4, 10**5, 10**6, 10**7)
BATCH = 128


def measure(size: int) -> dict[str, float]:
    """Forward passes of a tapered chain with r = 8 in this process, p in two factors of sqrt(size)."""
    generator, side = TaperedMPSGenerator(size, 8, seed=1), int(size**0.5) + 1
    factors = [torch.rand(side, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    with torch.no_grad():
        TaperedMPSGenerator(10**4, 8, seed=1)(factors if size < 10**4 else [torch.ones(101), torch.ones(101)])
        before, times = peak_bytes(), []
        for _ in range(max(5, min(200, 10**6 // size))):
            begun = time.process_time()  # of all threads, and of nothing else that the machine does
            generator(factors)
            times.append(time.process_time() - begun)
    seconds, memory = statistics.median(times), (peak_bytes() - before) / (4 * size)
    return {"seconds": seconds, "ns_a_weight": 1e9 * seconds / size, "memory_a_weight": memory}


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def apart(size: int) -> dict[str, float]:
    """:func:`measure` in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.scale", "--one", str(size)]
    found: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout)
    return found


def step(name: str, plain: nn.Module, generator: Generator, optimiser: str, *, runs: int) -> Result:
    """One training step of a generated network, batch 128, against the same network's own with Adam."""
    rng = torch.Generator().manual_seed(3)
    images, labels = torch.rand(BATCH, 1, 28, 28, generator=rng), torch.randint(10, (BATCH,), generator=rng)
    p = torch.rand(generator.outcomes_needed, generator=rng)
    config = TrainingConfig(optimiser=optimiser)  # type: ignore[arg-type]
    fitter = Fitter(generator, Target(plain), config, total_epochs=1000, steps_per_epoch=47, seed=1)
    state, adam = fitter.init(seed=1), torch.optim.Adam(plain.parameters(), lr=1e-3)

    def peer() -> None:
        adam.zero_grad()
        F.cross_entropy(plain(images), labels).backward()
        adam.step()

    return compare(name, lambda: fitter.step_(state, p, images, labels), "plain network's step", peer, runs=runs)


def main() -> None:
    """Print a line a size and a line a network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=int, metavar="SIZE")
    arguments = parser.parse_args()
    if arguments.one:
        json.dump(measure(arguments.one), sys.stdout)
        return
    for size in SIZES:
        figures = {key: round(value, 4) for key, value in apart(size).items()}
        sys.stdout.write(json.dumps({"name": f"generator_forward_{size}", **figures}) + "\n")
        sys.stdout.flush()
    for optimiser in ("adam", "rotated-adam"):
        small = TaperedMPSGenerator(6690, 8, seed=1)
        sys.stdout.write(step(f"training_step_{optimiser}", paper_cnn(), small, optimiser, runs=60).line() + "\n")
        sys.stdout.flush()
    large = TaperedMPSGenerator(269_434, 16, seed=1)
    sys.stdout.write(step("training_step_resnet20", resnet20(), large, "rotated-adam", runs=4).line() + "\n")


if __name__ == "__main__":
    main()
