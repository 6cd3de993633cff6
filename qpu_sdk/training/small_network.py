"""A small network that simply has as many weights as a run trains numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import nn

from .baselines import NoSuchControl

#: Sides of the kernels and of the pools that are tried.
KERNELS, POOLS = (3, 4, 5), (2, 3)
#: What the chosen shape has to use at least, as a part of what the largest uses.
WELL_USED = 0.98


@final
@dataclass(frozen=True)
class SmallCNN:
    """The shape of conv k x k - PReLU - max-pool - conv k x k - PReLU - max-pool - linear.

    :param image: channels, height and width of the images.
    :param channels: of both convolutions.
    :param pools: sides of both pools.

    >>> SmallCNN((1, 28, 28), 10, 5, (3, 4), (2, 3)).size
    559
    """

    image: tuple[int, int, int]
    classes: int
    kernel: int
    channels: tuple[int, int]
    pools: tuple[int, int]

    @property
    def side(self) -> tuple[int, int]:
        """Height and width of what the linear layer sees; 0 where nothing is left of an image."""
        height, width = self.image[1:]
        for pool in self.pools:
            height, width = (max(0, n - self.kernel + 1) // pool for n in (height, width))
        return height, width

    @property
    def size(self) -> int:
        """Trained numbers: weights, biases and a slope a channel."""
        first, second = self.channels
        area = self.kernel**2
        convolutions = first * (self.image[0] * area + 2) + second * (first * area + 2)
        return convolutions + self.classes * (second * math.prod(self.side) + 1)

    def module(self) -> nn.Module:
        """The network, with weights of torch's global random numbers."""
        first, second = self.channels
        return nn.Sequential(
            nn.Conv2d(self.image[0], first, self.kernel),
            nn.PReLU(first),
            nn.MaxPool2d(self.pools[0]),
            nn.Conv2d(first, second, self.kernel),
            nn.PReLU(second),
            nn.MaxPool2d(self.pools[1]),
            nn.Flatten(),
            nn.Linear(second * math.prod(self.side), self.classes),
        )


def small_network(image: Sequence[int], classes: int, budget: int, *, seed: int) -> nn.Module:
    """A sensible small network of at most ``budget`` weights, and nearly that many.

    Images have two convolutions, see :class:`SmallCNN`; where they are too small for that, or the budget is, and for
    tables, a layer of PReLUs between two linear ones, or a linear layer alone.

    :param image: shape of one image, ``(C, H, W)``, or of a row of a table, ``(features,)``.
    :param classes: logits.
    :param seed: of its initial weights; the global random state is left as it was.
    :raises NoSuchControl: when not even that is within the budget.

    >>> network = small_network((1, 28, 28), 10, 3292, seed=1)
    >>> sum(p.numel() for p in network.parameters())
    3268
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if len(image) == 3 and (shape := _best_cnn((image[0], image[1], image[2]), classes, budget)) is not None:
            return shape.module()
        return _perceptron(math.prod(image), classes, budget)


def _best_cnn(image: tuple[int, int, int], classes: int, budget: int) -> SmallCNN | None:
    """Of the shapes that use nearly the whole budget the one with the most channels where it has fewest."""
    shapes = list(_cnns(image, classes, budget))
    most = max((shape.size for shape in shapes), default=0)
    good = [shape for shape in shapes if shape.size >= WELL_USED * most]
    return max(good, key=lambda shape: (min(shape.channels), shape.size), default=None)


def _cnns(image: tuple[int, int, int], classes: int, budget: int) -> Iterator[SmallCNN]:
    """For every kernel and pools and each number of first channels the most second ones that fit."""
    for kernel, before, after in itertools.product(KERNELS, POOLS, POOLS):
        shape = SmallCNN(image, classes, kernel, (1, 1), (before, after))
        if min(shape.side) < 2:  # of a single number per channel a linear layer learns little
            continue
        while True:
            first = shape.channels[0]
            one = replace(shape, channels=(first, 1)).size
            step = replace(shape, channels=(first, 2)).size - one
            second = (budget - one) // step + 1
            if second < 1:
                break
            yield replace(shape, channels=(first, second))
            shape = replace(shape, channels=(first + 1, 1))


def _perceptron(features: int, classes: int, budget: int) -> nn.Module:
    """Two linear layers with as many units in between as fit, or one, whichever is the larger that fits."""
    units = (budget - classes) // (features + classes + 2)
    linear = classes * (features + 1)
    if units >= classes or (linear > budget and units >= min(2, classes - 1)):
        return nn.Sequential(nn.Flatten(), nn.Linear(features, units), nn.PReLU(units), nn.Linear(units, classes))
    if linear > budget:
        raise NoSuchControl(
            f"a linear layer of {features:,} numbers and {classes} classes has {linear:,} weights; the run trains "
            f"{budget:,}."
        )
    return nn.Sequential(nn.Flatten(), nn.Linear(features, classes))
