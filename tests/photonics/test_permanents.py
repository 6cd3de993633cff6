"""Permanents against the permutation sum, Perceval and the laws of boson interference."""

from __future__ import annotations

import itertools
import math
import time
import tracemalloc

import numpy as np
import perceval as pcvl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_sdk.errors import ProgramError
from qpu_sdk.photonics import permanents as module
from qpu_sdk.photonics.fock import collision_free_index, collision_free_outcomes, fock_outcomes
from qpu_sdk.photonics.permanents import (
    MOST_PRODUCTS,
    amplitudes,
    amplitudes_vjp,
    collision_free_tree,
    fock_tree,
    glynn_signs,
    permanents,
    permanents_by_rows,
    prefix_counts,
    probabilities,
    probabilities_vjp,
    tree_products,
)
from tests.oracles.permanents import (
    Matrix,
    boson_probability,
    bunching,
    distinguishable_probability,
    naive_permanent,
    outcomes,
)
from tests.oracles.unitaries import fourier, haar, hadamard

SEEDS = st.integers(0, 2**32 - 1)
FOCK_SIZES = [(1, 1), (2, 1), (1, 3), (2, 2), (4, 3), (3, 5), (5, 4)]
FREE_SIZES = [(1, 1), (3, 1), (2, 2), (4, 4), (5, 3), (6, 4)]


def gaussian(shape: tuple[int, ...], seed: int) -> Matrix:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape))


def perceval_backend(name: str, unitary: Matrix, photons: int) -> object:
    backend = pcvl.BackendFactory.get_backend(name)
    backend.set_circuit(pcvl.Unitary(pcvl.Matrix(unitary)))
    backend.set_input_state(pcvl.BasicState([1] * photons + [0] * (len(unitary) - photons)))
    return backend


def state(outcome: tuple[int, ...], modes: int) -> pcvl.BasicState:
    return pcvl.BasicState([outcome.count(mode) for mode in range(modes)])


# -- permanents ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(1, 8))
def test_permanent_equals_the_permutation_sum(size: int) -> None:
    matrix = gaussian((size, size), seed=size)
    assert abs(permanents(matrix) - naive_permanent(matrix)) < 1e-12 * naive_permanent(np.abs(matrix)).real


def test_permanent_of_ones_is_a_factorial() -> None:
    assert [round(complex(permanents(np.ones((n, n), dtype=np.complex128))).real) for n in range(1, 11)] == [
        math.factorial(n) for n in range(1, 11)
    ]


def test_permanents_of_a_batch_are_those_of_its_members() -> None:
    batch = gaussian((2, 3, 4, 4), seed=1)
    expected = [[naive_permanent(m) for m in row] for row in batch]
    np.testing.assert_allclose(permanents(batch), expected, rtol=1e-12)


@given(st.integers(1, 6), SEEDS)
@settings(max_examples=40)
def test_permanent_ignores_the_order_of_rows_and_columns(size: int, seed: int) -> None:
    matrix, rng = gaussian((size, size), seed), np.random.default_rng(seed)
    shuffled = matrix[rng.permutation(size)][:, rng.permutation(size)]
    scale = float(permanents(np.abs(matrix)).real)
    assert abs(permanents(shuffled) - permanents(matrix)) < 1e-12 * scale
    assert abs(permanents(matrix.T) - permanents(matrix)) < 1e-12 * scale


@given(st.integers(1, 6), SEEDS, st.complex_numbers(max_magnitude=10, allow_subnormal=False))
@settings(max_examples=40)
def test_permanent_is_linear_in_each_row(size: int, seed: int, factor: complex) -> None:
    matrix = gaussian((size, size), seed)
    scaled = matrix.copy()
    scaled[0] *= factor
    scale = float(permanents(np.abs(matrix)).real) * max(abs(factor), 1.0)
    assert abs(permanents(scaled) - factor * permanents(matrix)) < 1e-12 * scale


@given(st.integers(2, 6), SEEDS)
@settings(max_examples=20)
def test_laplace_expansion_along_the_first_row(size: int, seed: int) -> None:
    matrix = gaussian((size, size), seed)
    minors = np.array([np.delete(matrix[1:], j, axis=1) for j in range(size)])
    scale = float(permanents(np.abs(matrix)).real)
    assert abs(matrix[0] @ permanents(minors) - permanents(matrix)) < 1e-12 * scale


@pytest.mark.parametrize("photons", [1, 2, 5])
def test_glynn_signs_are_all_vectors_that_begin_with_plus(photons: int) -> None:
    expected = {(1.0, *t) for t in itertools.product((1.0, -1.0), repeat=photons - 1)}
    assert {tuple(row) for row in glynn_signs(photons).tolist()} == expected
    assert len(glynn_signs(photons)) == len(expected)


# -- amplitudes and probabilities ----------------------------------------------------------------------------


@pytest.mark.parametrize(("modes", "photons"), FOCK_SIZES)
def test_fock_amplitudes_equal_the_definition(modes: int, photons: int) -> None:
    columns = gaussian((modes, photons), seed=7)
    expected = [naive_permanent(columns[list(s)]) / math.sqrt(bunching(s)) for s in outcomes(modes, photons)]
    np.testing.assert_allclose(amplitudes(columns, fock_tree(modes, photons)), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("modes", "photons"), FREE_SIZES)
def test_collision_free_amplitudes_equal_the_definition(modes: int, photons: int) -> None:
    columns = gaussian((modes, photons), seed=8)
    expected = [naive_permanent(columns[list(s)]) for s in itertools.combinations(range(modes), photons)]
    np.testing.assert_allclose(
        amplitudes(columns, collision_free_tree(modes, photons)), expected, rtol=1e-11, atol=1e-12
    )


@pytest.mark.parametrize("backend", ["Naive", "SLOS"])
def test_amplitudes_equal_percevals(backend: str) -> None:
    modes, photons = 5, 4
    unitary = haar(modes, seed=3)
    oracle = perceval_backend(backend, unitary, photons)
    expected = [oracle.prob_amplitude(state(s, modes)) for s in outcomes(modes, photons)]  # type: ignore[attr-defined]
    found = amplitudes(unitary[:, :photons], fock_tree(modes, photons))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_twelve_modes_six_photons_equal_slos() -> None:
    unitary = haar(12, seed=4)
    expected = np.asarray(perceval_backend("SLOS", unitary, 6).all_prob())  # type: ignore[attr-defined]
    np.testing.assert_allclose(probabilities(unitary[:, :6], fock_tree(12, 6)), expected, atol=1e-13)
    free = probabilities(unitary[:, :6], collision_free_tree(12, 6))
    np.testing.assert_allclose(free, expected[collision_free_index(12, 6)], atol=1e-13)


@given(st.integers(1, 6), st.integers(1, 5), SEEDS)
@settings(max_examples=30)
def test_probabilities_of_all_fock_outcomes_sum_to_one(modes: int, photons: int, seed: int) -> None:
    photons = min(modes, photons)
    p = probabilities(haar(modes, seed)[:, :photons], fock_tree(modes, photons))
    assert abs(p.sum() - 1.0) < 1e-12
    assert (p >= 0.0).all()


@given(st.integers(2, 6), SEEDS)
@settings(max_examples=20)
def test_input_and_output_phases_do_not_matter(modes: int, seed: int) -> None:
    photons = max(1, modes - 2)
    unitary, rng = haar(modes, seed), np.random.default_rng(seed)
    dressed = np.exp(1j * rng.uniform(0, 7, modes))[:, None] * unitary * np.exp(1j * rng.uniform(0, 7, modes))
    tree = fock_tree(modes, photons)
    np.testing.assert_allclose(
        probabilities(dressed[:, :photons], tree), probabilities(unitary[:, :photons], tree), atol=1e-12
    )


def test_batched_amplitudes_equal_single_ones() -> None:
    batch, tree = gaussian((2, 3, 5, 3), seed=5), collision_free_tree(5, 3)
    single = [[amplitudes(one, tree) for one in row] for row in batch]
    np.testing.assert_allclose(amplitudes(batch, tree), single, rtol=1e-12, atol=1e-13)


# -- boson interference ----------------------------------------------------------------------------------------


def test_hong_ou_mandel_dip() -> None:
    splitter = hadamard(1)
    np.testing.assert_allclose(probabilities(splitter, fock_tree(2, 2)), [0.5, 0.0, 0.5], atol=1e-15)
    assert abs(distinguishable_probability(splitter, (0, 1)) - 0.5) < 1e-15


@pytest.mark.parametrize("photons", [2, 3, 4, 5])
def test_fourier_multiport_suppresses_outcomes_off_the_cyclic_law(photons: int) -> None:
    """Tichy et al., PRL 104, 220405 (2010): outcomes with sum of modes not 0 mod N never occur."""
    p = probabilities(fourier(photons), fock_tree(photons, photons))
    forbidden = fock_outcomes(photons, photons).sum(axis=1) % photons != 0
    assert p[forbidden].max() < 1e-28
    assert abs(p[~forbidden].sum() - 1.0) < 1e-12


@pytest.mark.parametrize("unitary", [hadamard(2), fourier(4), haar(4, seed=6)], ids=["hadamard", "fourier", "haar"])
def test_full_bunching_is_enhanced_by_a_factorial(unitary: Matrix) -> None:
    p = probabilities(unitary, fock_tree(4, 4))
    rows = outcomes(4, 4)
    for mode in range(4):
        together = (mode,) * 4
        classical = distinguishable_probability(unitary, together)
        assert abs(classical - np.prod(np.abs(unitary[mode]) ** 2)) < 1e-15
        assert abs(p[rows.index(together)] / classical - math.factorial(4)) < 1e-9


def test_mean_photon_number_does_not_depend_on_interference() -> None:
    unitary = haar(5, seed=9)
    p = probabilities(unitary[:, :3], fock_tree(5, 3))
    mean = sum(w * np.bincount(s, minlength=5) for w, s in zip(p, outcomes(5, 3), strict=True))
    np.testing.assert_allclose(mean, (np.abs(unitary[:, :3]) ** 2).sum(axis=1), atol=1e-12)


def test_probabilities_of_bosons_come_from_the_definition() -> None:
    unitary = haar(4, seed=10)
    expected = [boson_probability(unitary[:, :3], s) for s in outcomes(4, 3)]
    np.testing.assert_allclose(probabilities(unitary[:, :3], fock_tree(4, 3)), expected, atol=1e-13)


# -- chunks and memory -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [1, 97, 1000])
def test_chunks_change_neither_amplitudes_nor_gradient(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    columns, tree = gaussian((3, 6, 4), seed=11), fock_tree(6, 4)
    cotangent = gaussian((3, len(tree.norm)), seed=12)
    whole, pulled, permanent = (
        amplitudes(columns, tree),
        amplitudes_vjp(columns, tree, cotangent),
        permanents(columns[:, :4]),
    )
    monkeypatch.setattr(module, "CHUNK_ENTRIES", entries)
    np.testing.assert_allclose(amplitudes(columns, tree), whole, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(amplitudes_vjp(columns, tree, cotangent), pulled, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(permanents(columns[:, :4]), permanent, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("entries", [10, module.CHUNK_ENTRIES])
@pytest.mark.parametrize("photons", [1, 3])
def test_gradients_of_probabilities_are_those_through_amplitudes(
    entries: int, photons: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns, tree = gaussian((4, 5, photons), seed=17), collision_free_tree(5, photons)
    gradient = np.random.default_rng(18).normal(size=(4, len(tree.norm)))
    expected = amplitudes_vjp(columns, tree, 2.0 * gradient * amplitudes(columns, tree))
    monkeypatch.setattr(module, "CHUNK_ENTRIES", entries)
    np.testing.assert_allclose(probabilities_vjp(columns, tree, gradient), expected, rtol=1e-12, atol=1e-12)


def test_memory_is_bounded_for_eight_photons_in_sixteen_modes() -> None:
    """Every size is worked through in chunks of 64 MB; all at once six unitaries would take 260 MB."""
    tree = collision_free_tree(16, 8)
    columns = np.stack([haar(16, seed)[:, :8] for seed in range(6)])
    tracemalloc.start()
    try:
        p = probabilities(columns, tree)
        _, forward = tracemalloc.get_traced_memory()
        amplitudes_vjp(columns, tree, np.ones_like(p, dtype=np.complex128))
        _, both = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert p.shape == (6, math.comb(16, 8))
    chunk = 16 * module.CHUNK_ENTRIES
    assert forward < 2.5 * chunk
    assert both < 4.0 * chunk


# -- gradients -------------------------------------------------------------------------------------------------


def test_vjp_equals_torch_through_the_permutation_sum() -> None:
    columns, tree = gaussian((5, 3), seed=15), collision_free_tree(5, 3)
    cotangent = gaussian((len(tree.norm),), seed=16)
    a = torch.tensor(columns, requires_grad=True)
    sigma = list(itertools.permutations(range(3)))
    rows = collision_free_outcomes(5, 3).tolist()
    values = torch.stack([sum(torch.prod(a[r, list(s)]) for s in sigma) for r in rows])  # type: ignore[misc]
    torch.autograd.backward(values, torch.tensor(cotangent))
    assert a.grad is not None
    np.testing.assert_allclose(amplitudes_vjp(columns, tree, cotangent), a.grad.numpy(), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("modes", "photons"), [(3, 1), (5, 3), (6, 4), (4, 4)])
@pytest.mark.parametrize("bunched", [True, False])
def test_prefixes_are_counted_as_the_tree_has_them(modes: int, photons: int, bunched: bool) -> None:
    tree = (fock_tree if bunched else collision_free_tree)(modes, photons)
    assert prefix_counts(modes, photons, bunched=bunched) == [len(level) for level in tree.modes_at]


def test_what_would_not_be_done_in_minutes_is_refused_at_once() -> None:
    """24 modes and 12 photons: 2.7 million permanents of 12 by 12."""
    begun = time.perf_counter()
    with pytest.raises(ProgramError, match=r"12 photons in 24 modes take 1.3e\+10 products.* Use fewer photons"):
        collision_free_tree(24, 12)
    with pytest.raises(ProgramError, match="8 photons in 40 modes have 76904685 outcomes; 5000000 are computed"):
        collision_free_tree(40, 8)
    with pytest.raises(ProgramError, match="outcomes"):
        fock_tree(24, 12)
    assert time.perf_counter() - begun < 5.0
    assert tree_products(20, 10, bunched=False) <= MOST_PRODUCTS


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_both_ways_to_a_permanent_agree(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(size)
    matrices = rng.normal(size=(3, size, size)) + 1j * rng.normal(size=(3, size, size))
    by_rows = permanents(matrices)
    np.testing.assert_array_equal(by_rows, permanents_by_rows(matrices.transpose(1, 2, 0)))
    monkeypatch.setattr(module, "MOST_BY_ROWS", 0)
    np.testing.assert_allclose(by_rows, permanents(matrices), rtol=1e-10)
