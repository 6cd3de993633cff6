"""A trained model runs with torch and safetensors alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from qpu_sdk.cli.app import app
from qpu_sdk.export.weights import load_model
from qpu_sdk.runs.summary import RunSummary
from tests.digits import train_arguments, write_digits

READER = """
import importlib.abc, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("qpu_sdk", "perceval"):
            raise ImportError(name + " is not for this test")

sys.meta_path.insert(0, Refuse())
try:
    import qpu_sdk
except ImportError:
    pass
else:
    sys.exit("qpu_sdk could be imported")

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 5), nn.Conv2d(8, 12, 5)
        self.fc1, self.fc2 = nn.Linear(192, 20), nn.Linear(20, 10)

    def forward(self, x):
        x = F.max_pool2d(self.conv2(F.max_pool2d(self.conv1(x), 2)), 2)
        return self.fc2(self.fc1(x.flatten(1)))

model, images, out = sys.argv[1:]
network = Network()
network.load_state_dict(load_file(model))
with np.load(images) as arrays, torch.no_grad():
    x = torch.from_numpy(arrays["x_test"]).float().div(255).unsqueeze(1)
    np.save(out, network(x).numpy())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, its images, and the logits that the plain reader computed."""
    folder = tmp_path_factory.mktemp("standalone")
    data = write_digits(folder / "digits.npz")
    result = CliRunner().invoke(app, train_arguments(data, folder / "run"))
    assert result.exit_code == 0, result.output
    arguments = [folder / "run" / "model.safetensors", data, folder / "logits.npy"]
    command = [sys.executable, "-c", READER, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_logits_are_those_of_the_sdk(folder: Path) -> None:
    model = load_model(folder / "run")
    target = model.open_target()
    with np.load(folder / "digits.npz") as arrays, torch.no_grad():
        images = torch.from_numpy(arrays["x_test"].astype(np.float32) / 255).unsqueeze(1)
        expected = target.logits(target.flat(model.tensors), images).numpy()
    logits = np.load(folder / "logits.npy")
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6 * float(np.abs(expected).max()))
    assert np.array_equal(logits.argmax(axis=1), expected.argmax(axis=1))


def test_accuracy_is_the_one_reported(folder: Path) -> None:
    with np.load(folder / "digits.npz") as arrays:
        labels = arrays["y_test"]
    hits = (np.load(folder / "logits.npy").argmax(axis=1) == labels).mean()
    summary = RunSummary.model_validate_json((folder / "run" / "summary.json").read_text())
    assert hits == pytest.approx(summary.test_accuracy, abs=1e-12)


def test_the_model_depends_on_its_input(folder: Path) -> None:
    logits = np.load(folder / "logits.npy")
    assert np.ptp(logits, axis=0).max() > 1e-3
