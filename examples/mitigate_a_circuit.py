"""One circuit on a noisy device: raw and mitigated distributions beside the ideal one."""

import numpy as np

from qpu_sdk.calibration.known import known_record
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.devices.machines import parse_noise
from qpu_sdk.devices.registry import open_device
from qpu_sdk.mitigation.mitigate import mitigate
from qpu_sdk.mitigation.selection import post_select
from qpu_sdk.photonics.meshes import BrickwallMesh
from qpu_sdk.photonics.permanents import collision_free_tree, probabilities
from qpu_sdk.photonics.program import Program
from qpu_sdk.statistics import total_variation

name = "local:slos?noise=indistinguishability:0.92,g2:0.02,transmittance:0.3"
noise = parse_noise("indistinguishability=0.92,g2=0.02,transmittance=0.3")
mesh = BrickwallMesh(9)
program = Program(mesh, np.random.default_rng(1).uniform(0, 2 * np.pi, mesh.declared), mesh.default_input(4))

# A real device is measured instead: qpu-sdk calibrate DEVICE, then load_record(FILE).
record = known_record(noise, Identity(name, "slos", 9, program.input_modes, "threshold"))
[counts] = open_device(name, seed=1).submit([program], shots=1_000_000, tag="example").result()
found = mitigate(counts, record, program=program, seed=0)

ideal = probabilities(mesh.columns(program.phases, program.input_modes), collision_free_tree(9, 4))
ideal /= ideal.sum()
print(*found.history, sep="\n")
print(f"{counts.shots:,} shots, {found.samples:,} events, worth {found.effective_samples:,.0f} of a perfect device")
print(f"distance from the ideal distribution: raw {total_variation(post_select(counts).probabilities, ideal):.3f}")
print(f"                                mitigated {total_variation(found.probabilities, ideal):.3f}")
low, high = found.interval(0.95)
print(f"{np.mean((low <= ideal) & (ideal <= high)):.0%} of {len(ideal)} outcomes are within their 95 % intervals")
