"""Seeds: every random stream has a name."""

from __future__ import annotations

import hashlib

from .arrays import whole
from .errors import ConfigError


def child_seed(seed: int, *labels: str | int) -> int:
    """A seed for one named use, 0 <= s < 2^63: the first bytes of SHA-256 over seed and labels.

    :raises ConfigError: when the seed is no whole number, or a label neither that nor a text.

    >>> child_seed(1, "batches", 3) == child_seed(1, "batches", 3) != child_seed(1, "batches", 4)
    True
    """
    plain = tuple(str(one) if isinstance(one, str) else whole(one, "a label of a seed", ConfigError) for one in labels)
    # repr() of numpy's integers is not that of Python's; hash() of a text is another in every process
    digest = hashlib.sha256(repr((whole(seed, "seed", ConfigError), plain)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
