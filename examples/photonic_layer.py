"""A hybrid classifier: pixels set the phases of a photonic circuit, whose distribution tells the digit.

Trained by the exact gradient, and by gradients that a machine can measure: parameter shifts and SPSA, on an ideal
simulator and on one with the noise of Belenos. A few steps of each; ``make layer`` trains them for longer.
"""

import torch
from torch import nn
from torch.nn import functional as F

import qpu_sdk as qs


class Hybrid(nn.Module):
    """49 pixels to phases, two photons in six modes, 15 probabilities to ten classes."""

    def __init__(self, **options):
        super().__init__()
        self.circuit = qs.PhotonicLayer(qs.IsometryMesh(6, 2), seed=1, **options)
        self.encode = nn.Linear(49, self.circuit.declared)
        self.decode = nn.Linear(self.circuit.outcomes, 10)

    def forward(self, pixels):
        return self.decode(self.circuit.outcomes * self.circuit(self.encode(pixels)))


def digits():
    """1,000 of the digits that ship, 7 x 7 pixels: 700 to train on, 300 to test."""
    data = qs.Dataset.load("mnist-5k", seed=0, train_size=700, test_size=300)
    parts = [(torch.from_numpy(part.x), torch.from_numpy(part.y)) for part in (data.train, data.test)]
    return [(F.avg_pool2d(images, 4).flatten(1), labels) for images, labels in parts]


def train(images, labels, *, steps, batch, **options):
    """Any optimiser of torch; the settings that it took, and a model that needs no device."""
    torch.manual_seed(1)
    model = Hybrid(**options)
    rule = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        some = torch.randint(len(images), (batch,))
        rule.zero_grad()
        F.cross_entropy(model(images[some]), labels[some]).backward()
        rule.step()
    exact = Hybrid()
    exact.load_state_dict(model.state_dict())
    return exact, model.circuit.spent.settings


(images, labels), (test_images, test_labels) = digits()
for name, options in {
    "exact": {"steps": 300, "batch": 32},
    "parameter shifts, 2 phases at a time": {
        "steps": 20, "batch": 8, "shots": 1000, "gradient": "parameter-shift", "shift_phases": 2,
    },
    "SPSA": {"steps": 40, "batch": 8, "shots": 1000, "gradient": "spsa"},
    "SPSA on Belenos, emulated": {
        "steps": 4, "batch": 4, "shots": 100_000, "gradient": "spsa", "device": "local:slos?noise=belenos",
        "budget": {"settings": 100},
    },
}.items():  # fmt: skip
    model, settings = train(images, labels, **options)
    with torch.no_grad():
        accuracy = (model(test_images).argmax(dim=1) == test_labels).double().mean()
    print(f"{name}: {options['steps']} steps, {settings} settings, test accuracy {accuracy:.3f}, chance 0.100")
