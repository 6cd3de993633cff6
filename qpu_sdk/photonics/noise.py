"""Noise of a photonic device in Perceval's words, and presets of published devices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError
from .counts import Detector
from .permanents import FloatArray

if TYPE_CHECKING:
    import perceval


@final
@dataclass(frozen=True)
class NoiseParameters:
    """The noise of one device; every default means "none of it".

    :param brightness: probability that the source emits when asked, 0..1.
    :param indistinguishability: mean wave-packet overlap of two photons, 0..1.
    :param g2: second-order autocorrelation at zero delay, 0..1: how often a second photon comes along.
    :param g2_distinguishable: True: the second photon interferes with nothing; False: it equals the first.
    :param transmittance: probability that an emitted photon is detected, 0..1; the same for every path.
    :param phase_imprecision: step to which phases are rounded, radians, 0 for none.
    :param phase_error: largest error of a phase, radians, 0..pi; uniform and fixed within one setting.
    :raises ConfigError: when a value is out of range.
    """

    brightness: float = 1.0
    indistinguishability: float = 1.0
    g2: float = 0.0
    g2_distinguishable: bool = True
    transmittance: float = 1.0
    phase_imprecision: float = 0.0
    phase_error: float = 0.0

    def __post_init__(self) -> None:
        largest = {"phase_imprecision": math.inf, "phase_error": math.pi}
        for name in _NUMBERS:
            value, limit = getattr(self, name), largest.get(name, 1.0)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= limit:
                limits = f"0 <= {name}" if math.isinf(limit) else f"0 <= {name} <= {limit:.6g}"
                raise ConfigError(f"noise {name} is {value!r}; it must be {limits}. Choose such a value.")
            if math.isinf(value):
                raise ConfigError(f"noise {name} is {value!r}; it must be finite. Use 0 for no rounding of phases.")
            object.__setattr__(self, name, float(value))
        if not isinstance(self.g2_distinguishable, bool):
            raise ConfigError(f"noise g2_distinguishable is {self.g2_distinguishable!r}. Use true or false.")
        # With p1 + p2 = brightness, g2 = 2 p2 / (p1 + 2 p2)^2 has no real solution above 1 / (2 brightness).
        if 2.0 * self.brightness * self.g2 > 1.0:
            raise ConfigError(
                f"noise g2 is {self.g2} with brightness {self.brightness}; a source has g2 * brightness <= 0.5. "
                "Lower one of them."
            )

    @property
    def phases_move(self) -> bool:
        """Whether the noise changes phases, so that the unitary is not the one asked for."""
        return self.phase_imprecision > 0.0 or self.phase_error > 0.0

    def to_perceval(self) -> perceval.NoiseModel:
        """The same as a ``perceval.NoiseModel``.

        >>> NoiseParameters(g2=0.1).to_perceval().g2
        0.1
        """
        import perceval as pcvl

        return pcvl.NoiseModel(**asdict(self))

    @classmethod
    def from_perceval(cls, model: perceval.NoiseModel) -> NoiseParameters:
        """The same from a ``perceval.NoiseModel``; lossless both ways.

        :raises ConfigError: when no source has such values.
        """
        return cls(**{f.name: getattr(model, f.name) for f in fields(cls)})


_NUMBERS = tuple(f.name for f in fields(NoiseParameters) if f.name != "g2_distinguishable")


@final
@dataclass(frozen=True)
class NoisePreset:
    """Noise of a named device.

    :param noise: the figures.
    :param sources: where every figure that is not a default comes from, by parameter name.
    """

    noise: NoiseParameters
    sources: dict[str, str]


_READING = "GitHub HUmutI/HPT-QRC, unverified: a third party's reading of the vendor's live figures in mid-2026"

#: Presets by name. A published HOM figure is used as indistinguishability without correction for g2, as Perceval
#: does; for Belenos the correction would give more than 1, so measure a device before you rely on these.
NOISE_PRESETS: dict[str, NoisePreset] = {
    "ideal": NoisePreset(NoiseParameters(), {}),
    "ascella": NoisePreset(
        NoiseParameters(indistinguishability=0.8636, g2=0.0195, transmittance=0.0244),
        {
            "indistinguishability": f"HOM 86.36 % ({_READING})",
            "g2": f"1.95 % ({_READING})",
            "transmittance": f"2.44 % ({_READING})",
        },
    ),
    "belenos": NoisePreset(
        NoiseParameters(indistinguishability=0.827, g2=0.182, transmittance=0.0484),
        {
            "indistinguishability": f"HOM 82.7 % ({_READING})",
            "g2": f"18.2 % ({_READING})",
            "transmittance": f"4.84 %, worked out from pair rates; the platform's own aggregate reads 0 ({_READING})",
        },
    ),
}


def parse_noise(text: str) -> NoiseParameters:
    """Noise from a preset name, from ``key=value,key=value``, or from a preset with changes.

    :raises ConfigError: when a preset or key is unknown, named twice, or a value is out of range.

    >>> parse_noise("belenos,g2=0.1").g2
    0.1
    >>> parse_noise("transmittance=0.5").transmittance
    0.5
    """
    first, *rest = [part.strip() for part in text.split(",")]
    if "=" in first:
        return _changed(NoiseParameters(), [first, *rest], text)
    if first not in NOISE_PRESETS:
        known = ", ".join(NOISE_PRESETS)
        raise ConfigError(f"noise preset {first!r} is unknown. Use one of {known}, or for example transmittance=0.5.")
    return _changed(NOISE_PRESETS[first].noise, rest, text)


def _changed(noise: NoiseParameters, parts: list[str], text: str) -> NoiseParameters:
    values: dict[str, float | bool] = {}
    for part in parts:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ConfigError(f"noise {text!r} has {part!r} where key=value is expected. Write for example g2=0.1.")
        if key in values:
            raise ConfigError(f"noise {text!r} names {key} twice. Name each once.")
        values[key] = _value(key, value)
    return replace(noise, **values)  # type: ignore[arg-type]


def _value(key: str, value: str) -> float | bool:
    if key == "g2_distinguishable":
        if value.lower() not in ("true", "false"):
            raise ConfigError(f"noise g2_distinguishable is {value!r}. Use true or false.")
        return value.lower() == "true"
    if key not in _NUMBERS:
        known = ", ".join(f.name for f in fields(NoiseParameters))
        raise ConfigError(f"noise key {key!r} is unknown. Known keys: {known}.")
    try:
        return float(value)
    except ValueError:
        raise ConfigError(f"noise {key} is {value!r}, not a number. Write for example {key}=0.5.") from None


def detectors_to_perceval(efficiencies: npt.ArrayLike, detector: Detector) -> list[perceval.Detector]:
    """One ``perceval.Detector`` a mode: threshold detectors have one wire, number-resolving ones any number.

    Perceval counts efficiency by wire; with one wire, or so many that no two photons meet, it is eta of the mode.

    :param efficiencies: eta_i, ``(M,)``, above 0: Perceval has no detector that sees nothing.
    :raises ConfigError: when an efficiency is not above 0 and at most 1.

    >>> [(d.max_detections, d.efficiency) for d in detectors_to_perceval([1.0, 0.9], "threshold")]
    [(1, 1.0), (1, 0.9)]
    """
    import perceval as pcvl

    values = np.asarray(efficiencies, dtype=np.float64)
    if values.ndim != 1 or not ((values > 0.0) & (values <= 1.0)).all():
        raise ConfigError(f"efficiencies are {values.tolist()}; Perceval takes 0 < efficiency <= 1, one a mode.")
    found = [pcvl.Detector.threshold() if detector == "threshold" else pcvl.Detector.pnr() for _ in values]
    for one, value in zip(found, values, strict=True):
        one.efficiency = float(value)
    return found


def efficiencies_from_perceval(detectors: Sequence[perceval.Detector | None]) -> tuple[FloatArray, Detector]:
    """Efficiencies ``(M,)`` and kind of a list such as ``experiment.detectors``; None is a perfect one that counts.

    :raises ConfigError: for other detectors than threshold and number-resolving, or both kinds at once.
    """
    import perceval as pcvl

    kinds: set[Detector] = set()
    for mode, found in enumerate(detectors):
        if found is not None and (not isinstance(found, pcvl.Detector) or found.max_detections not in (None, 1)):
            raise ConfigError(f"detector of mode {mode} is {found.name}. Use threshold or number-resolving detectors.")
        kinds.add("pnr" if found is None or found.max_detections is None else "threshold")
    if len(kinds) > 1:
        raise ConfigError("some detectors count photons and some do not. Use one kind.")
    values = np.array([1.0 if found is None else found.efficiency for found in detectors])
    return values, kinds.pop() if kinds else "pnr"
