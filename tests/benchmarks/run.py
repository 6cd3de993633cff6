"""``make bench``: one JSON line a benchmark, ours against a peer, medians of alternating runs in this process.

ratio = peer_ms / ours_ms. The peers are Perceval, MerLin (when it is installed; else the same equations written with
torch operations), the site-by-site chain, the plain CNN's training step, and EM without acceleration (for one program).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.generator.mps import MPSGenerator
from qpu_sdk.layer.photonic_layer import PhotonicLayer
from qpu_sdk.mitigation.mitigate import mitigate
from qpu_sdk.photonics.autograd import torch_probabilities
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh
from qpu_sdk.photonics.program import Program
from qpu_sdk.training.config import TrainingConfig
from qpu_sdk.training.fit import Fitter
from qpu_sdk.training.targets import Target, paper_cnn
from tests.benchmarks import mitigation_peers, peers
from tests.benchmarks.pages import RESULTS_PAGE, replace_between

Work = Callable[[], object]


@dataclass(frozen=True)
class Result:
    """Median times of one benchmark, in milliseconds."""

    name: str
    ours_ms: float
    peer: str
    peer_ms: float

    def line(self) -> str:
        """One JSON object."""
        ours, peer = round(self.ours_ms, 4), round(self.peer_ms, 4)
        values = {"name": self.name, "ours_ms": ours, "peer": self.peer, "peer_ms": peer}
        return json.dumps(values | {"ratio": round(self.peer_ms / self.ours_ms, 2)})


def compare(name: str, ours: Work, peer_name: str, peer: Work, *, runs: int, per: int = 1) -> Result:
    """Median time of both, in turns so that a drift of the machine meets both alike.

    A turn is three timed calls after one that is not: the other's threads and cache lines should not be timed.

    :param per: how many items one call handles; times are per item.
    """
    times: dict[Work, list[float]] = {ours: [], peer: []}
    for _ in range(runs):
        for work in (ours, peer):
            work()
            for _ in range(3):
                begun = time.perf_counter()
                work()
                times[work].append(1e3 * (time.perf_counter() - begun) / per)
    return Result(name, statistics.median(times[ours]), peer_name, statistics.median(times[peer]))


def submit() -> Result:
    """64 programs, 9 modes and 4 photons, 100,000 shots each, per program."""
    mesh, shots, batch = BrickwallMesh(9), 100_000, 64
    phases = np.random.default_rng(1).uniform(0, 2 * np.pi, (batch, mesh.declared))
    programs = [Program(mesh, row, mesh.default_input(4)) for row in phases]
    circuits = [program.to_perceval() for program in programs]
    device = LocalDevice(seed=1)
    return compare(
        "submit",
        lambda: device.submit(programs, shots=shots).result(),
        "Perceval Processor('SLOS') + Sampler.sample_count",
        lambda: [peers.perceval_counts(circuit, state, shots) for circuit, state in circuits],
        runs=3,
        per=batch,
    )


def layer_gradient(modes: int, photons: int) -> Result:
    """Forward and backward of one layer: phases to collision-free probabilities to a loss."""
    mesh = BrickwallMesh(modes)
    rng = np.random.default_rng(2)
    phases = torch.from_numpy(rng.uniform(0, 2 * np.pi, mesh.declared)).requires_grad_(True)
    inputs = mesh.default_input(photons)
    name, forward = peers.layer_peer(mesh, inputs, phases)

    def step(layer: Callable[[], torch.Tensor]) -> None:
        phases.grad = None
        layer().square().sum().backward()

    return compare(
        f"layer_gradient_{modes}_{photons}",
        lambda: step(lambda: torch_probabilities(phases, mesh, inputs)),
        name,
        lambda: step(forward),
        runs=30,
    )


def photonic_layer() -> Result:
    """Forward and backward of a layer, 9 modes and 4 photons, exact, against MerLin's."""
    ours = PhotonicLayer(BrickwallMesh(9), photons=4, seed=2)
    name, theirs = peers.module_peer(ours)

    def step(layer: Callable[[], torch.Tensor]) -> None:
        layer().square().sum().backward()

    return compare("photonic_layer_9_4", lambda: step(ours), name, lambda: step(theirs), runs=30)


def encoded_batch() -> Result:
    """Forward and backward of 64 data-encoded phase vectors, 9 modes and 4 photons, against one by one."""
    layer = PhotonicLayer(IsometryMesh(9, 4), seed=2)
    given = torch.rand(64, layer.declared, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    peer = lambda: torch.stack([layer(row) for row in given]).square().sum().backward()  # noqa: E731
    ours = lambda: layer(given).square().sum().backward()  # noqa: E731
    return compare("encoded_batch_64", ours, "the same layer, vector by vector", peer, runs=10)


def generator(chi: int) -> Result:
    """Forward and backward of the published mapping to 6,690 weights."""
    ours = MPSGenerator(6690, chi, seed=1, init_std=0.1)
    p = torch.rand(8820, generator=torch.Generator().manual_seed(1))

    def step(mapping: Callable[[torch.Tensor], torch.Tensor]) -> None:
        ours.zero_grad()
        mapping(p).square().sum().backward()

    return compare(
        f"generator_chi{chi}",
        lambda: step(ours),
        "site-by-site chain",
        lambda: step(lambda p: peers.chain_weights(ours, p)),
        runs=20,
    )


def training_step(chi: int) -> Result:
    """One training step, batch 128, against the step of the plain CNN, both with Adam."""
    rng = torch.Generator().manual_seed(3)
    images, labels = torch.rand(128, 1, 28, 28, generator=rng), torch.randint(10, (128,), generator=rng)
    target = Target(paper_cnn())
    fitter = Fitter(
        MPSGenerator(target.size, chi, seed=1, init_std=0.02),
        target,
        TrainingConfig(optimiser="adam"),
        total_epochs=1000,
        steps_per_epoch=47,
        seed=1,
    )
    p = torch.rand(8820, generator=rng)
    plain = paper_cnn()
    adam = torch.optim.Adam(plain.parameters(), lr=1e-3)

    def peer() -> None:
        adam.zero_grad()
        F.cross_entropy(plain(images), labels).backward()
        adam.step()

    state = fitter.init(seed=1)
    ours = lambda: fitter.step_(state, p, images, labels)  # noqa: E731
    return compare(f"training_step_chi{chi}", ours, "plain CNN step", peer, runs=60)


def recycling() -> Result:
    """Photon recycling of the same counts, 9 modes and 4 photons."""
    ours_s, peer_s, difference = mitigation_peers.recycling()
    peer = f"Perceval photon_recycling, largest difference {difference:.0e}"
    return Result("recycling_9_4", 1e3 * ours_s, peer, 1e3 * peer_s)


def unfolding(programs: int) -> Result:
    """Unfolding with stopping and fusion with the events, 9 modes and 4 photons, every program with its own model."""
    cases = [mitigation_peers.unfolding_case(seed) for seed in range(programs)]
    found = compare(
        f"unfolding_9_4_x{programs}",
        lambda: [mitigation_peers.unfold_and_fuse(*case) for case in cases],
        "3000 plain EM iterations on two held-out sets and all counts" + (", one of them" if programs > 1 else ""),
        lambda: mitigation_peers.plain_unfolding(*cases[0]),
        runs=2,
    )
    return Result(found.name, found.ours_ms, found.peer, found.peer_ms * programs)


def mitigation() -> Result:
    """Everything from counts to a distribution with error bars, 9 modes and 4 photons."""
    counts, record, program = mitigation_peers.mitigation_case(seed=1)
    return compare(
        "mitigate_9_4",
        lambda: mitigate(counts, record, program=program, seed=1),
        "Perceval photon_recycling",
        lambda: mitigation_peers.perceval_answer(counts.to_perceval(), 4),
        runs=3,
    )


def benchmarks() -> Iterator[Result]:
    """All of them, in order."""
    yield submit()
    yield layer_gradient(9, 4)
    yield layer_gradient(12, 6)
    yield photonic_layer()
    yield encoded_batch()
    yield generator(4)
    yield generator(10)
    yield training_step(4)
    yield training_step(10)
    yield recycling()
    yield unfolding(1)
    yield unfolding(64)
    yield mitigation()


def main() -> None:
    """Print a line a benchmark; with --write also put them into docs/explanation/results.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/explanation/results.md")
    arguments = parser.parse_args()
    results = []
    for result in benchmarks():
        results.append(result)
        sys.stdout.write(result.line() + "\n")
        sys.stdout.flush()
    if arguments.write:
        rows = ["| benchmark | ours, ms | peer | peer, ms | ratio |", "| --- | --- | --- | --- | --- |"]
        rows += [
            f"| {r.name} | {r.ours_ms:.3f} | {r.peer} | {r.peer_ms:.3f} | {r.peer_ms / r.ours_ms:.1f} |"
            for r in results
        ]
        replace_between(RESULTS_PAGE, "bench table", "\n".join(rows))


if __name__ == "__main__":
    main()
