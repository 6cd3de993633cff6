"""Click patterns against their definition: all of them, in order, each beside the one with a click less."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_sdk.errors import ProgramError
from qpu_sdk.photonics.counts import Detector
from qpu_sdk.photonics.patterns import count_patterns, count_sets, lattice, mode_sets

sizes = st.integers(1, 9).flatmap(lambda modes: st.tuples(st.just(modes), st.integers(0, modes)))


@given(sizes)
def test_sets_are_all_there_in_the_order_of_their_masks(size: tuple[int, int]) -> None:
    modes, clicks = size
    sets = mode_sets(modes, clicks)
    chosen = [c for k in range(clicks + 1) for c in itertools.combinations(range(modes), k)]
    expected = sorted(chosen, key=lambda c: sum(2**i for i in c))
    assert [tuple(np.flatnonzero(row)) for row in sets.members] == expected
    assert sets.masks.tolist() == [sum(2**i for i in c) for c in expected]
    assert sets.clicks.tolist() == [len(c) for c in expected]
    assert count_sets(modes, clicks) == len(expected)


@given(sizes)
def test_steps_take_one_mode_away(size: tuple[int, int]) -> None:
    sets = mode_sets(*size)
    for mode, (with_it, without) in enumerate(sets.neighbour_pairs):
        assert with_it.tolist() == np.flatnonzero(sets.members[:, mode]).tolist()
        np.testing.assert_array_equal(sets.masks[without], sets.masks[with_it] - (1 << mode))


@given(sizes, st.sampled_from(["threshold", "pnr"]))
def test_patterns_are_found_where_they_stand_and_beside_those_with_a_click_less(
    size: tuple[int, int], detector: Detector
) -> None:
    modes, clicks = min(size[0], 6), min(size[1], 4)
    every = lattice(modes, clicks, detector)
    most = 1 if detector == "threshold" else clicks
    expected = {p for p in itertools.product(range(most + 1), repeat=modes) if sum(p) <= clicks}
    assert {tuple(row) for row in every.counts.tolist()} == expected
    assert len(every.counts) == len(expected) == count_patterns(modes, clicks, detector)
    np.testing.assert_array_equal(every.find(every.counts), np.arange(len(expected)))
    for mode in range(modes):
        for above, change in ((True, 1), (False, -1)):
            beside = every.neighbours(mode, above=above)
            for here, there in enumerate(beside[:-1]):
                moved = every.counts[here].astype(int) + change * (np.arange(modes) == mode)
                assert (tuple(moved) in expected) == (there < len(expected))
                if there < len(expected):
                    np.testing.assert_array_equal(every.counts[there], moved)


def test_too_many_sets_are_refused_before_they_are_made() -> None:
    for modes, clicks in ((62, 10), (24, 24), (63, 1)):
        with pytest.raises(ProgramError, match="Ask for fewer clicks"):
            mode_sets(modes, clicks)
