"""The joint distribution: its index, its scale, and its error against repeated sampling."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from qpu_sdk.devices.registry import open_device
from qpu_sdk.devices.simulation import exact_probabilities
from qpu_sdk.mitigation.distribution import Distribution
from qpu_sdk.training.config import RunConfig
from qpu_sdk.training.config_file import parse_config
from qpu_sdk.training.qnn import QNNBank, joint, joint_error, joint_measured, qnns_of

MIXED = {
    "qnn": [
        {"modes": 5, "photons": 2, "mesh": "brickwall"},
        {"modes": 4, "photons": 2},
        {"modes": 3, "photons": 1, "mesh": "rectangular"},
    ]
}


def mixed() -> RunConfig:
    return parse_config(MIXED, where="test")


def bank(config: RunConfig) -> QNNBank:
    return QNNBank.of(config, {"local:slos": open_device("local:slos", seed=5)})


def distribution(numbers: np.ndarray) -> Distribution:
    samples = int(numbers.sum())
    return Distribution(probabilities=numbers / samples, samples=samples, shots=samples)


@pytest.mark.parametrize("sizes", [(2, 3), (6, 1), (3, 4, 2)])
def test_joint_index_runs_fastest_over_the_last_qnn(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    parts = [rng.dirichlet(np.ones(k)) for k in sizes]
    p = joint([torch.from_numpy(q) for q in parts])
    for outcome in itertools.product(*map(range, sizes)):
        index = 0
        for a, k in zip(outcome, sizes, strict=True):
            index = index * k + a
        expected = np.prod([q[a] * len(q) for q, a in zip(parts, outcome, strict=True)])
        assert float(p[index]) == pytest.approx(float(expected), rel=1e-12)
    assert float(p.mean()) == pytest.approx(1.0, rel=1e-12)


def test_measured_joint_has_mean_one_in_single_precision() -> None:
    rng = np.random.default_rng(2)
    p = joint_measured([distribution(rng.multinomial(500, rng.dirichlet(np.ones(k)))) for k in (9, 7)])
    assert p.dtype == torch.float32
    assert float(p.double().mean()) == pytest.approx(1.0, abs=1e-6)


def relative_square(rng: np.random.Generator, parts: list[np.ndarray], samples: tuple[int, ...]) -> float:
    """Probability-weighted mean square of the relative error of one drawn joint distribution."""
    drawn = [rng.multinomial(n, q) / n for n, q in zip(samples, parts, strict=True)]
    true, seen = np.multiply.outer(*parts), np.multiply.outer(*drawn)
    return float(((seen - true) ** 2 / true).sum())


@pytest.mark.parametrize("samples", [(20_000, 20_000), (30_000, 5_000)])
def test_joint_error_is_the_spread_of_repeated_sampling(samples: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    parts = [rng.dirichlet(np.ones(15)), rng.dirichlet(np.ones(10))]
    squares = np.array([relative_square(rng, parts, samples) for _ in range(600)])
    exact = [Distribution(probabilities=q, samples=n, shots=n) for n, q in zip(samples, parts, strict=True)]
    second_order = joint_error(exact) ** 4 / 4  # product of the two relative variances, which the formula leaves out
    error = squares.std(ddof=1) / len(squares) ** 0.5
    assert abs(squares.mean() - joint_error(exact) ** 2) < 4 * error + second_order
    assert error < 0.03 * squares.mean()


def test_joint_error_ignores_outcomes_never_seen() -> None:
    numbers = np.array([300, 500, 200])
    padded = np.array([300, 0, 500, 200, 0])
    other = distribution(np.array([10, 20]))
    assert joint_error([distribution(numbers), other]) == pytest.approx(joint_error([distribution(padded), other]))


def test_measurements_tend_to_the_exact_distribution() -> None:
    circuits = bank(mixed())
    phases = circuits.initial_phases(seed=4)
    shots = 200_000
    [measured] = circuits.measure(phases[None], shots=shots, tag="t")
    cuts = np.cumsum([q.mesh.declared for q in circuits.qnns])[:-1]
    for got, qnn, own in zip(measured, circuits.qnns, np.split(phases, cuts), strict=True):
        p = exact_probabilities(qnn.mesh.columns(own[None], qnn.input_modes), collision_free=True, engine="slos")[0]
        p = p / p.sum()
        chi2 = (got.samples * (got.probabilities - p) ** 2 / p).sum()
        freedom = len(p) - 1
        assert abs(chi2 - freedom) < 5 * np.sqrt(2 * freedom) + 5


def test_exact_joint_equals_the_measured_limit_and_has_gradients() -> None:
    circuits = bank(mixed())
    phases = torch.from_numpy(circuits.initial_phases(seed=4)).requires_grad_()
    p = circuits.exact(phases)
    [measured] = circuits.measure(phases.detach().numpy()[None], shots=300_000, tag="t")
    assert p.shape == (circuits.joint_outcomes,)
    weighted = ((joint_measured(measured) - p) ** 2 / p.clamp_min(1e-9)).mean().sqrt()
    assert float(weighted.detach()) < 3 * joint_error(measured)
    (gradient,) = torch.autograd.grad(p.square().mean(), phases)
    assert float(gradient.abs().max()) > 0


def test_every_setting_is_counted_and_keeps_its_place() -> None:
    circuits, again = bank(mixed()), bank(mixed())
    vectors = np.stack([circuits.initial_phases(seed=s) for s in (1, 2)])
    both = circuits.measure(vectors, shots=100_000, tag="t")
    assert (circuits.spent.settings, circuits.spent.shots, circuits.spent.jobs) == (6, 600_000, 1)
    for vector, got in zip(vectors, both, strict=True):
        [alone] = again.measure(vector[None], shots=100_000, tag="t")
        for a, b in zip(got, alone, strict=True):
            assert np.abs(a.probabilities - b.probabilities).max() < 6 * np.sqrt(0.5 / min(a.samples, b.samples))


def test_sizes_follow_the_configuration() -> None:
    circuits = bank(mixed())
    assert circuits.sizes == (10, 6, 3)
    assert circuits.joint_outcomes == 180
    assert circuits.declared == sum(q.mesh.declared for q in qnns_of(mixed()))
    assert circuits.initial_phases(seed=1).shape == (circuits.declared,)
    assert np.array_equal(circuits.initial_phases(seed=1), circuits.initial_phases(seed=1))
