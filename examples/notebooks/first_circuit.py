# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first circuit
#
# Single photons enter a mesh of beam splitters, and leave it somewhere. Where is random; how likely each way is
# depends on the phases of the mesh. Here such a circuit is run on a simulated device, and its counts are compared
# with what is exact.

# %%
import perceval as pcvl

import qpu_sdk as qs

# %matplotlib inline

# %% [markdown]
# ## A program
#
# A program is a mesh, its phases, and the modes that photons enter. Two photons and four modes have six outcomes
# with one photon a mode at most; these have names such as (0, 2), the modes where photons were seen.

# %%
mesh = qs.IsometryMesh(modes=4, photons=2)
program = qs.Program.random(mesh, seed=1)
print(program.input_modes, "are the modes that photons enter,", mesh.declared, "phases decide")
exact = program.probabilities()
print("exact probabilities of the six outcomes:", exact.round(3))

# %% [markdown]
# ## A device, and counts
#
# Devices have names. `local:slos` is an exact simulator; this one loses 70 % of its photons. Counts are drawn,
# shot by shot, as on a machine: most shots show fewer photons than two, and only those with all of them tell of p
# directly.

# %%
device = qs.open_device("local:slos?transmittance=0.3", seed=1)
counts = device.run(program, shots=100_000)
measured = qs.post_select(counts)
print(f"{counts.shots:,} shots, {measured.samples:,} of them events")
print(measured)

# %% [markdown]
# ## How far from the truth?
#
# The total variation is the largest difference of the probability of any set of outcomes. It falls with the root
# of the number of events.

# %%
distances = {}
for shots in (1_000, 10_000, 100_000, 1_000_000):
    found = qs.post_select(device.run(program, shots=shots))
    distances[shots] = qs.total_variation(found.probabilities, exact)
    print(f"{shots:9,} shots, {found.samples:7,} events: total variation {distances[shots]:.4f}")
assert distances[1_000_000] < distances[1_000]

# %% [markdown]
# ## Pictures
#
# A notebook shows what a cell ends with: the circuit of a program, the bars of a distribution.
# `measured.plot("bars.png")` writes the same into a file, for which no display is needed.

# %%
program.draw()

# %%
measured.draw()

# %% [markdown]
# ## Two photons are not two balls
#
# On a balanced beam splitter two equal photons leave together: the chance to find one in each arm is 0 (Hong, Ou
# and Mandel). Photons that can be told apart come out apart half of the time. A device whose photons overlap by
# 90 % is in between.

# %%
splitter = qs.Program.from_perceval(pcvl.Circuit(2) // pcvl.BS(), pcvl.BasicState([1, 1]))
for overlap in (1.0, 0.9, 0.0):
    noisy = qs.open_device(f"local:slos?indistinguishability={overlap}", seed=1)
    apart = noisy.run(splitter, shots=100_000).collision_free().sum() / 100_000
    print(f"overlap {overlap:.0%}: {apart:.3f} of the shots have a photon in each arm")
