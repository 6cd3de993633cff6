"""What the benchmarks compare with: other packages, and the same equations written the plain way."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import perceval as pcvl
import torch
from perceval.algorithm import Sampler
from torch import Tensor

from qpu_sdk.generator.mps import MPSGenerator
from qpu_sdk.layer.photonic_layer import PhotonicLayer
from qpu_sdk.photonics.meshes import BrickwallMesh


def perceval_counts(circuit: Any, state: Any, shots: int) -> Any:
    """One program as a Perceval user samples it."""
    processor = pcvl.Processor("SLOS", circuit)
    processor.with_input(state)
    processor.min_detected_photons_filter(state.n)
    return Sampler(processor, max_shots_per_call=shots).sample_count(shots)["results"]


def chain_weights(generator: MPSGenerator, p: Tensor) -> Tensor:
    """The published mapping as one chain of site matrices a weight."""
    size, bits = generator.target_size, generator.bits
    index = torch.arange(size)
    x = [((index >> (bits - 1 - k)) & 1).to(p.dtype) * 2 - 1 for k in range(bits)] + [p[:size]]
    row = torch.zeros(size, 1, generator.label.shape[0], dtype=p.dtype)
    row[:, 0, 0] = 1
    for s, values in enumerate(x):
        if s == generator.label_site:
            row = row @ generator.label
        bias = generator.biases[0 if s < generator.label_site else 1]
        value = values[:, None, None]
        row = row @ (generator.cores[s, :, :, 0] * value + generator.cores[s, :, :, 1] * (1 - value) + bias)
    weights = row[:, 0, 0]
    return weights - weights.mean()


def merlin_layer(mesh: BrickwallMesh, inputs: tuple[int, ...]) -> Any:
    """MerLin's QuantumLayer on the circuit, double precision; None when MerLin is not installed."""
    try:
        import merlin
    except ImportError:
        return None
    return merlin.QuantumLayer(
        input_size=0,
        circuit=mesh.to_perceval(),
        input_state=[int(m in inputs) for m in range(mesh.modes)],
        trainable_parameters=["phi"],
        input_parameters=[],
        measurement_strategy=merlin.MeasurementStrategy.probs(merlin.ComputationSpace.UNBUNCHED),
        dtype=torch.float64,
    )


def layer_peer(mesh: BrickwallMesh, inputs: tuple[int, ...], phases: Tensor) -> tuple[str, Callable[[], Tensor]]:
    """MerLin's QuantumLayer on the same circuit, or torch operations when MerLin is not installed."""
    layer = merlin_layer(mesh, inputs)
    if layer is None:
        return "torch operations (MerLin is not installed)", lambda: torch_layer(phases, mesh, inputs)
    return "MerLin QuantumLayer", lambda: layer()


def module_peer(ours: PhotonicLayer) -> tuple[str, Any]:
    """The same as a module with the same phases, and a name that says by how much p and gradients differ."""
    mesh, inputs = ours.mesh, ours.input_modes
    assert isinstance(mesh, BrickwallMesh)
    theirs = merlin_layer(mesh, inputs)
    if theirs is None:
        name = "torch operations (MerLin is not installed)"
        return name, lambda: torch_layer(ours.phases, mesh, inputs)
    wired = sorted({slot for gate in mesh.gates for slot in gate.slots})
    weight = torch.linspace(-1, 1, ours.outcomes, dtype=torch.float64)
    with torch.no_grad():
        theirs.phi.copy_(ours.phases[wired])
    [mine] = torch.autograd.grad(ours() @ weight, ours.phases)
    [other] = torch.autograd.grad(theirs()[0] @ weight, theirs.phi)
    difference = max(float((ours() - theirs()[0]).abs().max().detach()), float((mine[wired] - other).abs().max()))
    assert difference < 1e-6
    return f"MerLin QuantumLayer, largest difference {difference:.0e}", theirs


def torch_layer(phases: Tensor, mesh: BrickwallMesh, inputs: tuple[int, ...]) -> Tensor:
    """Gate by gate and outcome by outcome with torch's own autograd."""
    unitary = torch.eye(mesh.modes, dtype=torch.complex128)
    for gate in mesh.gates:
        half = phases[gate.theta] / 2
        cos, sin = half.cos().to(torch.complex128), 1j * half.sin()
        upper = torch.exp(1j * phases[gate.phi_top]) * (cos * unitary[gate.mode] + sin * unitary[gate.mode + 1])
        lower = torch.exp(1j * phases[gate.phi_bottom]) * (sin * unitary[gate.mode] + cos * unitary[gate.mode + 1])
        rows = [*unitary[: gate.mode], upper, lower, *unitary[gate.mode + 2 :]]
        unitary = torch.stack(rows)
    photons = len(inputs)
    outcomes = torch.tensor(list(itertools.combinations(range(mesh.modes), photons)))
    signs = torch.tensor([(1, *rest) for rest in itertools.product((1, -1), repeat=photons - 1)]).to(unitary.dtype)
    sums = signs @ unitary[:, list(inputs)].T
    amplitude = (signs.prod(dim=1)[:, None] * sums[:, outcomes].prod(dim=2)).sum(dim=0) / math.ldexp(1, photons - 1)
    return amplitude.abs().square()
