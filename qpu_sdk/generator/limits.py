"""What a chain of matrices may be, known without torch, so that a configuration is refused when it is read."""

from __future__ import annotations

from ..arrays import whole
from ..errors import ConfigError

#: Most weights, of which each takes 4 bytes in several places: 0.4 GB a copy.
MOST_WEIGHTS = 10**8
#: Largest bond dimension: the rank of every chain over the bits of 2^20 weights, beyond which there is no new function.
MOST_BOND = 1024


def checked_bond(bond_dim: object) -> int:
    """A bond dimension as an int.

    :raises ConfigError: when it is no whole number, below 1, or too large to be of use; says how much memory it takes.

    >>> checked_bond(6)
    6
    """
    found = whole(bond_dim, "bond_dim", ConfigError, least=1)
    if found > MOST_BOND:
        size = f"{8e-9 * found**2:,.1f}" if found < 10**12 else "too many"  # a longer number is none for people
        raise ConfigError(
            f"bond_dim is {found}, whose matrices take {size} GB for each bit of a weight's index. Use {MOST_BOND} or "
            "less, which is enough for a million weights."
        )
    return found
