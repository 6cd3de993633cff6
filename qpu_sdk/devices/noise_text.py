"""Noise as people write it: a machine's name, key=value, or a machine's with changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType

from ..errors import ConfigError
from ..photonics.counts import Detector
from ..photonics.noise import NOISE_NUMBERS, Noise
from ..words import did_you_mean
from .machines import named_noise


def parse_noise(text: str, more: Mapping[str, str] = MappingProxyType({})) -> Noise:
    """Noise as people write it, whatever detectors go with it; see :func:`parse_device`."""
    return parse_device(text, more)[0]


def parse_device(text: str, more: Mapping[str, str] = MappingProxyType({})) -> tuple[Noise, Detector | None]:
    """Noise from a preset name, from ``key=value,key=value``, or from a preset with changes; and its detectors.

    :param more: further keys with their values.
    :returns: noise, and what the detectors of the preset's machine resolve, None where no machine decides it.
    :raises ConfigError: when a preset or key is unknown, named twice, or a value is out of range.

    >>> parse_device("belenos,g2=0.05")[0].g2
    0.05
    >>> parse_device("transmittance=0.5")
    (Noise(transmittance=0.5), None)
    """
    first, *rest = [part.strip() for part in text.split(",")]
    if "=" in first:
        return _changed(Noise(), [first, *rest], text, more), None
    noise, detector = named_noise(first)
    return _changed(noise, rest, text, more), detector


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
        known = [f.name for f in fields(Noise)]
        raise ConfigError(f"noise key {key!r} is unknown.{did_you_mean(key, known)} Known keys: {', '.join(known)}.")
    try:
        return float(value)
    except ValueError:
        raise ConfigError(f"noise {key} is {value!r}, not a number. Write for example {key}=0.5.") from None
