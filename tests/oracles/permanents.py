"""Permanents and boson statistics from their definitions: slow, short, and independent of the package."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.complex128]


def naive_permanent(matrix: npt.ArrayLike) -> complex:
    """sum over permutations sigma of prod_i A[i, sigma(i)]."""
    a = np.asarray(matrix)
    rows = range(len(a))
    return complex(sum(math.prod(a[i, s[i]] for i in rows) for s in itertools.permutations(rows)))


def bunching(outcome: tuple[int, ...]) -> int:
    """prod_i s_i! of an outcome given as occupied modes with repetition."""
    return math.prod(math.factorial(n) for n in Counter(outcome).values())


def boson_probability(columns: Matrix, outcome: tuple[int, ...]) -> float:
    """|per(A_s)|^2 / prod_i s_i! of indistinguishable photons."""
    return abs(naive_permanent(columns[list(outcome)])) ** 2 / bunching(outcome)


def distinguishable_probability(columns: Matrix, outcome: tuple[int, ...]) -> float:
    """per(|A_s|^2) / prod_i s_i! of distinguishable photons."""
    return naive_permanent(np.abs(columns[list(outcome)]) ** 2).real / bunching(outcome)


def outcomes(modes: int, photons: int) -> list[tuple[int, ...]]:
    """Every Fock outcome by filtering all tuples of modes, lexicographic."""
    return [t for t in itertools.product(range(modes), repeat=photons) if list(t) == sorted(t)]
