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
# # Mitigation, and a layer that is measured
#
# A noisy device is calibrated, the counts of a circuit are corrected by what was found, and a circuit becomes a
# layer of a torch model that is trained by measurements.

# %%
import torch
from torch import nn

import qpu_sdk as qs

# %% [markdown]
# ## Calibrate
#
# Ten known circuits and one fit of all their counts leave a record with error bars. The first line says whether
# the model of the device predicts what was measured.

# %%
device = qs.open_device("local:slos?transmittance=0.3&g2=0.02&indistinguishability=0.92", seed=1)
record = qs.calibrate(device, modes=6, inputs=(0, 1, 2), shots=1_000_000, seed=1)
print(
    f"two photons overlap by {record.indistinguishability}, g2 is {record.g2}; the fit has p = {record.fit.p_value:.2f}"
)

# %% [markdown]
# ## Measure and mitigate
#
# The truth is known here, so what the correction is worth can be seen.

# %%
program = qs.Program.random(qs.IsometryMesh(modes=6, photons=3), seed=1)
counts = device.run(program, shots=1_000_000)
found = qs.mitigate(counts, record, seed=0)
print(found)

# %%
truth = program.probabilities()
raw = qs.total_variation(qs.post_select(counts).probabilities, truth)
mitigated = qs.total_variation(found.probabilities, truth)
low, high = found.interval(0.95)
print(f"total variation from the truth: raw {raw:.3f}, mitigated {mitigated:.3f}")
print(f"{((low <= truth) & (truth <= high)).sum()} of {len(truth)} outcomes are within their 95 % intervals")
assert mitigated < raw

# %% [markdown]
# ## A circuit as a layer
#
# Phases in, probabilities out, gradients exact: any optimiser of torch trains it. Here it learns to put two
# photons where they are wanted.

# %%
layer = qs.PhotonicLayer(qs.IsometryMesh(4, 2), seed=1)
rule = torch.optim.Adam(layer.parameters(), lr=0.1)
before = layer()[2].item()
for _ in range(60):
    rule.zero_grad()
    (1 - layer()[2]).backward()
    rule.step()
print(f"p(0,3) was {before:.3f} and is {layer()[2].item():.3f}")

# %% [markdown]
# ## Measured
#
# With `shots` every pass is a measurement on a device, and the gradient is made of measurements too: here of 2
# settings each. The budget is hard: what would pass it is refused before anything is sent.

# %%
measured = qs.PhotonicLayer(
    qs.IsometryMesh(4, 2),
    device="local:slos?transmittance=0.3",
    shots=5_000,
    gradient="spsa",
    pairs=2,
    budget={"settings": 200},
    seed=1,
)
rule = torch.optim.Adam(measured.parameters(), lr=0.1)
try:
    for _ in range(100):
        rule.zero_grad()
        (1 - measured()[2]).backward()
        rule.step()
except qs.QPUError as error:
    print(error)
exact = qs.PhotonicLayer(qs.IsometryMesh(4, 2), seed=1)
exact.load_state_dict(measured.state_dict())
after = exact()[2].item()
print(f"after {measured.spent.settings} settings p(0,3) is {after:.3f}")
assert after > before

# %% [markdown]
# ## In a model
#
# Between two layers of torch, phases come from data. One row of a batch is one circuit.

# %%
circuit = qs.PhotonicLayer(qs.IsometryMesh(4, 2), seed=2)
model = nn.Sequential(nn.Linear(8, circuit.declared), circuit, nn.Linear(circuit.outcomes, 3))
print(model(torch.rand(5, 8)).shape)
