"""Training images in an order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..arrays import IntArray
from ..errors import ConfigError
from ..seeds import child_seed
from .data import Dataset


@final
@dataclass(frozen=True, eq=False)
class Batches:
    """Training images as tensors, in an order that depends on seed and epoch alone.

    :param shift: most pixels by which :meth:`epoch` moves each image, each way, with zeros behind it.
    """

    images: Tensor
    labels: Tensor
    seed: int
    shift: int = 0

    @classmethod
    def of(cls, dataset: Dataset, *, seed: int, shift: int = 0) -> Batches:
        """The training part of a dataset.

        :raises ConfigError: when what should be shifted are no images, or all of one would leave.
        """
        images, labels = dataset.train.tensors()
        if shift and images.ndim != 4:
            raise ConfigError("training.augment_shift moves images; these are rows of numbers. Set it to 0.")
        if shift and shift >= min(images.shape[2:]):
            height, width = images.shape[2:]
            raise ConfigError(
                f"training.augment_shift is {shift} pixels, and the images have {height} x {width}. Set it to "
                f"{min(height, width) - 1} or less."
            )
        return cls(images, labels, seed, shift)

    def epoch(self, epoch: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled batches; the last one may be smaller.

        :returns: images ``(n, C, H, W)`` and labels ``(n,)``, n at most ``size``.
        """
        # A generator of its own for each epoch: a resumed run needs no state of one.
        order = np.random.default_rng(child_seed(self.seed, "epoch", epoch)).permutation(len(self.labels))
        images = self.images
        if self.shift:
            rng = np.random.default_rng(child_seed(self.seed, "shift", epoch))
            moved = rng.integers(-self.shift, self.shift + 1, (len(images), 2))
            images = shifted(images, moved)
        for chosen in torch.split(torch.from_numpy(order), size):
            yield images[chosen], self.labels[chosen]

    def sample(self, size: int, label: int) -> tuple[Tensor, Tensor]:
        """A fixed random subset, for losses that are to be compared.

        :returns: images ``(size, C, H, W)`` and labels ``(size,)``.
        """
        rng = np.random.default_rng(child_seed(self.seed, "sample", label))
        chosen = torch.from_numpy(rng.permutation(len(self.labels))[:size])
        return self.images[chosen], self.labels[chosen]


def shifted(images: Tensor, moved: IntArray) -> Tensor:
    """Images moved by whole pixels, with zeros where nothing was.

    :param images: ``(n, C, H, W)``.
    :param moved: down and to the right, ``(n, 2)``.
    :returns: with the same shapes.

    >>> shifted(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), np.array([[1, 0]])).tolist()
    [[[[0.0, 0.0], [1.0, 2.0]]]]
    """
    far = int(np.abs(moved).max(initial=0))
    height, width = images.shape[2:]
    padded, out = F.pad(images, (far, far, far, far)), torch.empty_like(images)
    for down, right in np.unique(moved, axis=0):  # a few groups, each one copy
        group = torch.from_numpy(np.flatnonzero((moved == (down, right)).all(axis=1)))
        out[group] = padded[group, :, far - down : far - down + height, far - right : far - right + width]
    return out
