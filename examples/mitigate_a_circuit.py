"""One circuit on a noisy device: calibrate it, and compare raw and mitigated distributions with the ideal one."""

import numpy as np

import qpu_sdk as qs

program = qs.Program.random(qs.BrickwallMesh(9), photons=4, seed=1)
device = qs.open_device("local:slos?noise=indistinguishability:0.92,g2:0.02,transmittance:0.3", seed=1)

record = qs.calibrate(device, modes=9, inputs=program.input_modes, shots=1_000_000, seed=0)  # about ten settings
counts = device.run(program, shots=1_000_000)
raw, found = qs.post_select(counts), qs.mitigate(counts, record, program=program, seed=0)

ideal = program.probabilities()
print(found)
print(f"distance from the ideal distribution: raw {qs.total_variation(raw.probabilities, ideal):.3f}")
print(f"                                mitigated {qs.total_variation(found.probabilities, ideal):.3f}")
low, high = found.interval(0.95)
print(f"{np.mean((low <= ideal) & (ideal <= high)):.0%} of {len(ideal)} outcomes are within their 95 % intervals")
