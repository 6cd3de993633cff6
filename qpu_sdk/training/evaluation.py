"""A network on images: does it take them, and how often is it right?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError
from .data import Dataset, check_labels
from .targets import Target

#: Images at once: memory stays bounded whatever the size of the set.
EVALUATION_BATCH = 1000


def check_fit(target: Target, images: Tensor, dataset: Dataset) -> None:
    """Raise unless the network takes these images and tells all their labels apart.

    :raises ConfigError: for images of another shape.
    :raises DataError: for labels beyond the network's classes.
    """
    try:
        with torch.no_grad():
            logits = target.logits(torch.zeros(target.size), images[:1])  # one image tells as much as all
    except RuntimeError as error:
        shape, reason = tuple(images.shape[1:]), str(error).splitlines()[0]
        raise ConfigError(
            f"the target does not take images of shape {shape} ({reason}). Use another target."
        ) from error
    check_labels(dataset, logits.shape[1])


@final
@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy and accuracy (a fraction) on ``size`` images."""

    loss: float
    accuracy: float
    size: int


def evaluate(target: Target, weights: Tensor, images: Tensor, labels: Tensor) -> Evaluation:
    """Run the plain network on images, ``(n, 1, H, W)``, in batches."""
    loss, correct = 0.0, 0
    with torch.no_grad():
        for x, y in zip(*(torch.split(t, EVALUATION_BATCH) for t in (images, labels)), strict=True):
            logits = target.logits(weights, x)
            loss += float(F.cross_entropy(logits, y, reduction="sum"))  # the last batch may be smaller
            correct += int((logits.argmax(dim=1) == y).sum())
    return Evaluation(loss / len(labels), correct / len(labels), len(labels))
