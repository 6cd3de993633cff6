"""Target networks that a configuration may name; :data:`qpu_sdk.training.targets.BUILT_IN` has them all."""

from __future__ import annotations

from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


@final
class LeNet5(nn.Module):
    """LeNet-5 (LeCun et al. 1998) with ReLU and max-pooling: 61,706 weights for 28 x 28 images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1], ``(n, 1, 28, 28)``, to logits, ``(n, 10)``."""
        x = F.max_pool2d(self.conv1(images).relu(), 2)
        x = F.max_pool2d(self.conv2(x).relu(), 2)
        logits: Tensor = self.fc3(self.fc2(self.fc1(x.flatten(1)).relu()).relu())
        return logits


def lenet5() -> nn.Module:
    """A target of the classical size.

    >>> sum(p.numel() for p in lenet5().parameters())
    61706
    """
    return LeNet5()


@final
class _Block(nn.Module):
    """Two convolutions beside a shortcut without weights: every second place, and zeros for the new channels."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.stride, self.missing = outer // inner, outer - inner
        self.conv1 = nn.Conv2d(inner, outer, kernel_size=3, stride=self.stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, kernel_size=3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outer)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        kept = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.missing))
        out: Tensor = (kept + y).relu()
        return out


@final
class ResNet20(nn.Module):
    """ResNet-20 for small images (He et al., arXiv:1512.03385): three stages of three blocks, 16, 32 and 64 channels.

    :param channels: of the images.
    :param width: channels of the first stage.
    :param depth: blocks of a stage.
    """

    def __init__(self, channels: int = 1, width: int = 16, depth: int = 3) -> None:
        super().__init__()
        widths = [width] * (depth + 1) + [2 * width] * depth + [4 * width] * depth
        self.conv = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(*(_Block(a, b) for a, b in pairwise(widths)))
        self.last = nn.Linear(4 * width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1], ``(n, channels, H, W)``, to logits, ``(n, 10)``."""
        x = self.norm(self.conv(images.contiguous(memory_format=torch.channels_last))).relu()
        logits: Tensor = self.last(self.blocks(x).mean(dim=(2, 3)))
        return logits


def resnet20() -> nn.Module:
    """A target of 40 times the published one's size, for grey images.

    >>> sum(p.numel() for p in resnet20().parameters())
    269434
    """
    return ResNet20()


@final
class SmallTransformer(nn.Module):
    """A vision transformer of 41,674 weights: 7 x 7 patches of 28 x 28 images as 16 tokens, and the mean over them.

    :param size: numbers of a token.
    :param depth: layers, of which each has four heads.
    """

    def __init__(self, size: int = 48, depth: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, size, kernel_size=7, stride=7)
        self.places = nn.Parameter(0.02 * torch.randn(16, size))
        layer = [
            nn.TransformerEncoderLayer(size, 4, 2 * size, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(depth)
        ]
        self.layers, self.norm, self.last = nn.Sequential(*layer), nn.LayerNorm(size), nn.Linear(size, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1], ``(n, 1, 28, 28)``, to logits, ``(n, 10)``."""
        x = self.patches(images).flatten(2).mT + self.places
        logits: Tensor = self.last(self.norm(self.layers(x).mean(dim=1)))
        return logits


def small_transformer() -> nn.Module:
    """A target of attention layers.

    >>> sum(p.numel() for p in small_transformer().parameters())
    41674
    """
    return SmallTransformer()


@final
class EmbeddingModel(nn.Module):
    """Bytes to classes: an embedding of each byte, the mean and the maximum over all, and one hidden layer.

    :param size: numbers of an embedding.
    :param classes: to tell apart.
    """

    def __init__(self, size: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, size)
        self.hidden = nn.Linear(2 * size, 32)
        self.last = nn.Linear(32, classes)

    def forward(self, rows: Tensor) -> Tensor:
        """Bytes ``(n, ...)``, as whole numbers or, as all data here, divided by 255, to logits, ``(n, classes)``."""
        whole = rows if not rows.is_floating_point() else (255 * rows).round().clamp(0, 255)
        x = self.embedding(whole.flatten(1).long())
        logits: Tensor = self.last(self.hidden(torch.cat((x.mean(dim=1), x.amax(dim=1)), dim=1)).relu())
        return logits


def embedding_model() -> nn.Module:
    """A target that takes rows of bytes, such as texts.

    >>> sum(p.numel() for p in embedding_model().parameters())
    5482
    """
    return EmbeddingModel()


NETWORKS = (normed_cnn, lenet5, resnet20, small_transformer, embedding_model)
