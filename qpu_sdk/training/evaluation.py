"""A network on images: does it take them, and how often is it right?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError
from .data import Dataset, check_labels
from .factories import what_it_raised
from .targets import Target

#: Images at once: memory stays bounded whatever the size of the set.
EVALUATION_BATCH = 1000


def check_fit(target: Target, images: Tensor, dataset: Dataset) -> None:
    """Raise unless the network takes these images, answers with logits and tells all their labels apart.

    :raises ConfigError: as of :func:`count_classes`.
    :raises DataError: for labels beyond the network's classes.
    """
    try:
        classes = count_classes(target, images)
    except ConfigError as error:
        if images.ndim == 4 and _takes(target, images.flatten(1)):
            shape = tuple(images.shape[1:])
            raise ConfigError(f"the target takes rows, not images of shape {shape}. Put nn.Flatten() first.") from error
        raise
    check_labels(dataset, classes)


def count_classes(target: Target, images: Tensor) -> int:
    """Number of classes that a network tells apart.

    :param images: of which a few are tried, ``(n, C, H, W)``.
    :raises ConfigError: for images of another shape, or a network that answers with anything but logits.
    """
    shape, classes = tuple(images.shape[1:]), 0
    before = {name: tensor.clone() for name, tensor in target.module.state_dict().items()}
    for count in range(1, min(len(images), 2) + 1):  # one alone, as a last batch can be, and several
        logits: object = _asked(partial(_without_gradient, target, images[:count]), shape)
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
    _check_unchanged(target, before)
    return classes


def _without_gradient(target: Target, images: Tensor) -> Tensor:
    with torch.no_grad():
        return target.logits(torch.zeros(target.size), images)


def _check_unchanged(target: Target, before: Mapping[str, Tensor]) -> None:
    """A buffer that is made or written in forward is of the images seen so far, and no file could give it again."""
    after = target.module.state_dict()
    changed = [name for name, tensor in after.items() if name not in before or not torch.equal(tensor, before[name])]
    if changed:
        raise ConfigError(
            f"the target changes {changed[0]} of its state_dict whenever it is asked, so what leaves would not be what "
            "was trained. Set it in the constructor."
        )


def check_learns(target: Target, images: Tensor, *, batch_size: int) -> None:
    """Raise unless a gradient comes back through the network, and every batch has statistics if it needs them.

    :param images: of the training, ``(n, C, H, W)``.
    :raises ConfigError: when the network cannot be trained on them.
    """
    weights = target.some_weights(torch.Generator().manual_seed(0)).requires_grad_()

    def gradient(count: int = 2) -> Tensor:
        logits = target.logits(weights, images[:count], learning=True, seed=0)
        if torch.isnan(logits).any():
            raise ArithmeticError("it answers with NaN for random weights")
        return torch.autograd.grad(logits.sum(), weights)[0]

    _asked(gradient, tuple(images.shape[1:]), "cannot be trained on")
    if written := target.written_in_training(images[:2]):
        raise ConfigError(
            f"the target writes to {written[0]} in training, and only batch norms of torch are settled in the end. Put "
            "that layer into evaluation mode, or leave it out."
        )
    if target.learns_statistics and 1 in (batch_size, len(images) % batch_size):
        try:
            gradient(1)
        except ValueError as error:
            raise ConfigError(
                f"{len(images)} training images in batches of {batch_size} leave one alone, of which a batch norm has "
                "no statistics. Use another training.batch_size."
            ) from error


def as_taken(dataset: Dataset, target: Target) -> Dataset:
    """Images that came as rows of numbers in the form that the network takes: as squares, or else as they came."""
    images = dataset.train.tensors()[0]
    if dataset.flat and images.ndim == 4 and not _takes(target, images) and _takes(target, images.flatten(1)):
        return dataset.as_rows()
    return dataset


def _takes(target: Target, images: Tensor) -> bool:
    try:
        return count_classes(target, images) > 0
    except ConfigError:
        return False


def _asked(ask: Callable[[], Tensor], shape: tuple[int, ...], what: str = "does not take") -> Tensor:
    """Ask the network something; whatever it raises is one line."""
    try:
        return ask()
    except (Exception, SystemExit) as error:  # the network is the user's: it may raise anything
        raise ConfigError(
            f"the target {what} images of shape {shape} ({what_it_raised(error)}). Use another target."
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
