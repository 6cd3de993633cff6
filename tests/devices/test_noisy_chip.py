"""Noisy local devices: counts against the click model and against Perceval, phases, options."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from qpu_sdk.arrays import FloatArray, OutcomeArray
from qpu_sdk.devices import noisy_chip
from qpu_sdk.devices.address import DeviceAddress
from qpu_sdk.devices.conformance import run_all
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.machines import NOISE_PRESETS
from qpu_sdk.devices.noisy_chip import NoisyChip
from qpu_sdk.devices.registry import open_device
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.errors import ConfigError, ProgramError
from qpu_sdk.photonics import detection
from qpu_sdk.photonics.click_model import click_distribution
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.photon_counting import fock_distribution
from qpu_sdk.photonics.program import Program
from qpu_sdk.photonics.program_noise import ProgramNoise
from tests.helpers import program
from tests.oracles.statistics import chi_square_p

Shown = dict[tuple[int, ...], float]
BRIGHT = Noise(brightness=0.9, indistinguishability=0.8, g2=0.1, transmittance=0.6)
NOT_FLUKES = (1e-5, 1.0 - 1e-5)


SMALL = program(IsometryMesh(4, 2), 2, seed=1)
LARGE = program(RectangularMesh(5), 3, seed=2)


def twin(modes: int, seed: int = 1, **changes: Any) -> Noise:
    rng = np.random.default_rng(seed)
    values: dict[str, Any] = {
        "brightness": 0.9,
        "indistinguishability": 0.8,
        "g2": 0.1,
        "transmittance": rng.uniform(0.3, 0.9, modes),
        "efficiency": rng.uniform(0.4, 1.0, modes),
    }
    return Noise(**(values | changes))


def shot(p: Program, model: LocalModel, seed: int = 1) -> Shown:
    chip = model.chip(seed=seed)
    assert chip is not None
    outcomes, weights = chip.shot(p)
    return dict(zip(map(tuple, outcomes.tolist()), weights.tolist(), strict=True))


def expected_shot(p: Program, noise: ProgramNoise, *, threshold: bool = True) -> Shown:
    """The plain formula, all patterns, divided by the probability that anything clicks."""
    columns = p.mesh.columns(p.phases, p.input_modes)
    if threshold:
        sets, [weights] = click_distribution(columns[None], noise)
        outcomes = sets.members.astype(np.uint8)
    else:
        outcomes, weights = fock_distribution(columns, noise)
    found = dict(zip(map(tuple, outcomes.tolist()), weights.tolist(), strict=True))
    empty = found.pop((0,) * p.modes)
    return {s: w / (1.0 - empty) for s, w in found.items()}


def worst(found: Shown, expected: Shown) -> float:
    return max(abs(found.get(s, 0.0) - expected.get(s, 0.0)) for s in found.keys() | expected.keys())


def table(counts: Counts) -> dict[tuple[int, ...], int]:
    return {tuple(row): n for row, n in zip(counts.outcomes.tolist(), counts.numbers.tolist(), strict=True) if n}


def draw(text: str, p: Program, *, seed: int = 1, shots: int = 20_000, tag: str = "") -> Counts:
    [counts] = open_device(text, seed=seed).submit([p], shots=shots, tag=tag).result()
    return counts


# -- counts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detector", ["threshold", "pnr"])
@pytest.mark.parametrize("engine", ["auto", "permanents", "perceval"])
def test_counts_follow_the_click_model(engine: str, detector: str) -> None:
    noise = "brightness=0.9,indistinguishability=0.8,g2=0.1,transmittance=0.6"
    counts = draw(f"local:slos?noise={noise}&engine={engine}&detector={detector}", LARGE)
    expected = expected_shot(LARGE, BRIGHT.at(LARGE), threshold=detector == "threshold")
    found = table(counts)
    assert (counts.shots, counts.detector) == (20_000, detector)
    assert set(found) <= set(expected)
    p = chi_square_p([found.get(s, 0) for s in expected], [20_000 * w for w in expected.values()])
    assert NOT_FLUKES[0] < p < NOT_FLUKES[1]


@pytest.mark.parametrize("detector", ["threshold", "pnr"])
@pytest.mark.parametrize(
    "noise", [BRIGHT, NOISE_PRESETS["ascella-published"], twin(5)], ids=["bright", "ascella", "twin"]
)
def test_the_click_model_and_perceval_agree(noise: Any, detector: Any) -> None:
    ours, theirs = (
        shot(LARGE, LocalModel(noise=noise, detector=detector, engine=engine))  # type: ignore[arg-type]
        for engine in ("auto", "perceval")
    )
    assert worst(ours, theirs) < 1e-9
    assert sum(ours.values()) == pytest.approx(1.0, abs=1e-9)


def test_second_photons_that_equal_the_first_are_percevals() -> None:
    noise = Noise(g2=0.3, g2_distinguishable=False, transmittance=0.5)
    with pytest.raises(ConfigError, match="engine=perceval"):
        LocalModel(noise=noise)
    assert sum(shot(SMALL, LocalModel(noise=noise, engine="perceval")).values()) == pytest.approx(1.0)


def test_a_twin_has_losses_dark_counts_and_overlaps_of_its_own() -> None:
    pairs = np.full((5, 5), 0.8)
    np.fill_diagonal(pairs, 1.0)
    pairs[0, 2] = pairs[2, 0] = 0.25
    noise = twin(5, dark_counts=np.linspace(0.0, 0.02, 5), indistinguishability=pairs)
    given = program(RectangularMesh(5), 3, seed=3)
    given = Program(given.mesh, given.phases, (0, 2, 3))
    expected = expected_shot(given, noise.at(given))
    found = shot(given, LocalModel(noise=noise))
    assert worst(found, expected) < 1e-12
    [counts] = LocalDevice(seed=4, model=LocalModel(noise=noise)).submit([given], shots=20_000).result()
    seen = table(counts)
    p = chi_square_p([seen.get(s, 0) for s in expected], [20_000 * w for w in expected.values()])
    assert NOT_FLUKES[0] < p < NOT_FLUKES[1]


def test_an_ideal_noisy_device_is_the_ideal_device() -> None:
    ideal = shot(LARGE, LocalModel(noise=Noise(transmittance=np.ones(5)), detector="pnr"))
    [counts] = LocalDevice(seed=5).submit([LARGE], shots=20_000).result()
    found = table(counts)
    p = chi_square_p([found.get(s, 0) for s in ideal], [20_000 * w for w in ideal.values()])
    assert NOT_FLUKES[0] < p < NOT_FLUKES[1]


def test_rare_patterns_are_others_and_full_ones_are_kept() -> None:
    """Windows with too many counts are left to ``other``; N clicks are kept apart however rare they are."""
    p = program(RectangularMesh(12), 3, seed=6)
    found = shot(p, LocalModel(noise=Noise(transmittance=1e-4, g2=0.2)))
    assert {sum(s) for s in found} == {1, 2, 3}
    assert 1.0 - 1e-9 < sum(found.values()) <= 1.0 + 1e-12


def test_collision_free_patterns_of_n_clicks_only() -> None:
    every = shot(LARGE, LocalModel(noise=BRIGHT))
    for detector in ("threshold", "pnr"):
        some = shot(LARGE, LocalModel(noise=BRIGHT, detector=detector, outcomes="collision_free"))  # type: ignore[arg-type]
        assert len(some) == math.comb(5, 3)
        assert {sum(s) for s in some} == {3}
        if detector == "threshold":
            assert worst(some, {s: every[s] for s in some}) < 1e-12
        else:  # bunched photons are not taken for single ones
            assert all(some[s] < every[s] for s in some)
    counts = draw("local:slos?noise=transmittance=0.5,g2=0.1&outcomes=collision_free", LARGE)
    assert counts.shots == 20_000
    assert counts.events == 20_000 - counts.other


def test_24_modes_and_4_photons_are_drawn() -> None:
    given = program(IsometryMesh(24, 4), 4, seed=7)
    counts = draw("local:slos?noise=ascella-published", given, shots=10**6)
    assert counts.shots == 10**6
    assert counts.modes == 24
    assert len(counts.numbers) < 20_000


# -- phases --------------------------------------------------------------------------------------------------


def chip(seed: int = 1, **noise: Any) -> NoisyChip:
    found = LocalModel(noise=Noise(**noise)).chip(seed=seed)
    assert found is not None
    return found


def test_errors_of_phases_follow_from_seed_and_program() -> None:
    again = Program(SMALL.mesh, SMALL.phases, SMALL.input_modes)
    errors = chip(phase_error=0.1).phases(SMALL) - SMALL.phases
    np.testing.assert_array_equal(chip(phase_error=0.1).phases(again) - SMALL.phases, errors)
    for other in (
        chip(seed=2, phase_error=0.1).phases(SMALL) - SMALL.phases,
        chip(phase_error=0.1).phases(Program(SMALL.mesh, SMALL.phases, (0, 2))) - SMALL.phases,
    ):
        assert not np.allclose(other, errors)


def test_errors_of_phases_are_uniform() -> None:
    given = program(BrickwallMesh(20), 2, seed=8)
    errors = chip(phase_error=0.1).phases(given) - given.phases
    assert np.abs(errors).max() <= 0.1
    # Uniform on +-a: mean 0, mean square a^2 / 3 with standard deviation a^2 sqrt(4 / 45) / sqrt(number).
    assert abs(errors.mean()) < 5.0 * 0.1 / math.sqrt(3.0 * len(errors))
    assert abs((errors**2).mean() - 0.01 / 3.0) < 5.0 * 0.01 * math.sqrt(4.0 / 45.0 / len(errors))


def test_phases_are_rounded_after_the_error() -> None:
    set_to = chip(phase_imprecision=0.25, phase_error=0.1).phases(SMALL)
    np.testing.assert_allclose(set_to / 0.25, np.round(set_to / 0.25), atol=1e-12)
    assert np.abs(set_to - SMALL.phases).max() <= 0.1 + 0.125
    np.testing.assert_array_equal(chip(g2=0.1).phases(SMALL), SMALL.phases)


@pytest.mark.parametrize("engine", ["auto", "perceval"])
def test_distributions_are_those_of_the_phases_that_are_set(engine: Any) -> None:
    noise = Noise(phase_error=0.3, transmittance=0.5)
    set_to = Program(LARGE.mesh, chip(phase_error=0.3).phases(LARGE), LARGE.input_modes)
    expected = expected_shot(set_to, noise.at(LARGE))
    assert worst(shot(LARGE, LocalModel(noise=noise, engine=engine)), expected) < 1e-9
    untouched = expected_shot(LARGE, noise.at(LARGE))
    assert worst(shot(LARGE, LocalModel(noise=noise)), untouched) > 1e-3


def test_counts_name_the_program_that_was_asked_for() -> None:
    assert draw("local:slos?noise=ascella,phase_error=0.1", SMALL).fingerprint == SMALL.fingerprint


def test_angle_errors_are_the_chips_own() -> None:
    """Only thetas move, by normal errors that follow from the chip and the place, whatever the program."""
    mesh = RectangularMesh(24)
    thetas = [gate.theta for gate in mesh.gates]
    one, two = (Program.random(mesh, (0, 1), seed=s) for s in (1, 2))
    off = chip(angle_error=0.1).phases(one) - one.phases
    np.testing.assert_allclose(chip(angle_error=0.1).phases(two) - two.phases, off, atol=1e-12)
    assert not np.delete(off, thetas).any()
    errors = off[thetas] / 0.1
    assert abs(errors.mean()) < 4.0 / math.sqrt(len(errors))
    assert abs(errors.std() - 1.0) < 4.0 / math.sqrt(2 * len(errors))
    assert np.abs(chip(seed=2, angle_error=0.1).phases(one) - one.phases - off).max() > 0.1
    # Where another mesh has a coupler in the same place, it is the same one.
    small = Program.random(RectangularMesh(5), (0, 1), seed=1)
    moved = chip(angle_error=0.1).phases(small) - small.phases
    places = dict(zip(mesh.places, off[thetas], strict=True))
    for gate, place in zip(small.mesh.gates, small.mesh.places, strict=True):
        assert moved[gate.theta] == pytest.approx(places[place])


def test_a_coupler_mixes_by_the_angle_that_is_set() -> None:
    mesh = BrickwallMesh(2)
    given = Program(mesh, np.array([1.0, 0.0, 0.0]), (0,))
    theta = chip(angle_error=0.2).phases(given)[0]
    assert theta != 1.0
    found = shot(given, LocalModel(noise=Noise(angle_error=0.2)))
    assert found[(1, 0)] == pytest.approx(math.cos(theta / 2) ** 2)


@pytest.mark.parametrize("detector", ["ppnr:2", "ppnr:5"])
@pytest.mark.parametrize(
    "noise", [BRIGHT, Noise(transmittance=0.5), Noise(), twin(5)], ids=["bright", "loss", "no", "twin"]
)
def test_detectors_of_several_wires_are_those_of_perceval(noise: Noise, detector: str) -> None:
    ours = shot(LARGE, LocalModel(noise=noise, detector=detector, engine="auto"))
    assert max(max(state) for state in ours) <= int(detector[-1])
    assert worst(ours, shot(LARGE, LocalModel(noise=noise, detector=detector, engine="perceval"))) < 1e-9


# -- memory --------------------------------------------------------------------------------------------------


def test_a_repeated_program_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = detection.accurate_click_distribution

    def counted(columns: Any, noise: ProgramNoise, *, most_clicks: int | None = None) -> Any:
        calls.append(columns.shape)
        return real(columns, noise, most_clicks=most_clicks)

    monkeypatch.setattr(detection, "accurate_click_distribution", counted)
    device = open_device("local:slos?noise=ascella", seed=1)
    first, second = device.submit([SMALL, LARGE, SMALL], shots=1000).result()[::2]
    device.submit([Program(SMALL.mesh, SMALL.phases, SMALL.input_modes)], shots=1000, tag="later").result()
    assert calls == [(4, 2), (5, 3)]
    assert table(first) != table(second)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noisy_chip, "MAX_REMEMBERED", 2000)
    found = chip(transmittance=0.5, g2=0.1)
    for seed in range(20):
        found.shot(program(IsometryMesh(5, 2), 2, seed=seed))
    held: list[tuple[OutcomeArray, FloatArray]] = list(found._memory.values())
    assert 1 <= len(held) < 20
    assert sum(s.nbytes + p.nbytes for s, p in held) <= 2000


# -- options -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "local:slos?noise=belenos,g2=0.1",
        "local:slos?noise=belenos,g2:0.1",
        "local:slos?noise=belenos%2Cg2%3D0.1",
        "local:slos?noise=belenos,%20g2%3A0.1&detector=threshold",
    ],
)
def test_every_way_to_write_noise(text: str) -> None:
    device = open_device(text, seed=1)
    assert isinstance(device, LocalDevice)
    belenos = NOISE_PRESETS["belenos"]
    assert (device.model.noise.g2, device.model.noise.transmittance) == (0.1, belenos.transmittance)
    asked = "threshold" if "detector" in text else "ppnr:6"
    assert (device.spec.detector, device.spec.max_modes) == (asked, 24)
    again = open_device(str(DeviceAddress.parse(text)), seed=1)
    assert isinstance(again, LocalDevice)
    assert again.model.noise == device.model.noise


def test_detectors_default_to_what_the_noise_has() -> None:
    assert LocalModel().detects == "pnr"
    assert LocalModel(noise=BRIGHT).detects == "threshold"
    assert LocalModel(noise=BRIGHT, detector="pnr").detects == "pnr"
    assert LocalModel(noise=Noise(transmittance=0.5)).detects == "threshold"
    assert LocalModel(noise=Noise(g2_distinguishable=False)).detects == "pnr"
    assert LocalDevice(seed=1, model=LocalModel(noise=twin(4))).spec.max_modes == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("noise=saturn", "noise preset 'saturn' is unknown"),
        ("noise=belenos,g2", "key=value is expected"),
        ("noise=ascella,transmittance:0.4&transmittance=0.5", "names transmittance, which is given already"),
        ("noise=ascella&engine=slos", "engine is 'slos', which has no noise but loss"),
        ("noise=transmittance=0", "transmittance is 0.0; no photon arrives"),
        ("noise=efficiency=0", "efficiency is 0.0; no photon arrives"),
        ("brightness=0", "brightness is 0.0; no photon arrives"),
        ("g2=many", "g2 is 'many', not a number"),
        ("transmittance=0.5,g2=0.1", "transmittance is '0.5,g2=0.1', not a number"),
        ("noise=ascella&detector=eye", "detector is 'eye'"),
        ("noise=ascella&detector=ppnr:1", "detector is 'ppnr:1'; it must be threshold, pnr, or ppnr:W"),
        ("noise=altair-1", "noise preset 'altair-1' is unknown"),
        ("noise=belenos-x", "noise preset 'belenos-x' is unknown"),
        ("angle_error=4", "angle_error is 4.0; it must be 0 <= angle_error <= 3.14159"),
        ("noise=ascella,g2_distinguishable=false", "g2_distinguishable=true"),
    ],
)
def test_bad_options_are_refused_in_one_line(options: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        open_device(f"local:slos?{options}", seed=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"indistinguishability": np.eye(4), "detector": "pnr"}, "only threshold detectors have overlaps"),
        ({"indistinguishability": np.eye(4), "engine": "perceval"}, "perceval has neither dark counts"),
        ({"dark_counts": np.full(4, 0.1), "engine": "perceval"}, "perceval has neither dark counts"),
    ],
)
def test_twins_that_an_engine_does_not_have_are_refused(model: dict[str, Any], message: str) -> None:
    options = {name: model.pop(name) for name in ("detector", "engine") if name in model}
    with pytest.raises(ConfigError, match=message):
        LocalModel(noise=twin(4, **model), **options)


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        ("local:slos?noise=belenos-published", program(IsometryMesh(24, 12), 12, 1), "too many for the click model"),
        ("local:slos?noise=belenos&detector=pnr", program(IsometryMesh(24, 8), 8, 1), "Use detector=threshold"),
        ("local:slos?noise=belenos&engine=perceval", program(IsometryMesh(14, 5), 5, 1), "Use engine=auto"),
    ],
)
def test_programs_that_take_too_much_are_refused_in_one_line(text: str, given: Program, message: str) -> None:
    with pytest.raises(ProgramError, match=message) as caught:
        open_device(text, seed=1).submit([given], shots=10)
    assert "\n" not in str(caught.value)


def test_a_program_larger_than_the_twin_is_refused() -> None:
    with pytest.raises(ProgramError, match="5 modes"):
        LocalDevice(seed=1, model=LocalModel(noise=twin(4))).submit([LARGE], shots=10)


# -- the contract of every device ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        "noise=ascella",
        "noise=belenos,phase_error:0.05&detector=pnr",
        "noise=belenos-2",
        "noise=belenos&outcomes=collision_free",
        "noise=transmittance=0.3,indistinguishability=0.9&engine=perceval",
    ],
)
def test_conformance(options: str) -> None:
    assert run_all(lambda seed: open_device(f"local:slos?{options}", seed=seed))


def test_conformance_of_a_twin() -> None:
    model = LocalModel(noise=twin(9, dark_counts=np.full(9, 1e-4)))
    assert run_all(lambda seed: LocalDevice(seed=seed, model=model))
