"""R applied factor by factor against R as a matrix, and what it makes of programs too large for one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qpu_sdk.arrays import FloatArray
from qpu_sdk.calibration.known import known_record
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.errors import MitigationError
from qpu_sdk.mitigation import forward as forward_module
from qpu_sdk.mitigation.forward import Forward, forward, space, without_circuit
from qpu_sdk.mitigation.mitigate import mitigate
from qpu_sdk.mitigation.response import DenseResponse, FactorisedResponse
from qpu_sdk.photonics.meshes import BrickwallMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program
from tests.helpers import tvd
from tests.mitigation.test_forward import noise_of
from tests.oracles.unitaries import haar

DETECTORS = ("threshold", "pnr", "ppnr:2", "ppnr:3")
SIZES = ((2, 1), (2, 2), (3, 3), (5, 3), (6, 4))


def both(monkeypatch: pytest.MonkeyPatch, make: Any) -> tuple[Forward, Forward]:
    """The model with R as a matrix, and with its factors."""
    dense = make()
    monkeypatch.setattr(forward_module, "MAX_DENSE", 0)
    large = make()
    monkeypatch.undo()
    assert isinstance(dense.response, DenseResponse)
    assert isinstance(large.response, FactorisedResponse)
    return dense, large


def model(modes: int, photons: int, detector: str, *, g2: float = 0.05, dark: float = 1e-3) -> Forward:
    return forward(haar(modes, 3)[:, :photons], noise_of(photons, modes, seed=2, g2=g2, dark=dark), detector)


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize(("modes", "photons"), SIZES)
def test_factors_are_the_matrix(modes: int, photons: int, detector: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for g2, dark in ((0.05, 1e-3), (0.0, 1e-3), (0.05, 0.0), (0.0, 0.0)):
        dense, large = both(monkeypatch, lambda g=g2, d=dark: model(modes, photons, detector, g2=g, dark=d))
        matrix = dense.response.dense()
        np.testing.assert_allclose(large.response.dense(), matrix, atol=1e-14)
        np.testing.assert_allclose(large.gain, dense.gain, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(large.background, dense.background, atol=1e-14)
        y = np.random.default_rng(1).uniform(size=(3, len(matrix)))
        np.testing.assert_allclose(large.response.pull(y), y @ matrix, atol=1e-13)
        np.testing.assert_allclose(large.response.pull(y[0]), y[0] @ matrix, atol=1e-13)
        np.testing.assert_allclose(large.response.seen, matrix.sum(axis=0), atol=1e-13)
        np.testing.assert_allclose(large.response.reached, matrix.sum(axis=1), atol=1e-13)


@pytest.mark.parametrize("detector", DETECTORS)
def test_one_row_for_the_full_class(detector: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dense, large = both(monkeypatch, lambda: model(5, 3, detector))
    here = dense.space
    lower, few = (of.response.lower(here.below, here.full) for of in (dense, large))
    assert few.shape == lower.shape == (len(here.below) + 1, len(here.states))
    np.testing.assert_allclose(few.dense(), lower.dense(), atol=1e-14)
    y = np.random.default_rng(2).uniform(size=(2, lower.shape[0]))
    np.testing.assert_allclose(few.pull(y), lower.pull(y), atol=1e-13)


@pytest.mark.parametrize("detector", DETECTORS)
def test_loss_alone(detector: str, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = noise_of(3, 5, seed=4)
    dense, large = both(monkeypatch, lambda: without_circuit(noise, detector, modes=5, photons=3))
    np.testing.assert_allclose(large.response.dense(), dense.response.dense(), atol=1e-14)
    np.testing.assert_allclose(large.gain, dense.gain, rtol=1e-12)


def test_pulling_is_the_transpose_at_a_size_without_a_matrix() -> None:
    large = model(12, 5, "threshold")
    assert isinstance(large.response, FactorisedResponse)
    rng = np.random.default_rng(3)
    x, y = rng.uniform(size=large.response.shape[1]), rng.uniform(size=large.response.shape[0])
    assert y @ large.response.rates(x) == pytest.approx(large.response.pull(y) @ x, rel=1e-12)
    single = large.response.astype(np.float32)
    np.testing.assert_allclose(single.rates(x.astype(np.float32)), large.response.rates(x), rtol=2e-5)
    one: FloatArray = np.zeros(large.response.shape[1])
    one[large.space.free[7]] = 1.0
    assert large.response.rates(one)[large.space.full[7]] == pytest.approx(large.gain[7], rel=1e-12)


def test_rare_classes_keep_their_digits() -> None:
    """Behind 1 % of transmission six photons are seen once in 1e12 pulses, beyond what differences of sums resolve."""
    noise = Noise(indistinguishability=0.9, g2=0.02, transmittance=0.01).at(range(6), modes=12)
    large = forward(haar(12, 1)[:, :6], noise)
    alone = np.sqrt(0.9) ** 6 * 0.01**6 * (noise.transmittance[0] / 0.01) ** 6
    assert 0.8 * alone < large.gain.min() <= large.gain.max() < 1.2 * alone
    shares = large.gain * large.ideal[large.space.free] / large.model[large.space.full]
    assert (shares < 1.0 + 1e-9).all()


def test_twelve_modes_and_six_photons_are_mitigated() -> None:
    """Ascella's own size: R would have 31 million entries."""
    mesh = BrickwallMesh(12)
    program = Program(mesh, np.random.default_rng(5).uniform(0.0, 2.0 * np.pi, mesh.declared), tuple(range(0, 12, 2)))
    noise = Noise(indistinguishability=0.92, g2=0.02, transmittance=0.3)
    device = LocalDevice(seed=1, model=LocalModel(noise=noise), name="simulated")
    record = known_record(noise, Identity("simulated", "simulated", 12, program.input_modes, "threshold"))
    [counts] = device.submit([program], shots=10_000_000).result()
    truth, raw = program.probabilities(), counts.collision_free()
    found = mitigate(counts, record, program=program, seed=0)
    assert found.method == "unfold-fuse"
    # Seven hundred events of 924 outcomes are off by 0.3 to 0.4 raw.
    assert tvd(found.probabilities, truth) < 0.8 * tvd(raw / raw.sum(), truth)
    low, high = found.interval(0.95)
    assert ((low <= truth) & (truth <= high)).mean() > 0.88
    again = mitigate(counts, record, program=program, seed=0)
    np.testing.assert_array_equal(again.probabilities, found.probabilities)


def test_beyond_the_limits_the_history_says_which_and_the_way_out() -> None:
    counts_of = [(20, 6, "collision-free outcomes; 20000 are held"), (13, 9, "outcomes; 250000 are held")]
    for modes, photons, words in counts_of:
        with pytest.raises(MitigationError, match=words) as caught:
            space(modes, photons, "threshold")
        assert "Use method response, fuse or post-select, or fewer photons or modes." in str(caught.value)
