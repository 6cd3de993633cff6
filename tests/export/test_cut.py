"""Cuts of flat weights: found by the numbers, whatever is tied, kept or of another type."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qpu_sdk.errors import DataError
from qpu_sdk.export.cut import Cut
from qpu_sdk.training.targets import tensor_bytes

KINDS = ("float32", "float64", "float16", "bfloat16")
shapes = st.lists(st.tuples(st.lists(st.integers(1, 4), max_size=3), st.sampled_from(KINDS)), min_size=1, max_size=6)


@given(shapes, st.integers(0, 2**32 - 1), st.booleans())
def test_the_cut_of_a_model_gives_its_tensors(pieces: list[tuple[list[int], str]], seed: int, tied: bool) -> None:
    own = Cut(tuple((f"t{i}", tuple(shape), kind) for i, (shape, kind) in enumerate(pieces)), {})
    rng = torch.Generator().manual_seed(seed)
    weights = torch.randn(own.size, generator=rng)
    tensors = own.tensors(weights) | {"steps": torch.tensor(7), "mean": torch.randn(3, generator=rng)}
    if tied:
        tensors["copy"] = tensors["t0"].clone()
    order = torch.randperm(len(tensors), generator=rng).tolist()
    names = [list(tensors)[i] for i in order]  # as a file has them
    found = Cut.found(weights, {name: tensors[name] for name in names})
    assert found is not None
    again = found.tensors(weights)
    assert set(again) == set(tensors) - {"steps", "mean"}
    assert all(
        tensor_bytes(again[name]) == tensor_bytes(tensors[name]) and again[name].shape == tensors[name].shape
        for name in again
    )


def test_a_bias_that_begins_like_a_larger_tensor_is_no_hindrance() -> None:
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 1.0, 2.0])
    tensors = {"bias": weights[4:].clone(), "weight": weights[:4].view(2, 2).clone()}
    found = Cut.found(weights, tensors)
    assert found is not None
    assert [name for name, _, _ in found.pieces] == ["weight", "bias"]


def test_one_bit_decides() -> None:
    weights = torch.tensor([1.0, 0.0])
    assert Cut.found(weights, {"w": torch.tensor([1.0, 0.0])}) is not None
    assert Cut.found(weights, {"w": torch.tensor([1.0, -0.0])}) is None
    assert Cut.found(weights, {"w": torch.nextafter(weights, torch.tensor(9.0))}) is None
    assert Cut.found(weights, {"w": torch.tensor([1.0])}) is None


@pytest.mark.parametrize("pieces", [(("a", (2,), "load"),), (("a", (3,), "float32"),), (("a", (2,), "nonsense"),)])
def test_a_damaged_list_is_told(pieces: tuple[tuple[str, tuple[int, ...], str], ...]) -> None:
    with pytest.raises(DataError, match="list of tensors is damaged"):
        Cut(pieces, {}).tensors(torch.zeros(2))
