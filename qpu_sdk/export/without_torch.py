"""Predict with the built-in networks in numpy: torch takes two seconds to load, and the images milliseconds.

What is computed here is checked with what the trained network answered, which is in its file: a network that answers
otherwise, or is any other, is left to torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..training.probe import PROBE_SLACK, probe_images
from .classified import classified
from .use import METADATA_KEY, Use

_Array = npt.NDArray[np.float32]
_Weights = Mapping[str, npt.NDArray[Any]]
#: Images at once, so that memory stays bounded.
_BATCH = 200
#: Of one image, as all of these networks take it.
_SHAPE = (1, 28, 28)
#: Of torch's batch norms.
_EPSILON = 1e-5


def predict_without_torch(
    model: Path, paths: Sequence[Path], *, invert: bool | None = None
) -> list[dict[str, Any]] | None:
    """As :func:`qpu_sdk.export.inference.predict_images`; None for a model that takes torch, or whose file is damaged.

    :param model: ``model.safetensors``, or the folder of a run.
    """
    found = _opened(model / "model.safetensors" if model.is_dir() else model)
    if found is None:
        return None
    network, use, scale = found
    return classified(network, use, paths, scale=scale, invert=invert)


def _opened(path: Path) -> tuple[Callable[[_Array], _Array], Use, float | None] | None:
    """The network of a file, which images it takes, and by what these are divided."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="np") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no iterator)
            metadata = json.loads((file.metadata() or {})[METADATA_KEY])
        use, scale = Use.from_metadata(metadata["used"]), json.loads(metadata["data"]).get("scale")
        forward, names = _NETWORKS[metadata["target"]]
        network = partial(_in_batches, forward, weights)
        usual = set(weights) == names and all(np.isfinite(array).all() for array in weights.values())
        return (network, use, scale) if usual and _answers_alike(network, use) else None
    except Exception:  # whatever is the matter, torch's way says it
        return None


def _answers_alike(network: Callable[[_Array], _Array], use: Use) -> bool:
    if not use.answers or use.shape != _SHAPE:
        return False
    known = np.asarray(use.answers, dtype=np.float32)
    slack = PROBE_SLACK * float(np.abs(known).max())
    return np.allclose(network(probe_images(use.shape)), known, rtol=PROBE_SLACK, atol=slack)


def _in_batches(forward: Callable[[_Weights, _Array], _Array], weights: _Weights, images: _Array) -> _Array:
    batches = (images[k : k + _BATCH] for k in range(0, len(images), _BATCH))
    return np.concatenate([forward(weights, batch) for batch in batches])


# -- networks, as in qpu_sdk.training.targets and qpu_sdk.training.networks --------------------------------


def _paper_cnn(w: _Weights, x: _Array) -> _Array:
    x = _pooled(_convolved(w, "conv1", x))
    x = _pooled(_convolved(w, "conv2", x))
    return _linear(w, "fc2", _linear(w, "fc1", x.reshape(len(x), -1)))


def _lenet5(w: _Weights, x: _Array) -> _Array:
    x = _pooled(_relu(_convolved(w, "conv1", np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2))))))
    x = _pooled(_relu(_convolved(w, "conv2", x)))
    x = _relu(_linear(w, "fc1", x.reshape(len(x), -1)))
    return _linear(w, "fc3", _relu(_linear(w, "fc2", x)))


def _normed_cnn(w: _Weights, x: _Array) -> _Array:
    x = _relu(_normed(w, "norm1", _pooled(_convolved(w, "conv1", x))))
    x = _relu(_normed(w, "norm2", _pooled(_convolved(w, "conv2", x))))
    x = _relu(_normed(w, "norm3", _convolved(w, "conv3", x)))
    return _linear(w, "last", x.mean(axis=(2, 3)))


def _convolved(w: _Weights, layer: str, x: _Array) -> _Array:
    """Without padding; ``(n, C, H, W)`` to ``(n, channels, H', W')``."""
    kernel = w[f"{layer}.weight"]
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=(2, 3))
    y = np.tensordot(windows, kernel, axes=((1, 4, 5), (1, 2, 3)))
    return np.moveaxis(y + w[f"{layer}.bias"] if f"{layer}.bias" in w else y, 3, 1)


def _pooled(x: _Array) -> _Array:
    """The largest of each 2 x 2."""
    n, channels, height, width = x.shape
    largest: _Array = x.reshape(n, channels, height // 2, 2, width // 2, 2).max(axis=(3, 5))
    return largest


def _normed(w: _Weights, layer: str, x: _Array) -> _Array:
    mean, variance = (w[f"{layer}.running_{name}"][:, None, None] for name in ("mean", "var"))
    return np.asarray((x - mean) / np.sqrt(variance + np.float32(_EPSILON)))


def _linear(w: _Weights, layer: str, x: _Array) -> _Array:
    return np.asarray(x @ w[f"{layer}.weight"].T + w[f"{layer}.bias"])


def _relu(x: _Array) -> _Array:
    return np.maximum(x, np.float32(0))


def _named(*layers: str, parts: Sequence[str] = ("weight", "bias")) -> frozenset[str]:
    return frozenset(f"{layer}.{part}" for layer in layers for part in parts)


_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
#: By the name that a file has: the network, and its tensors.
_NETWORKS: Mapping[str, tuple[Callable[[_Weights, _Array], _Array], frozenset[str]]] = {
    "qpu_sdk.training.targets:paper_cnn": (_paper_cnn, _named("conv1", "conv2", "fc1", "fc2")),
    "qpu_sdk.training.networks:lenet5": (_lenet5, _named("conv1", "conv2", "fc1", "fc2", "fc3")),
    "qpu_sdk.training.networks:normed_cnn": (
        _normed_cnn,
        _named("conv1", "conv2", "conv3", parts=["weight"])
        | _named("norm1", "norm2", "norm3", parts=_STATISTICS)
        | _named("last"),
    ),
}
