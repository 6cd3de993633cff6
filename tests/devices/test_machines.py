"""The table of machines: every figure has a source, and everything reads it."""

from __future__ import annotations

import pytest

from qpu_sdk.devices.machines import ASSUMED, MACHINES, NOISE_PRESETS, Machine, known_transmittance, machine_of
from qpu_sdk.emulator.platforms import emulated_platform
from qpu_sdk.emulator.settings import CloudSettings
from qpu_sdk.photonics.noise import Noise

every = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)


@every
def test_every_figure_has_a_source(machine: Machine) -> None:
    defaults = Noise()
    noise = {key for key, value in vars(machine.noise or defaults).items() if value != getattr(defaults, key)}
    cost = {"credits_per_shot", "seconds_per_setting"}
    assert set(machine.sources) == noise | cost | {"modes", "photons"}
    assert all("unverified" in machine.sources[key] for key in noise | cost)


@every
@pytest.mark.parametrize("kind", ["qpu", "sim"])
def test_an_emulated_platform_is_the_machine_in_its_name(machine: Machine, kind: str) -> None:
    settings, name = CloudSettings(seed=1), f"{kind}:{machine.name}"
    chip = emulated_platform(name, noise=settings.noise_of(name), seed=1, payload_version=2).chip
    assert (chip.max_modes, chip.max_photons) == (machine.modes, machine.photons)
    assert settings.noise_of(name) == (machine.noise or NOISE_PRESETS["ideal"])
    if kind == "qpu":
        assert settings.setting_s(name) == machine.seconds_per_setting
        assert settings.credits_for(name, 3) == 3 * machine.credits_per_shot


@pytest.mark.parametrize(
    ("platform", "name"),
    [
        ("qpu:belenos", "belenos"),
        ("quandela:sim:ascella?url=http://belenos.example/", "ascella"),
        ("scaleway:QPU-ALTAIR", "altair"),
        ("sim:ideal", None),
        ("qpu:belenos2", None),
        ("", None),
    ],
)
def test_a_machine_is_a_word_of_its_platforms_name(platform: str, name: str | None) -> None:
    assert machine_of(platform) is (MACHINES[name] if name else None)


def test_what_is_not_known_is_assumed() -> None:
    assert (ASSUMED.modes, ASSUMED.photons, ASSUMED.noise) == (24, 12, None)
    assert known_transmittance("qpu:altair") == known_transmittance("qpu:other")
    assert known_transmittance("qpu:other")[0] == 0.06
    assert CloudSettings(seed=1).setting_s("qpu:other") == ASSUMED.seconds_per_setting
