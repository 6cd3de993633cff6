"""Outcome orders and index maps, against itertools and dictionaries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_sdk.errors import ProgramError
from qpu_sdk.photonics.fock import (
    bunching_factor,
    collision_free_index,
    collision_free_outcomes,
    fock_outcomes,
    occupations,
    rank_collision_free,
)
from tests.oracles.permanents import bunching, outcomes

SIZES = st.integers(1, 6).flatmap(lambda m: st.tuples(st.just(m), st.integers(1, m)))
FOCK_SIZES = st.tuples(st.integers(1, 5), st.integers(1, 4))


@given(SIZES)
def test_collision_free_outcomes_are_the_combinations(size: tuple[int, int]) -> None:
    modes, photons = size
    expected = [t for t in outcomes(modes, photons) if len(set(t)) == photons]
    assert [tuple(row) for row in collision_free_outcomes(modes, photons).tolist()] == expected
    assert len(expected) == math.comb(modes, photons)


@given(FOCK_SIZES)
def test_fock_outcomes_are_the_sorted_tuples(size: tuple[int, int]) -> None:
    modes, photons = size
    assert [tuple(row) for row in fock_outcomes(modes, photons).tolist()] == outcomes(modes, photons)
    assert len(fock_outcomes(modes, photons)) == math.comb(modes + photons - 1, photons)


def test_no_photon_has_one_outcome() -> None:
    assert fock_outcomes(3, 0).shape == (1, 0)
    assert occupations(fock_outcomes(3, 0), 3).tolist() == [[0, 0, 0]]
    assert bunching_factor(fock_outcomes(3, 0)).tolist() == [1.0]


@given(FOCK_SIZES)
def test_occupations_count_the_photons_of_each_mode(size: tuple[int, int]) -> None:
    modes, photons = size
    expected = [[t.count(mode) for mode in range(modes)] for t in outcomes(modes, photons)]
    assert occupations(fock_outcomes(modes, photons), modes).tolist() == expected


@given(FOCK_SIZES)
def test_bunching_factor_is_the_product_of_factorials(size: tuple[int, int]) -> None:
    modes, photons = size
    assert bunching_factor(fock_outcomes(modes, photons)).tolist() == [bunching(t) for t in outcomes(modes, photons)]


@given(SIZES)
def test_collision_free_index_finds_them_in_the_fock_order(size: tuple[int, int]) -> None:
    modes, photons = size
    found = fock_outcomes(modes, photons)[collision_free_index(modes, photons)]
    np.testing.assert_array_equal(found, collision_free_outcomes(modes, photons))


@given(st.integers(1, 9).flatmap(lambda m: st.tuples(st.just(m), st.integers(1, m))))
def test_rank_inverts_the_order(size: tuple[int, int]) -> None:
    modes, photons = size
    every = collision_free_outcomes(modes, photons)
    np.testing.assert_array_equal(rank_collision_free(every, modes), np.arange(len(every)))


def test_shared_tables_cannot_be_written() -> None:
    for table in (collision_free_outcomes(4, 2), fock_outcomes(4, 2), collision_free_index(4, 2)):
        with pytest.raises(ValueError, match="read-only"):
            table[...] = 0


@pytest.mark.parametrize(("modes", "photons"), [(3, 0), (3, 4), (0, 1), (3, -1)])
def test_impossible_sizes_are_refused(modes: int, photons: int) -> None:
    with pytest.raises(ProgramError, match=f"{photons} photons in {modes} modes"):
        collision_free_outcomes(modes, photons)
