"""Counts against dictionaries, and their way to JSON and to Perceval."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import multiprocessing.reduction
from typing import Any

import numpy as np
import perceval as pcvl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_sdk.errors import DataError
from qpu_sdk.photonics.counts import Counts

Table = dict[tuple[int, ...], int]


@st.composite
def tables(draw: st.DrawFn, largest: int) -> tuple[int, int, Table]:
    modes = draw(st.integers(1, 5))
    outcome = st.tuples(*[st.integers(0, largest)] * modes)
    return modes, draw(st.integers(1, modes)), draw(st.dictionaries(outcome, st.integers(0, 10**12), max_size=8))


def counts_of(modes: int, photons: int, table: Table, **fields: Any) -> Counts:
    outcomes = np.array(list(table), dtype=np.uint8).reshape(len(table), modes)
    return Counts(photons=photons, outcomes=outcomes, numbers=np.array(list(table.values()), dtype=np.int64), **fields)


def table_of(counts: Counts) -> Table:
    pairs = zip(counts.outcomes.tolist(), counts.numbers.tolist(), strict=True)
    return {tuple(row): number for row, number in pairs if number}


# -- counts ----------------------------------------------------------------------------------------------------


@given(tables(largest=2), st.integers(0, 100))
def test_numbers_equal_a_dictionary(case: tuple[int, int, Table], other: int) -> None:
    modes, photons, table = case
    counts = counts_of(modes, photons, table, other=other)
    free = [tuple(int(m in s) for m in range(modes)) for s in itertools.combinations(range(modes), photons)]
    assert counts.modes == modes
    assert counts.shots == sum(table.values()) + other
    assert counts.events == sum(n for s, n in table.items() if sum(s) == photons)
    assert counts.collision_free().tolist() == [table.get(s, 0) for s in free]


def test_an_outcome_listed_twice_is_added_up() -> None:
    counts = Counts(photons=1, outcomes=np.array([[1, 0], [1, 0]]), numbers=np.array([3, 4]))
    assert counts.collision_free().tolist() == [7, 0]
    assert counts.events == 7


@given(tables(largest=9), st.integers(0, 100), st.text(max_size=5))
def test_json_round_trip(case: tuple[int, int, Table], other: int, text: str) -> None:
    modes, photons, table = case
    labels = {"fingerprint": text, "device": text[::-1], "tag": "t" + text, "job_id": text * 2}
    counts = counts_of(modes, photons, table, other=other, **labels)
    line = counts.to_json()
    read = Counts.from_json(line)
    assert "\n" not in line
    assert table_of(read) == table_of(counts)
    assert (read.modes, read.photons, read.other, read.detector) == (modes, photons, other, "pnr")
    assert {name: getattr(read, name) for name in labels} == labels
    assert read.to_json() == line


def test_json_keeps_ten_and_more_photons_in_a_mode() -> None:
    counts = counts_of(3, 12, {(12, 0, 0): 1, (0, 10, 2): 2, (1, 2, 9): 3})
    assert table_of(Counts.from_json(counts.to_json())) == table_of(counts)


def test_json_keeps_the_detector() -> None:
    counts = counts_of(2, 2, {(1, 1): 1}, detector="threshold")
    assert Counts.from_json(counts.to_json()).detector == "threshold"


GOOD = json.loads(counts_of(2, 1, {(1, 0): 3}).to_json())
BROKEN: dict[str, Any] = {
    "schema_version": 3,
    "photons": None,
    "modes": 3,
    "outcomes": ["1x"],
    "numbers": [1, 2],
    "other": -1,
    "detector": "homodyne",
}


@pytest.mark.parametrize("text", ["", "[]", "null", "3", '"x"', "{}", "not json", '{"schema_version": 1}'])
def test_what_is_not_a_line_of_counts_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        Counts.from_json(text)


@pytest.mark.parametrize("key", list(BROKEN))
def test_a_line_with_one_broken_value_is_refused(key: str) -> None:
    Counts.from_json(json.dumps(GOOD))
    with pytest.raises(DataError):
        Counts.from_json(json.dumps(GOOD | {key: BROKEN[key]}))


@pytest.mark.parametrize("numbers", [[2**70], [1.5], [-1]])
def test_a_line_with_numbers_that_are_no_counts_is_refused(numbers: list[Any]) -> None:
    with pytest.raises(DataError):
        Counts.from_json(json.dumps(GOOD | {"numbers": numbers}))


@pytest.mark.parametrize(
    ("outcomes", "numbers", "fields"),
    [
        ([[1, 0]], [1, 2], {}),
        ([1, 0], [1, 2], {}),
        ([[1, 0]], [-1], {}),
        ([[1, 0]], [1], {"other": -1}),
        ([[2, 0]], [1], {"detector": "threshold"}),
        ([[-1, 1]], [1], {}),
        ([[256, 1]], [1], {}),
    ],
)
def test_impossible_counts_are_refused(outcomes: list[Any], numbers: list[int], fields: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        Counts(photons=1, outcomes=np.array(outcomes), numbers=np.array(numbers), **fields)


def test_to_perceval_keeps_what_was_seen() -> None:
    table: Table = {(1, 1, 0): 3, (2, 0, 0): 4, (0, 0, 1): 0}
    found = counts_of(3, 2, table, other=9).to_perceval()
    assert isinstance(found, pcvl.BSCount)
    assert {tuple(state): number for state, number in found.items()} == {(1, 1, 0): 3, (2, 0, 0): 4}


ONCE: dict[str, Any] = {"outcomes": np.array([[1, 0], [0, 1]]), "numbers": np.array([3, 1])}


@pytest.mark.parametrize("photons", ["2", -1, 0, 1.5, True, None])
def test_photons_are_a_whole_number(photons: Any) -> None:
    for make in (
        lambda: Counts(photons=photons, **ONCE),
        lambda: Counts.from_perceval(pcvl.BSCount({pcvl.BasicState([1, 0]): 3}), photons=photons),
    ):
        with pytest.raises(DataError, match="photons is") as caught:
            make()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("other", ["2", -1, 1.5, True, None])
def test_other_is_a_whole_number(other: Any) -> None:
    with pytest.raises(DataError, match="other is"):
        Counts(photons=1, other=other, **ONCE)


@pytest.mark.parametrize("number", [2**63, 2**64 - 1])
def test_numbers_that_would_wrap_around_are_refused(number: int) -> None:
    numbers = np.array([number, 0], dtype=np.uint64)
    with pytest.raises(DataError, match="more than 9223372036854775807 shots"):
        Counts(photons=1, outcomes=ONCE["outcomes"], numbers=numbers)
    with pytest.raises(DataError, match="more than"):
        Counts(photons=1, other=2**63 - 4, **ONCE)
    most = Counts(photons=1, outcomes=ONCE["outcomes"], numbers=np.array([2**63 - 1, 0], dtype=np.uint64))
    assert most.shots == 2**63 - 1


def test_numpy_integers_are_written() -> None:
    counts = Counts(photons=np.int64(2), other=np.int32(5), **ONCE)  # type: ignore[arg-type]
    assert Counts.from_json(counts.to_json()) == counts == Counts(photons=2, other=5, **ONCE)
    for photons in (2.0, "2", True):
        with pytest.raises(DataError):
            Counts.from_json(json.dumps({**json.loads(counts.to_json()), "photons": photons}))


def test_counts_keep_copies_that_nobody_writes_on() -> None:
    outcomes, numbers = np.array([[1, 0]], dtype=np.uint8), np.array([3])
    counts = Counts(photons=1, outcomes=outcomes, numbers=numbers)
    outcomes[0, 1] = numbers[0] = 7
    assert (counts.outcomes.tolist(), counts.numbers.tolist()) == ([[1, 0]], [3])
    pickler = multiprocessing.reduction.ForkingPickler
    for twin in (counts, copy.copy(counts), copy.deepcopy(counts), pickler.loads(pickler.dumps(counts))):
        assert twin == counts
        assert hash(twin) == hash(counts)
        for array in (twin.outcomes, twin.numbers):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
    assert dataclasses.replace(counts, tag="a") != counts != "counts"
