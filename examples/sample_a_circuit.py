"""Run one photonic circuit, look at its counts, and compare them with the exact probabilities."""

import qpu_sdk as qs

program = qs.Program.random(qs.IsometryMesh(modes=6, photons=3), seed=1)
device = qs.open_device("local:slos?transmittance=0.4&detector=pnr", seed=1)
counts = device.run(program, shots=200_000)
measured = qs.post_select(counts)

print(f"{counts.shots:,} shots, {counts.events:,} with all three photons, {measured.samples:,} collision-free")
print(measured)
print(
    f"distance from the exact distribution: {qs.total_variation(measured.probabilities, program.probabilities()):.4f}"
)
