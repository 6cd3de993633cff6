"""Published machines: size, noise, price, time a setting, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import final

from ..errors import ConfigError
from ..photonics.noise import NOISE_NUMBERS, Noise
from .base import DeviceSpec
from .budget import Rates

#: Quandela's QPUs. The vendor publishes neither figure: 1e-6 credits a shot is what users read from their accounts
#: (GitHub joygoLive/uqi, checked 2026-04-27), 13-18 s a setting what one measured on Belenos (GitHub HUmutI/HPT-QRC).
#: Both are third-party and unverified; ``[budget] credits_per_shot`` and ``seconds_per_setting`` replace them.
QPU_RATES = Rates(credits_per_shot=1e-6, seconds_per_setting=15.0)
FREE = Rates()


def rates_of(spec: DeviceSpec, *, credits_per_shot: float | None, seconds_per_setting: float | None) -> Rates:
    """Default rates of a device with the user's own instead, where given; simulators cost nothing by default."""
    default = FREE if spec.simulated else QPU_RATES
    return Rates(
        default.credits_per_shot if credits_per_shot is None else credits_per_shot,
        default.seconds_per_setting if seconds_per_setting is None else seconds_per_setting,
    )


@final
@dataclass(frozen=True)
class NoisePreset:
    """Noise of a named device.

    :param noise: the figures.
    :param sources: where every figure that is not a default comes from, by parameter name.
    """

    noise: Noise
    sources: dict[str, str]


_READING = "GitHub HUmutI/HPT-QRC, unverified: a third party's reading of the vendor's live figures in mid-2026"

#: Presets by name. A published HOM figure is used as indistinguishability without correction for g2, as Perceval
#: does; for Belenos the correction would give more than 1, so measure a device before you rely on these.
NOISE_PRESETS: dict[str, NoisePreset] = {
    "ideal": NoisePreset(Noise(), {}),
    "ascella": NoisePreset(
        Noise(indistinguishability=0.8636, g2=0.0195, transmittance=0.0244),
        {
            "indistinguishability": f"HOM 86.36 % ({_READING})",
            "g2": f"1.95 % ({_READING})",
            "transmittance": f"2.44 % ({_READING})",
        },
    ),
    "belenos": NoisePreset(
        Noise(indistinguishability=0.827, g2=0.182, transmittance=0.0484),
        {
            "indistinguishability": f"HOM 82.7 % ({_READING})",
            "g2": f"18.2 % ({_READING})",
            "transmittance": f"4.84 %, worked out from pair rates; the platform's own aggregate reads 0 ({_READING})",
        },
    ),
}


def parse_noise(text: str, more: Mapping[str, str] = MappingProxyType({})) -> Noise:
    """Noise from a preset name, from ``key=value,key=value``, or from a preset with changes.

    :param more: further keys with their values.

    :raises ConfigError: when a preset or key is unknown, named twice, or a value is out of range.

    >>> parse_noise("belenos,g2=0.1").g2
    0.1
    >>> parse_noise("transmittance=0.5").transmittance
    0.5
    """
    first, *rest = [part.strip() for part in text.split(",")]
    if "=" in first:
        return _changed(Noise(), [first, *rest], text, more)
    if first not in NOISE_PRESETS:
        known = ", ".join(NOISE_PRESETS)
        raise ConfigError(f"noise preset {first!r} is unknown. Use one of {known}, or for example transmittance=0.5.")
    return _changed(NOISE_PRESETS[first].noise, rest, text, more)


def _changed(noise: Noise, parts: list[str], text: str, more: Mapping[str, str]) -> Noise:
    values: dict[str, float | bool] = {key: _value(key, value) for key, value in more.items()}
    for part in parts:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ConfigError(f"noise {text!r} has {part!r} where key=value is expected. Write for example g2=0.1.")
        if key in values:
            raise ConfigError(f"noise {text!r} names {key}, which is given already. Name each once.")
        values[key] = _value(key, value)
    return replace(noise, **values)  # type: ignore[arg-type]


def _value(key: str, value: str) -> float | bool:
    if key == "g2_distinguishable":
        if value.lower() not in ("true", "false"):
            raise ConfigError(f"noise g2_distinguishable is {value!r}. Use true or false.")
        return value.lower() == "true"
    if key not in NOISE_NUMBERS:
        known = ", ".join(f.name for f in fields(Noise))
        raise ConfigError(f"noise key {key!r} is unknown. Known keys: {known}.")
    try:
        return float(value)
    except ValueError:
        raise ConfigError(f"noise {key} is {value!r}, not a number. Write for example {key}=0.5.") from None


#: Modes and photons of Quandela's QPUs: Perceval's docs (Belenos), Scaleway's docs-content at 2302dd0a (the others).
PUBLISHED = {"belenos": (24, 12), "ascella": (12, 6), "altair": (20, 10)}
#: What Perceval assumes of a platform that publishes no transmittance (perceval 1.3.1, remote_processor.py).
DEFAULT_TRANSMITTANCE = 0.06


def known_transmittance(name: str) -> tuple[float, str]:
    """Transmittance of the machine that a platform is named after, and where the figure comes from."""
    for machine, preset in NOISE_PRESETS.items():
        if machine in name.lower() and machine != "ideal":
            return preset.noise.click_probability, preset.sources["transmittance"]
    return DEFAULT_TRANSMITTANCE, "Perceval's default for a platform that publishes none"
