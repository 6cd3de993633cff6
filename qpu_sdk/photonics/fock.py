"""Order of photon-count outcomes, and the maps between their indices.

Modes count from 0, top to bottom. An outcome of ``N`` photons is written as the ``N`` occupied modes in
ascending order, so an array of outcomes has shape ``(K, N)``. Two orders are used, both lexicographic:

* collision-free outcomes (at most one photon a mode): ``itertools.combinations(range(M), N)``, K = C(M, N);
* Fock outcomes (bunching allowed): ``itertools.combinations_with_replacement``, K = C(M+N-1, N). It is also
  the order of Perceval's SLOS backend.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..arrays import IntArray
from ..errors import ProgramError
from ..words import short


def _frozen(a: IntArray) -> IntArray:
    a.setflags(write=False)  # caches hand out one array to all: who wrote into it would change it for everybody
    return a


@lru_cache(maxsize=64)
def collision_free_outcomes(modes: int, photons: int) -> IntArray:
    """All outcomes with at most one photon in a mode.

    :returns: occupied modes, ``(C(M, N), N)``, lexicographic, read-only.
    :raises ProgramError: unless ``1 <= photons <= modes``.

    >>> collision_free_outcomes(3, 2).tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    check_modes_photons(modes, photons)
    flat = itertools.chain.from_iterable(itertools.combinations(range(modes), photons))
    return _frozen(np.fromiter(flat, dtype=np.int64).reshape(-1, photons))


@lru_cache(maxsize=64)
def fock_outcomes(modes: int, photons: int) -> IntArray:
    """All outcomes of ``photons`` photons in ``modes`` modes, bunched ones included.

    :returns: occupied modes with repetition, ``(C(M+N-1, N), N)``, lexicographic, read-only.

    >>> fock_outcomes(2, 2).tolist()
    [[0, 0], [0, 1], [1, 1]]
    """
    if photons == 0:
        return _frozen(np.zeros((1, 0), dtype=np.int64))
    flat = itertools.chain.from_iterable(itertools.combinations_with_replacement(range(modes), photons))
    return _frozen(np.fromiter(flat, dtype=np.int64).reshape(-1, photons))


def occupations(outcomes: IntArray, modes: int) -> npt.NDArray[np.uint8]:
    """Photon numbers per mode, ``(K, N) -> (K, M)``.

    >>> occupations(np.array([[0, 0, 2]]), 3).tolist()
    [[2, 0, 1]]
    """
    return np.asarray((outcomes[:, :, None] == np.arange(modes)).sum(axis=1), dtype=np.uint8)


def bunching_factor(outcomes: IntArray) -> npt.NDArray[np.float64]:
    """prod_i s_i! of every outcome, ``(K, N) -> (K,)``: the norm in ``|per(U_s)|^2 / prod_i s_i!``."""
    if outcomes.shape[1] == 0:
        return np.ones(len(outcomes))
    modes = int(outcomes.max()) + 1
    factorials = np.array([math.factorial(k) for k in range(outcomes.shape[1] + 1)], dtype=np.float64)
    return np.asarray(factorials[occupations(outcomes, modes)].prod(axis=1))


@lru_cache(maxsize=64)
def collision_free_index(modes: int, photons: int) -> IntArray:
    """Where the collision-free outcomes stand in the Fock order, ``(C(M, N),)``, read-only.

    >>> collision_free_index(2, 2).tolist()
    [1]
    """
    # ascending modes, so photons in one mode are neighbours: a difference of 0
    outcomes = fock_outcomes(modes, photons)
    free = (np.diff(outcomes, axis=1) > 0).all(axis=1)
    return _frozen(np.flatnonzero(free).astype(np.int64))


def rank_collision_free(outcomes: IntArray, modes: int) -> IntArray:
    """Index of collision-free outcomes in lexicographic order, ``(K, N) -> (K,)``.

    The rank of a_0 < ... < a_{N-1} among the N-subsets of M modes is
    C(M, N) - 1 - sum_j C(M - 1 - a_j, N - j) (combinatorial number system).

    >>> rank_collision_free(np.array([[0, 2], [1, 2]]), 3).tolist()
    [1, 2]
    """
    photons = outcomes.shape[1]
    table = np.array([[math.comb(modes - 1 - a, photons - j) for j in range(photons)] for a in range(modes)])
    below = table[outcomes, np.arange(photons)].sum(axis=1)
    return np.asarray(math.comb(modes, photons) - 1 - below, dtype=np.int64)


def check_modes_photons(modes: int, photons: int) -> None:
    """Raise :class:`ProgramError` unless ``1 <= photons <= modes``."""
    if not 1 <= photons <= modes:
        raise ProgramError(
            f"{short(photons)} photons in {short(modes)} modes have no collision-free outcome. "
            f"Use 1 to {max(modes, 1)} photons."
        )
