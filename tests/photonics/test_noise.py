from __future__ import annotations

import perceval as pcvl
import pytest

from qpu_sdk.devices.machines import NOISE_PRESETS, parse_noise
from qpu_sdk.errors import ConfigError
from qpu_sdk.photonics.counts import Detector
from qpu_sdk.photonics.noise import NoiseParameters, detectors_to_perceval, efficiencies_from_perceval


def test_defaults_are_no_noise() -> None:
    assert parse_noise("ideal") == NoiseParameters() == NOISE_PRESETS["ideal"]


def test_values_and_presets_with_changes() -> None:
    assert parse_noise("g2=0.1, transmittance=0.5") == NoiseParameters(g2=0.1, transmittance=0.5)
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
        ("g2=0.1,g2=0.2", "names g2 twice"),
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


# -- Perceval's objects --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "noise",
    [
        NoiseParameters(),
        NOISE_PRESETS["belenos"],
        NoiseParameters(0.9, 0.8, 0.3, False, 0.7, 0.01, 0.2),
        NoiseParameters(brightness=0.0, transmittance=0.0, indistinguishability=0.0, phase_error=3.0),
    ],
)
def test_noise_survives_perceval(noise: NoiseParameters) -> None:
    model = noise.to_perceval()
    assert NoiseParameters.from_perceval(model) == noise
    assert {f: getattr(model, f) for f in vars(noise)} == vars(noise)


def test_noise_that_no_source_has_is_refused_from_perceval() -> None:
    with pytest.raises(ConfigError, match="g2 \\* brightness"):
        NoiseParameters.from_perceval(pcvl.NoiseModel(g2=0.9))


@pytest.mark.parametrize("kind", ["threshold", "pnr"])
def test_detectors_survive_perceval(kind: Detector) -> None:
    given = [1.0, 0.25, 0.9]
    detectors = detectors_to_perceval(given, kind)
    assert [d.detect(2)[pcvl.FockState([0])] for d in detectors[1:]] == pytest.approx([0.75**2, 0.1**2])
    assert [d.max_detections for d in detectors] == [1 if kind == "threshold" else None] * 3
    efficiencies, found = efficiencies_from_perceval(detectors)
    assert (efficiencies.tolist(), found) == (given, kind)


def test_detectors_of_an_experiment() -> None:
    experiment = pcvl.Experiment(3)
    efficiencies, kind = efficiencies_from_perceval(experiment.detectors)
    assert (efficiencies.tolist(), kind) == ([1.0, 1.0, 1.0], "pnr")


@pytest.mark.parametrize(
    ("detectors", "message"),
    [
        ([pcvl.Detector.ppnr(4)], "detector of mode 0 is PPNR"),
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
