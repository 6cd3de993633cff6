"""Run one photonic circuit, look at its counts, and compare them with the exact probabilities."""

import numpy as np

from qpu_sdk.devices.registry import open_device
from qpu_sdk.mitigation.selection import post_select
from qpu_sdk.photonics.fock import collision_free_outcomes
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.photonics.permanents import collision_free_tree, probabilities
from qpu_sdk.photonics.program import Program

mesh = IsometryMesh(modes=6, photons=3)
phases = np.random.default_rng(1).uniform(0, 2 * np.pi, mesh.declared)
program = Program(mesh, phases, mesh.default_input(3))

device = open_device("local:slos?transmittance=0.4&detector=pnr", seed=1)
[counts] = device.submit([program], shots=200_000, tag="example").result()
measured = post_select(counts)

exact = probabilities(mesh.columns(phases, program.input_modes), collision_free_tree(6, 3))
exact /= exact.sum()
print(f"{counts.shots:,} shots, {counts.events:,} with all three photons, {measured.samples:,} collision-free")
for outcome, p, error, truth in zip(
    collision_free_outcomes(6, 3), measured.probabilities, measured.standard_errors, exact, strict=True
):
    print(f"modes {outcome}  {p:.4f} +- {error:.4f}   exact {truth:.4f}")
