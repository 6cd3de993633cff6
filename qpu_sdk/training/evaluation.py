"""A network on images: does it take them, and how often is it right?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
    """Raise unless the network takes these images, answers with logits and tells all their labels apart.

    :raises ConfigError: as of :func:`count_classes`.
    :raises DataError: for labels beyond the network's classes.
    """
    check_labels(dataset, count_classes(target, images))


def count_classes(target: Target, images: Tensor) -> int:
    """Number of classes that a network tells apart.

    :param images: of which a few are tried, ``(n, C, H, W)``.
    :raises ConfigError: for images of another shape, or a network that answers with anything but logits.
    """
    shape, classes = tuple(images.shape[1:]), 0
    for count in range(1, min(len(images), 2) + 1):  # one alone, as a last batch can be, and several
        logits: object = _asked(partial(target.logits, torch.zeros(target.size), images[:count]), shape)
        if not isinstance(logits, Tensor):
            found = f"a {type(logits).__name__}"
        elif logits.ndim != 2 or len(logits) != count or not logits.is_floating_point():
            found = f"{str(logits.dtype).removeprefix('torch.')} of shape {tuple(logits.shape)}"
        else:
            classes = logits.shape[1]
            continue
        raise ConfigError(
            f"the target answers {count} image{'s' * (count > 1)} of shape {shape} with {found}; expected floats of "
            f"shape ({count}, classes). Return the logits alone, one row an image."
        )
    _asked(partial(target.probe, shape), shape)  # which a resumed run asks too
    return classes


def _asked(ask: Callable[[], Tensor], shape: tuple[int, ...]) -> Tensor:
    try:
        with torch.no_grad():
            return ask()
    except Exception as error:  # the network is the user's: it may raise anything
        reason = (str(error).splitlines() or [""])[0]
        raise ConfigError(
            f"the target does not take images of shape {shape} ({type(error).__name__}: {reason:.200}). Use another "
            "target."
        ) from error


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
