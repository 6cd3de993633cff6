"""Images on which a network's answers are written down: two networks that answer alike compute the same."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .pixels import Pixels

#: How many, and the seed of these and of the weights.
PROBE_IMAGES, PROBE_SEED = 4, 20_250_508
#: By how much answers may differ that another machine rounds otherwise.
PROBE_SLACK = 1e-3


def probe_images(shape: Sequence[int]) -> Pixels:
    """The images without torch: its generator is the Mersenne Twister of numpy, of whose 32 bits it takes the last 24.

    :param shape: of one image, ``(C, H, W)``.
    :returns: ``(4, C, H, W)`` in [0, 1].

    >>> import torch
    >>> drawn = torch.rand((4, 1, 2, 2), generator=torch.Generator().manual_seed(PROBE_SEED))
    >>> np.array_equal(probe_images((1, 2, 2)), drawn)
    True
    """
    numbers = PROBE_IMAGES * math.prod(shape)
    drawn = np.random.RandomState(PROBE_SEED).randint(0, 2**32, size=numbers, dtype=np.uint32)
    return ((drawn & 0xFFFFFF) / np.float32(2**24)).astype(np.float32).reshape(PROBE_IMAGES, *shape)
