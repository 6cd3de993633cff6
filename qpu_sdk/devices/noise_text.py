"""Noise as people write it: a machine's name, key=value, or a machine's with changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType

from ..errors import ConfigError
from ..photonics.noise import NOISE_NUMBERS, Noise
from .machines import NOISE_PRESETS


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
    return _changed(NOISE_PRESETS[first], rest, text, more)


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
