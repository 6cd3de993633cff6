from __future__ import annotations

import pytest

from qpu_sdk.errors import ConfigError
from qpu_sdk.photonics.noise import NOISE_PRESETS, NoiseParameters, parse_noise


def test_defaults_are_no_noise() -> None:
    assert parse_noise("ideal") == NoiseParameters() == NOISE_PRESETS["ideal"].noise
    assert not NoiseParameters().phases_move
    assert NoiseParameters(phase_error=0.1).phases_move


def test_every_figure_of_a_preset_has_a_source() -> None:
    for preset in NOISE_PRESETS.values():
        defaults = NoiseParameters()
        changed = {k for k, v in vars(preset.noise).items() if v != getattr(defaults, k)}
        assert changed == set(preset.sources)
        assert all("unverified" in source for source in preset.sources.values())


def test_values_and_presets_with_changes() -> None:
    assert parse_noise("g2=0.1, transmittance=0.5") == NoiseParameters(g2=0.1, transmittance=0.5)
    belenos = NOISE_PRESETS["belenos"].noise
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
    pcvl = pytest.importorskip("perceval")
    distribution = pcvl.Source.from_noise_model(pcvl.NoiseModel(g2=0.5)).generate_distribution(pcvl.FockState([1]))
    assert sum(distribution.values()) == pytest.approx(1.0)
