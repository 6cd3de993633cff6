"""Seeds: every random stream has a name."""

from __future__ import annotations

import hashlib


def child_seed(seed: int, *labels: str | int) -> int:
    """A seed for one named use, 0 <= s < 2^63: the first bytes of SHA-256 over seed and labels.

    >>> child_seed(1, "batches", 3) == child_seed(1, "batches", 3) != child_seed(1, "batches", 4)
    True
    """
    digest = hashlib.sha256(repr((seed, labels)).encode()).digest()  # hash() of a text is another in every process
    return int.from_bytes(digest[:8], "little") >> 1
