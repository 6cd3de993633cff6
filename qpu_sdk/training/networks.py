"""Target networks that a configuration may name; :data:`qpu_sdk.training.targets.BUILT_IN` has them all."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn


@final
class NormedCNN(nn.Module):
    """A CNN of 14,554 weights with ReLU and batch norms without weights of their own, for 28 x 28 images.

    The norms make each layer's output independent of the scale of its weights, so that generated weights can begin near
    zero. Three convolutions, then the mean over the 3 x 3 places that are left, so most weights are shared by many.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=5, bias=False)
        self.norm1 = nn.BatchNorm2d(16, affine=False)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, bias=False)
        self.norm2 = nn.BatchNorm2d(32, affine=False)
        self.conv3 = nn.Conv2d(32, 32, kernel_size=3, bias=False)
        self.norm3 = nn.BatchNorm2d(32, affine=False)
        self.pool = nn.MaxPool2d(2)
        self.last = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1], ``(n, 1, 28, 28)``, to logits, ``(n, 10)``."""
        # Channels last in memory, as PaperCNN. Pooling first: fewer numbers for the norm.
        x = images.contiguous(memory_format=torch.channels_last)
        x = self.norm1(self.pool(self.conv1(x))).relu()
        x = self.norm2(self.pool(self.conv2(x))).relu()
        x = self.norm3(self.conv3(x)).relu()
        logits: Tensor = self.last(x.mean(dim=(2, 3)))
        return logits


def normed_cnn() -> nn.Module:
    """A target that recognises more than the published one.

    >>> sum(p.numel() for p in normed_cnn().parameters())
    14554
    """
    return NormedCNN()
