"""Training images in an order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from ..seeds import child_seed
from .data import Dataset


@final
@dataclass(frozen=True, eq=False)
class Batches:
    """Training images as tensors, in an order that depends on seed and epoch alone."""

    images: Tensor
    labels: Tensor
    seed: int

    @classmethod
    def of(cls, dataset: Dataset, *, seed: int) -> Batches:
        """The training part of a dataset."""
        return cls(*dataset.train.tensors(), seed)

    def epoch(self, epoch: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled batches; the last one may be smaller.

        :returns: images ``(n, C, H, W)`` and labels ``(n,)``, n at most ``size``.
        """
        # A generator of its own for each epoch: a resumed run needs no state of one.
        order = np.random.default_rng(child_seed(self.seed, "epoch", epoch)).permutation(len(self.labels))
        for chosen in torch.split(torch.from_numpy(order), size):
            yield self.images[chosen], self.labels[chosen]

    def sample(self, size: int, label: int) -> tuple[Tensor, Tensor]:
        """A fixed random subset, for losses that are to be compared.

        :returns: images ``(size, C, H, W)`` and labels ``(size,)``.
        """
        rng = np.random.default_rng(child_seed(self.seed, "sample", label))
        chosen = torch.from_numpy(rng.permutation(len(self.labels))[:size])
        return self.images[chosen], self.labels[chosen]
