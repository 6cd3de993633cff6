"""The built-in networks in numpy say what they say in torch, and whatever is another network is left to torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from qpu_sdk.export.inference import predict_images
from qpu_sdk.export.use import Use
from qpu_sdk.export.weights import Model, load_model, save_model
from qpu_sdk.export.without_torch import predict_without_torch
from qpu_sdk.training.named_config import DataConfig
from qpu_sdk.training.targets import BUILT_IN, Target

KNOWN = [
    "qpu_sdk.training.targets:paper_cnn",
    "qpu_sdk.training.networks:lenet5",
    "qpu_sdk.training.networks:normed_cnn",
]
ROOT = Path(__file__).parents[2]


def trained(name: str, *, seed: int = 1, page: float | None = 0.0, values: bool = False) -> Model:
    """A network with weights, and statistics of its norms, of its own; and what it answers."""
    rng = torch.Generator().manual_seed(seed)
    network = BUILT_IN[name]().eval()
    for key, buffer in network.named_buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand(buffer.shape, generator=rng) + (0.2 if key.endswith("var") else -0.5))
    target = Target(network)
    weights = target.some_weights(rng)
    used = Use((1, 28, 28), None, page, target.probe((1, 28, 28), weights).tolist(), values=values)
    data = DataConfig().model_dump_json(exclude_none=True)
    metadata = {"target": name, "used": json.dumps(used.to_metadata()), "data": data, "data_seed": "0"}
    return Model(target.state(weights), metadata)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(2)
    np.save(tmp_path / "several.npy", rng.random((450, 28, 28)))  # more than are computed at once
    np.save(tmp_path / "one.npy", rng.random((28, 28)).astype(np.float32))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    return [tmp_path / name for name in ("several.npy", "one.npy", "bad.png", "none.png")]


def same(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    numbers = [np.array(one.get("probabilities", one.get("values", 0.0))) for one in (row, other)]
    rest = [
        {k: v for k, v in one.items() if k not in ("probability", "probabilities", "values")} for one in (row, other)
    ]
    return rest[0] == rest[1] and np.allclose(*numbers, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize("name", KNOWN)
def test_numpy_and_torch_say_the_same(name: str, values: bool, images: list[Path], tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", trained(name, values=values))
    quick = predict_without_torch(tmp_path / "m.safetensors", images)
    usual = predict_images(load_model(tmp_path / "m.safetensors"), images)
    assert quick is not None
    assert len(quick) == len(usual) == 453
    assert all(same(row, other) for row, other in zip(quick, usual, strict=True))
    assert len({str(row) for row in quick[:451]}) == 451


def altered(model: Model, **metadata: str) -> Model:
    return Model(model.tensors, {**model.metadata, **metadata})


def with_tensors(model: Model, tensors: Mapping[str, Tensor]) -> Model:
    return Model({**model.tensors, **tensors}, model.metadata)


@pytest.mark.parametrize("name", KNOWN)
def test_whatever_is_another_network_is_left_to_torch(name: str, images: list[Path], tmp_path: Path) -> None:
    model, path = trained(name), tmp_path / "m.safetensors"
    first = next(key for key in model.tensors if key.endswith("weight"))
    used = json.loads(model.metadata["used"])
    others = {
        "weights that answer otherwise": with_tensors(model, {first: 1.1 * model.tensors[first]}),
        "one tensor more": with_tensors(model, {"more": torch.zeros(1)}),
        "a tensor of another shape": with_tensors(model, {first: model.tensors[first][:-1]}),
        "no number": with_tensors(model, {first: torch.full_like(model.tensors[first], torch.nan)}),
        "another target": altered(model, target="net_of_mine:Net"),
        "no answers": altered(model, used=json.dumps(used | {"answers": None})),
        "another shape": altered(model, used=json.dumps(used | {"shape": [1, 32, 32]})),
        "damaged": altered(model, used="{"),
        "foreign": Model(model.tensors, {}),
    }
    for what, other in others.items():
        save_model(path, other)
        assert predict_without_torch(path, images) is None, what
    path.write_bytes(b"")
    assert predict_without_torch(path, images) is None
    assert predict_without_torch(tmp_path / "none", images) is None


def test_a_built_in_network_is_used_without_torch_and_perceval(images: list[Path], tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors", trained(KNOWN[0]))
    code = (
        "import sys; from qpu_sdk.cli.app import app; app(sys.argv[1:], standalone_mode=False); "
        "print([name for name in ('torch', 'perceval', 'scipy', 'matplotlib', 'requests') if name in sys.modules])"
    )
    for model in (tmp_path / "model.safetensors", tmp_path):  # a run's folder too
        done = subprocess.run(
            [sys.executable, "-c", code, "predict", str(model), str(images[1])],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        line, loaded = done.stdout.splitlines()
        assert line.startswith(f"{images[1]}: ")
        assert loaded == "[]"
