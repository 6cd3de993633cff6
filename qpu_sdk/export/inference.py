"""Use a trained model: test it on a dataset, or classify images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..training.config import DataConfig
from ..training.data import load_dataset
from ..training.evaluation import Evaluation, check_fit, count_classes, evaluate
from ..training.pixels import read_image
from .weights import Model


def evaluate_model(model: Model, *, source: str | None) -> Evaluation:
    """Test a model on the test images of its own run, or on those of another source.

    :param source: a data source; ``None`` for the run's own images and split.
    """
    data = model.data if source is None else DataConfig(source=source, scale=model.data.scale)
    dataset = load_dataset(data, seed=model.data_seed)
    target = model.open_target()
    images, labels = dataset.test.tensors()
    check_fit(target, images, dataset)
    return evaluate(target, target.flat(model.tensors), images, labels)


def predict_images(model: Model, paths: Sequence[Path], *, invert: bool) -> list[dict[str, Any]]:
    """Label and probability of each image file.

    :param invert: turn dark-on-light into the light-on-dark of MNIST.
    :raises ConfigError: when the network does not take such images.
    :raises DataError: when a file is not an image.
    """
    target, paths = model.open_target(), tuple(paths)  # which are gone through twice
    weights = target.flat(model.tensors)
    scale = (
        model.data.scale if "data" in model.metadata else None
    )  # of the images it was trained on: whole numbers in arrays mean the same
    images = torch.from_numpy(np.stack([read_image(path, invert=invert, scale=scale) for path in paths]))
    count_classes(target, images)
    with torch.no_grad():
        probabilities = target.logits(weights, images).softmax(dim=1)
    best = probabilities.max(dim=1)
    return [
        {"image": str(path), "label": int(label), "probability": float(p)}
        for path, label, p in zip(paths, best.indices, best.values, strict=True)
    ]
