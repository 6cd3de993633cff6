"""A network on images: does it take them, and how often is it right?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import Tensor

from ..errors import ConfigError
from .data import Dataset, check_labels
from .factories import what_it_raised
from .fit import one_pass
from .losses import CROSS_ENTROPY, Loss
from .targets import Target

#: Images at once: memory stays bounded whatever the size of the set.
EVALUATION_BATCH = 1000


def check_fit(target: Target, images: Tensor, dataset: Dataset, loss: Loss = CROSS_ENTROPY) -> Loss:
    """Raise unless the network takes these images, and the loss its outputs and their labels; gives the loss.

    Cross-entropy takes logits of as many classes as there are labels.

    :raises ConfigError: as of :func:`count_classes`.
    :raises DataError: for labels beyond the network's classes.
    """
    own = loss.function is not None
    try:
        classes = count_classes(target, images, logits=not own)
    except ConfigError as error:
        if images.ndim == 4 and _takes(target, images.flatten(1), logits=not own):
            shape = tuple(images.shape[1:])
            raise ConfigError(f"the target takes rows, not images of shape {shape}. Put nn.Flatten() first.") from error
        raise
    if not own:
        check_labels(dataset, classes)
        return loss
    few, labels = images[:2], dataset.train.tensors()[1][:2]
    weights = target.some_weights(torch.Generator().manual_seed(0)).requires_grad_()
    return loss.of(dataset, target.logits(weights, few), labels)


def count_classes(target: Target, images: Tensor, *, logits: bool = True) -> int:
    """Number of classes that a network tells apart, or of numbers that it says of an image.

    :param images: of which a few are tried, ``(n, C, H, W)``.
    :param logits: False for a network that may answer with numbers of any shape, one entry an image.
    :raises ConfigError: for images of another shape, or a network that answers with anything else.
    """
    shape, classes = tuple(images.shape[1:]), 0
    before = {name: tensor.clone() for name, tensor in target.module.state_dict().items()}
    for count in range(1, min(len(images), 2) + 1):  # one alone, as a last batch can be, and several
        answer: object = _asked(partial(_without_gradient, target, images[:count]), shape)
        if not isinstance(answer, Tensor):
            found = f"a {type(answer).__name__}"
        elif answer.shape[:1] != (count,) or (logits and answer.ndim != 2) or not answer.is_floating_point():
            found = f"{str(answer.dtype).removeprefix('torch.')} of shape {tuple(answer.shape)}"
        else:
            classes = answer[0].numel()
            continue
        expected, what = ("classes", "logits") if logits else ("...", "outputs")
        raise ConfigError(
            f"the target answers {count} image{'s' * (count > 1)} of shape {shape} with {found}; expected floats of "
            f"shape ({count}, {expected}). Return the {what} alone, one row an image."
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
    takes = partial(_takes, target, logits=False)
    if dataset.flat and images.ndim == 4 and not takes(images) and takes(images.flatten(1)):
        return dataset.as_rows()
    return dataset


def _takes(target: Target, images: Tensor, *, logits: bool) -> bool:
    try:
        return count_classes(target, images, logits=logits) > 0
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
    """Mean loss and accuracy (a fraction) on ``size`` images.

    :param accuracy: None where labels are no classes.
    """

    loss: float
    accuracy: float | None
    size: int

    @property
    def figure(self) -> float:
        """The accuracy, or else the loss."""
        return self.loss if self.accuracy is None else self.accuracy

    @property
    def standard_error(self) -> float | None:
        """Of the accuracy, by the number of images."""
        return None if self.accuracy is None else (self.accuracy * (1 - self.accuracy) / self.size) ** 0.5


def evaluate(target: Target, weights: Tensor, images: Tensor, labels: Tensor, loss: Loss = CROSS_ENTROPY) -> Evaluation:
    """Run the plain network on images, ``(n, 1, H, W)``, in batches."""
    with torch.no_grad():
        batches = zip(*(torch.split(t, EVALUATION_BATCH) for t in (images, labels)), strict=True)
        mean, accuracy = one_pass(batches, lambda x, _: target.logits(weights, x), loss)
    return Evaluation(mean, accuracy, len(labels))
