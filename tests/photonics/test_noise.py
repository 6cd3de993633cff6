from __future__ import annotations

import copy
from dataclasses import fields, replace
from typing import Any

import numpy as np
import perceval as pcvl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_sdk.devices.machines import NOISE_PRESETS
from qpu_sdk.devices.noise_text import parse_noise
from qpu_sdk.errors import ConfigError, ProgramError
from qpu_sdk.photonics.counts import Detector, wires
from qpu_sdk.photonics.detectors import detectors_to_perceval, efficiencies_from_perceval
from qpu_sdk.photonics.meshes import RectangularMesh
from qpu_sdk.photonics.noise import Noise, by_mode
from qpu_sdk.photonics.program import Program

PERCEVALS = (
    "brightness",
    "indistinguishability",
    "g2",
    "g2_distinguishable",
    "transmittance",
    "phase_imprecision",
    "phase_error",
)


def test_defaults_are_no_noise() -> None:
    assert parse_noise("ideal") == Noise() == NOISE_PRESETS["ideal"]


def test_values_and_presets_with_changes() -> None:
    assert parse_noise("g2=0.1, transmittance=0.5") == Noise(g2=0.1, transmittance=0.5)
    belenos = NOISE_PRESETS["belenos"]
    changed = parse_noise("belenos,g2=0.1,g2_distinguishable=false")
    assert (changed.g2, changed.g2_distinguishable, changed.transmittance) == (0.1, False, belenos.transmittance)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("belenoss", "noise preset 'belenoss' is unknown"),
        ("g3=0.1", "noise key 'g3' is unknown"),
        ("g2=much", "noise g2 is 'much', not a number"),
        ("g2=nan", "noise g2 is nan; it must be 0 <= g2 <= 1"),
        ("transmittance=1.5", "noise transmittance is 1.5; it must be 0 <= transmittance <= 1"),
        ("phase_error=4", "noise phase_error is 4.0; it must be 0 <= phase_error <= 3.14159"),
        ("phase_imprecision=inf", "noise phase_imprecision is inf; it must be finite"),
        ("g2=0.6", "g2 \\* brightness <= 0.5"),
        ("belenos,ideal", "has 'ideal' where key=value is expected"),
        ("g2=0.1,g2=0.2", "names g2, which is given already"),
        ("g2_distinguishable=1", "g2_distinguishable is '1'. Use true or false"),
        ("", "noise preset '' is unknown"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_noise(text)
    assert "\n" not in str(caught.value)


def test_perceval_takes_the_same_source() -> None:
    """The limit on g2 * brightness is where Perceval's source stops too."""
    distribution = pcvl.Source.from_noise_model(pcvl.NoiseModel(g2=0.5)).generate_distribution(pcvl.FockState([1]))
    assert sum(distribution.values()) == pytest.approx(1.0)


# -- one value ------------------------------------------------------------------------------------------------

SHARES = st.floats(0.0, 1.0)
SETTINGS = settings(max_examples=50, deadline=None)


@st.composite
def noises(draw: st.DrawFn) -> dict[str, Any]:
    """What may be given to :class:`Noise`, numbers and values by mode mixed."""
    modes = draw(st.integers(1, 5))
    values: dict[str, Any] = {"brightness": draw(SHARES), "g2": draw(st.floats(0.0, 0.5))}
    for name in ("transmittance", "efficiency", "dark_counts"):
        values[name] = draw(st.one_of(SHARES, st.lists(SHARES, min_size=modes, max_size=modes)))
    pairs = np.array(draw(st.lists(SHARES, min_size=modes**2, max_size=modes**2))).reshape(modes, modes)
    pairs = np.triu(pairs, 1) + np.triu(pairs, 1).T + np.eye(modes)
    values["indistinguishability"] = draw(st.one_of(SHARES, st.just(pairs.tolist())))
    return values


@SETTINGS
@given(noises())
def test_noise_is_one_value_however_it_is_given(values: dict[str, Any]) -> None:
    noise, arrays = Noise(**values), Noise(**{name: np.asarray(value) for name, value in values.items()})
    assert noise == arrays
    assert hash(noise) == hash(arrays)
    assert copy.deepcopy(noise) == noise == replace(noise)
    assert eval(repr(noise)) == noise
    by_itself = [len(v) for v in values.values() if np.ndim(v)]
    assert noise.modes == (by_itself[0] if by_itself else None)
    assert 0.0 <= noise.click_probability <= 1.0


@SETTINGS
@given(noises(), st.data())
def test_a_number_is_that_number_for_every_mode(values: dict[str, Any], data: st.DataObject) -> None:
    noise = Noise(**values)
    modes = data.draw(st.integers(1, noise.modes or 5))
    inputs = data.draw(st.lists(st.integers(0, modes - 1), min_size=1, max_size=3, unique=True))
    every = noise.modes or 5
    written = {name: by_mode(getattr(noise, name), every) for name in ("transmittance", "efficiency", "dark_counts")}
    one, other = noise.at(inputs, modes=modes), replace(noise, **written).at(np.array(inputs), modes=np.int64(modes))
    for f in fields(one):
        np.testing.assert_array_equal(getattr(one, f.name), getattr(other, f.name))
    assert (len(one.transmittance), len(one.efficiency), len(one.dark_counts)) == (len(inputs), modes, modes)
    program = Program(RectangularMesh(4), np.zeros(16), (0, 2))
    if noise.modes is None or noise.modes >= 4:
        seen = noise.at(program)
        for f in fields(seen):
            np.testing.assert_array_equal(getattr(seen, f.name), getattr(noise.at((0, 2), modes=4), f.name))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"transmittance": [0.5, 1.2]}, "transmittance of mode 1 is 1.2; it must be 0 <= transmittance <= 1"),
        ({"efficiency": [0.5, float("nan")]}, "efficiency of mode 1 is nan"),
        ({"dark_counts": []}, "or one for every mode"),
        ({"dark_counts": [[0.1]]}, "or one for every mode"),
        ({"brightness": [0.5, 0.5]}, "brightness is .*; it must be a number, 0 <= brightness <= 1. Choose"),
        ({"g2": True}, "g2 is True; it must be a number"),
        ({"g2": "0.1"}, "g2 is '0.1'; it must be a number"),
        ({"g2": None}, "g2 is None; it must be a number"),
        ({"transmittance": [[0.5], [0.5, 0.5]]}, "transmittance is .*; it must be a number"),
        ({"g2_distinguishable": 1}, "g2_distinguishable is 1. Use true or false"),
        ({"transmittance": [0.5] * 3, "efficiency": [0.5] * 2}, "transmittance of 3, efficiency of 2"),
        ({"indistinguishability": [[1.0, 0.5], [0.4, 1.0]]}, "square and symmetric with ones"),
        ({"indistinguishability": [[1.0, 0.5]]}, "square and symmetric with ones"),
        ({"indistinguishability": [[0.9]]}, "square and symmetric with ones"),
        ({"indistinguishability": [[1.0, 2.0], [2.0, 1.0]]}, "indistinguishability of modes 0 and 1 is 2.0"),
        ({"phase_error": -1.0}, "phase_error is -1.0; it must be 0 <= phase_error <= 3.14159"),
    ],
)
def test_values_that_no_device_has_are_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Noise(**values)
    assert "\n" not in str(caught.value)


def test_programs_that_the_noise_does_not_know_are_refused() -> None:
    noise = Noise(transmittance=[0.5] * 3)
    with pytest.raises(ProgramError, match=r"program uses 4 modes; the noise is known of 3\. Use 3"):
        noise.at((0,), modes=4)
    for inputs in ((3,), (-1,)):
        with pytest.raises(ProgramError, match=r"Use modes 0\.\.2"):
            noise.at(inputs, modes=3)
    with pytest.raises(ConfigError, match="g2_distinguishable=true"):
        Noise(g2=0.1, g2_distinguishable=False).at((0,), modes=3)


# -- Perceval's objects --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "noise",
    [
        Noise(),
        NOISE_PRESETS["belenos-published"],
        Noise(
            brightness=0.9,
            indistinguishability=0.8,
            g2=0.3,
            g2_distinguishable=False,
            transmittance=0.7,
            phase_imprecision=0.01,
            phase_error=0.2,
        ),
        Noise(brightness=0.0, transmittance=0.0, indistinguishability=0.0, phase_error=3.0),
    ],
)
def test_noise_survives_perceval(noise: Noise) -> None:
    model = noise.to_perceval()
    assert Noise.from_perceval(model) == noise
    assert {f: getattr(noise, f) for f in vars(noise) if hasattr(model, f)} == {f: getattr(model, f) for f in PERCEVALS}


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (Noise(transmittance=[0.3, 0.4]), "no transmittance that differs by mode. Give one number"),
        (Noise(indistinguishability=[[1.0, 0.4], [0.4, 1.0]]), "no indistinguishability that differs by mode"),
        (Noise(efficiency=0.9), "efficiency is 0.9; a perceval.NoiseModel has none"),
        (Noise(dark_counts=1e-5), "dark_counts is 1e-05; a perceval.NoiseModel has none"),
    ],
)
def test_what_a_noise_model_cannot_say_is_refused(noise: Noise, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        noise.to_perceval()
    assert "\n" not in str(caught.value)


def test_noise_that_no_source_has_is_refused_from_perceval() -> None:
    with pytest.raises(ConfigError, match="g2 \\* brightness"):
        Noise.from_perceval(pcvl.NoiseModel(g2=0.9))


@pytest.mark.parametrize("kind", ["threshold", "pnr", "ppnr:4"])
def test_detectors_survive_perceval(kind: Detector) -> None:
    given = [1.0, 0.25, 0.9]
    detectors = detectors_to_perceval(given, kind)
    assert [d.detect(2)[pcvl.FockState([0])] for d in detectors[1:]] == pytest.approx([0.75**2, 0.1**2])
    assert [d.max_detections for d in detectors] == [wires(kind)] * 3
    efficiencies, found = efficiencies_from_perceval(detectors)
    assert (efficiencies.tolist(), found) == (given, kind)


def test_detectors_of_an_experiment() -> None:
    experiment = pcvl.Experiment(3)
    efficiencies, kind = efficiencies_from_perceval(experiment.detectors)
    assert (efficiencies.tolist(), kind) == ([1.0, 1.0, 1.0], "pnr")


@pytest.mark.parametrize(
    ("detectors", "message"),
    [
        ([pcvl.Detector.ppnr(4, 2)], "detector of mode 0 shows at most 2 clicks of 4 wires. Leave max_detections out"),
        ([pcvl.Detector.ppnr(None, 3)], "at most 3 clicks of any number of wires"),
        ([pcvl.Detector.ppnr(20_000)], "20000 wires; 10000 are modelled"),
        ([pcvl.Detector.ppnr(4), pcvl.Detector.ppnr(3)], "some detectors are ppnr:4 and some not"),
        ([None, pcvl.BSLayeredPPNR(2)], "detector of mode 1 is BS-PPNR2"),
        ([pcvl.Detector.pnr(), pcvl.Detector.threshold()], "Use one kind"),
    ],
)
def test_other_detectors_are_refused(detectors: list[pcvl.Detector | None], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        efficiencies_from_perceval(detectors)


@pytest.mark.parametrize("efficiencies", [[0.0], [1.1], [float("nan")], [[1.0]]])
def test_efficiencies_that_perceval_does_not_have_are_refused(efficiencies: list[float]) -> None:
    with pytest.raises(ConfigError, match="0 < efficiency <= 1"):
        detectors_to_perceval(efficiencies, "threshold")


@pytest.mark.parametrize("model", [None, 0.5, "ascella", {}], ids=repr)
def test_what_is_no_noise_model_is_one_line(model: Any) -> None:
    with pytest.raises(ConfigError, match=r"is no perceval\.NoiseModel") as caught:
        Noise.from_perceval(model)
    assert "\n" not in str(caught.value)
