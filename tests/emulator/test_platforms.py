"""What emulated machines do beyond what they publish: detectors of several wires, couplers that are off."""

from __future__ import annotations

import numpy as np
import pytest

from qpu_sdk.devices.machines import NOISE_PRESETS
from qpu_sdk.devices.noisy_chip import with_angle_errors
from qpu_sdk.devices.registry import open_device
from qpu_sdk.photonics.click_model import click_distribution
from qpu_sdk.photonics.meshes import RectangularMesh
from qpu_sdk.photonics.noise import Noise
from tests.helpers import program
from tests.oracles.statistics import chi_square_p

pytest.importorskip("uvicorn")

from qpu_sdk.emulator.server import EmulatedCloud
from qpu_sdk.emulator.settings import CloudSettings

GIVEN = program(RectangularMesh(4), 2, seed=3)


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", "_T_secret-of-the-tests")


def test_couplers_of_a_chip_are_off_the_same_way_in_every_setting() -> None:
    noise = Noise(transmittance=0.5, efficiency=(1.0, 0.5, 0.8, 0.3), angle_error=0.3)
    with EmulatedCloud(CloudSettings(seed=7, platforms=("qpu:belenos",), noise=noise, time_scale=1e5)) as cloud:
        device = open_device(f"quandela:qpu:belenos?url={cloud.url}&poll_s=0.01&max_poll_s=0.05", seed=1)
        counts = device.run(GIVEN, shots=100_000)
    mesh, u = GIVEN.mesh, GIVEN.mesh.unitary(GIVEN.phases)
    set_to = RectangularMesh(4).phases_of(u)  # the chip decomposes what it is asked for
    for phases, likely in ((with_angle_errors(mesh, set_to, 0.3, seed=7), True), (set_to, False)):
        columns = mesh.columns(phases, GIVEN.input_modes)
        sets, [p] = click_distribution(columns[None], noise.at(GIVEN))
        seen = dict(zip(map(tuple, counts.outcomes.tolist()), counts.numbers.tolist(), strict=True))
        expected = p[1:] / p[1:].sum() * counts.shots
        found = [seen.get(tuple(row), 0) for row in sets.counts[1:].tolist()]
        assert (chi_square_p(found, expected.tolist()) > 1e-4) == likely


def test_an_emulated_belenos_publishes_less_than_it_does() -> None:
    vendor = NOISE_PRESETS["belenos-published"]
    with EmulatedCloud(CloudSettings(seed=7, platforms=("qpu:belenos", "sim:belenos"), time_scale=1e5)) as cloud:
        qpu, sim = (
            open_device(f"quandela:{kind}:belenos?url={cloud.url}&poll_s=0.01&max_poll_s=0.05", seed=1)
            for kind in ("qpu", "sim")
        )
        counts = qpu.run(program(RectangularMesh(6), 3, seed=1), shots=100_000)
        assert (qpu.spec.detector, sim.spec.detector) == ("ppnr:6", "threshold")
        assert qpu.spec.published == sim.spec.published
        assert qpu.spec.published["g2 (%)"] == pytest.approx(100 * vendor.g2)
        assert qpu.spec.published["Transmittance (%)"] == pytest.approx(100 * vendor.click_probability)
        assert "Transmission per mode (%)" not in qpu.spec.published
    assert counts.detector == "ppnr:6"
    assert counts.shots == 100_000
    assert 2 <= counts.outcomes[counts.numbers > 0].max() <= 6
    assert int(np.sum(counts.numbers[counts.outcomes.sum(axis=1) == 1])) > 80_000
