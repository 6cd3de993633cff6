"""Noise of a photonic device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray
from ..errors import ConfigError, ProgramError
from .counts import Detector

if TYPE_CHECKING:
    import perceval


@final
@dataclass(frozen=True, eq=False)
class ClickNoise:
    """Everything between a program and its clicks, for N inputs and M modes.

    :param brightness: B, probability that a source emits.
    :param overlap: I of every pair of photons: one number, or ``(N, N)`` inner products of their states, S_jk =
        sqrt(I_jk), with ones on the diagonal, in which case every photon is in the common state.
    :param g2: second-order autocorrelation of each source.
    :param input_transmissions: t_j, ``(N,)``.
    :param output_efficiencies: eta_i, ``(M,)``.
    :param dark_counts: d_i, probability that a detector fires by itself in one window, ``(M,)``.
    :raises ConfigError: when a value is out of range.
    """

    brightness: float
    overlap: float | FloatArray
    g2: float
    input_transmissions: FloatArray = field(repr=False)
    output_efficiencies: FloatArray = field(repr=False)
    dark_counts: FloatArray = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("brightness", "overlap", "g2", "input_transmissions", "output_efficiencies", "dark_counts"):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if not np.isfinite(value).all() or value.min(initial=0.0) < 0.0 or value.max(initial=0.0) > 1.0:
                raise ConfigError(f"{name} is {value.tolist()}; it must be within 0..1. Choose such values.")
        if 2.0 * self.brightness * self.g2 > 1.0:
            raise ConfigError(
                f"g2 is {self.g2} with brightness {self.brightness}; a source has g2 * brightness <= 0.5. Lower one."
            )

    @classmethod
    def of(cls, noise: NoiseParameters, *, inputs: int, modes: int) -> ClickNoise:
        """The same for every input and mode, from Perceval's parameters."""
        return DeviceNoise.of(noise, modes=max(inputs, modes)).at(tuple(range(inputs)), modes=modes)


@final
@dataclass(frozen=True, eq=False)
class DeviceNoise:
    """The noise of a whole device of M modes: what a calibration record says, and what a noisy twin runs with.

    :param indistinguishability: I of every pair of inputs, or ``(M, M)`` inner products S_jk = sqrt(I_jk) of the states
        of their photons.
    :param input_transmissions: ``(M,)``; 0 where no source is connected.
    :param phase_error: largest error of a phase, radians; uniform, drawn once a program.
    :param detector: what the detectors resolve.
    :param phase_imprecision: step to which phases are rounded, radians, 0 for none.
    """

    brightness: float
    indistinguishability: float | FloatArray
    g2: float
    input_transmissions: FloatArray = field(repr=False)
    output_efficiencies: FloatArray = field(repr=False)
    dark_counts: FloatArray = field(repr=False)
    phase_error: float = 0.0
    detector: Detector = "threshold"
    phase_imprecision: float = 0.0

    @classmethod
    def of(cls, noise: NoiseParameters, *, modes: int, detector: Detector = "threshold") -> DeviceNoise:
        """The same for every input and mode.

        :raises ConfigError: for second photons that equal the first, which the click model does not have.
        """
        if noise.g2 > 0.0 and not noise.g2_distinguishable:
            raise ConfigError(
                "the click model has no second photon that equals the first. Use g2_distinguishable=true, or "
                "engine=perceval."
            )
        return cls(
            brightness=noise.brightness,
            indistinguishability=noise.indistinguishability,
            g2=noise.g2,
            input_transmissions=np.full(modes, noise.transmittance),
            output_efficiencies=np.ones(modes),
            dark_counts=np.zeros(modes),
            phase_error=noise.phase_error,
            detector=detector,
            phase_imprecision=noise.phase_imprecision,
        )

    @property
    def modes(self) -> int:
        """Number of modes M."""
        return len(self.output_efficiencies)

    def at(self, input_modes: tuple[int, ...], *, modes: int) -> ClickNoise:
        """What a program on the first ``modes`` modes sees that sends photons into ``input_modes``.

        :raises ProgramError: when the program has more modes than the device.
        """
        if modes > self.modes:
            raise ProgramError(f"program uses {modes} modes; the noise is known of {self.modes}. Use {self.modes}.")
        inputs = list(input_modes)
        overlap = self.indistinguishability
        return ClickNoise(
            brightness=self.brightness,
            overlap=overlap if np.ndim(overlap) == 0 else np.asarray(overlap)[np.ix_(inputs, inputs)],
            g2=self.g2,
            input_transmissions=np.asarray(self.input_transmissions)[inputs],
            output_efficiencies=np.asarray(self.output_efficiencies)[:modes],
            dark_counts=np.asarray(self.dark_counts)[:modes],
        )


def emission(brightness: FloatArray | float, g2: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """p1 and p2, the probabilities of one photon and of two.

    p2 is the root of ``g2 = 2 p2 / (p1 + 2 p2)^2`` with ``p1 + p2 = B``, written without cancellation for small g2.

    >>> [float(p.round(4)) for p in emission(1.0, 0.18)]
    [0.8889, 0.1111]
    """
    b, g = np.asarray(brightness, dtype=np.float64), np.asarray(g2, dtype=np.float64)
    two = b**2 * g / (1.0 - b * g + np.sqrt(np.maximum(0.0, 1.0 - 2.0 * b * g)))
    return b - two, two


def enough_counts(noise: ClickNoise, *, neglected: float = 1e-9, at_least: int = 1) -> int:
    """Smallest k such that windows with more than k counts are rare among those with ``at_least`` counts or more.

    Counts are photons at detectors as good as the best one, and dark counts; threshold detectors show fewer.

    :param neglected: largest share of the windows with more than k counts.
    :raises ProgramError: when no window has so many counts.

    >>> enough_counts(ClickNoise.of(NoiseParameters(transmittance=0.01), inputs=4, modes=9))
    4
    >>> enough_counts(ClickNoise.of(NoiseParameters(transmittance=0.01, g2=0.02), inputs=4, modes=9), neglected=1e-6)
    3
    """
    one, two = (float(p) for p in emission(noise.brightness, noise.g2))
    numbers = np.ones(1)
    for t in np.asarray(noise.input_transmissions) * noise.output_efficiencies.max():
        both, lost = two * t**2, 1.0 - one - two + one * (1.0 - t) + two * (1.0 - t) ** 2
        numbers = np.convolve(numbers, [lost, one * t + 2.0 * two * t * (1.0 - t), both])
    for dark in noise.dark_counts[np.flatnonzero(noise.dark_counts)]:
        numbers = np.convolve(numbers, [1.0 - dark, dark])
    above = np.append(np.cumsum(numbers[::-1])[::-1], 0.0)  # probability of k or more
    wanted = above[min(at_least, len(above) - 1)]
    if wanted <= 0.0:
        raise ProgramError(f"no window of this program has {at_least} counts or more. Check losses and input modes.")
    return int(np.flatnonzero(above[1:] <= neglected * wanted)[0])


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
        for name in NOISE_NUMBERS:
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


NOISE_NUMBERS = tuple(f.name for f in fields(NoiseParameters) if f.name != "g2_distinguishable")


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
