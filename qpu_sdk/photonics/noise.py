"""Noise of a photonic device, as one value: :class:`Noise`; what one program sees of it is a :class:`ProgramNoise`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, final, overload

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray, IntArray, real, reals, truth, whole, wholes
from ..errors import ConfigError, ProgramError
from ..words import short
from .interferometer import MOST_MODES
from .program_noise import ProgramNoise, check_source

if TYPE_CHECKING:
    import perceval

    from .program import Program


#: One number for all modes, or one for every mode, ``(M,)``.
ByMode = float | tuple[float, ...]
#: One number for all pairs of modes, or one for every pair, ``(M, M)``.
ByPair = float | tuple[tuple[float, ...], ...]
#: Axes of the values that may differ by mode; the others are numbers.
_AXES = {"indistinguishability": 2, "transmittance": 1, "efficiency": 1, "dark_counts": 1}
#: Largest values other than 1.
_LARGEST = {"phase_imprecision": math.inf, "phase_error": math.pi, "angle_error": math.pi}


@final
@dataclass(frozen=True, init=False, repr=False)
class Noise:
    """The noise of a device: every default means "none of it", and a number stands for every mode.

    Arrays are taken and kept as tuples of floats, so that values compare, hash and copy. Values by mode are of one M
    and say nothing of further modes; a program on fewer modes uses the first ones. So ``[0.3] * 5`` is known of five
    modes, and unequal to 0.3, which stands for every mode of any chip.

    :param brightness: B, probability that a source emits when asked, 0..1.
    :param indistinguishability: I, mean wave-packet overlap ``|<j|k>|^2`` of two photons, 0..1; or that of every pair
        of inputs, ``(M, M)``, symmetric, with ones on the diagonal.
    :param g2: second-order autocorrelation at zero delay, 0..1: how often a second photon comes along.
    :param g2_distinguishable: True: the second photon interferes with nothing; False: it equals the first.
    :param transmittance: t_j, probability that a photon of input j arrives, 0..1; 0 for a mode without source.
    :param efficiency: eta_i, probability that the detector of mode i sees a photon, 0..1.
    :param dark_counts: d_i, probability that the detector of mode i fires by itself in one window, 0..1.
    :param phase_imprecision: step to which phases are rounded, radians, 0 for none.
    :param phase_error: largest error of a phase, radians, 0..pi; uniform and fixed within one setting.
    :param angle_error: standard deviation of the error of a gate's mixing angle, radians, 0..pi: of theta in
        ``BS(theta)``, which mixes with ``cos(theta / 2)``, or of a Mach-Zehnder interferometer's internal phase, which
        does the same. Gaussian, and fixed for a chip: the same in every setting.
    :raises ConfigError: when a value is out of range, or values are of different numbers of modes.

    >>> noise = Noise(transmittance=np.array([0.3, 0.0, 0.2]), g2=0.01)
    >>> noise, noise.modes
    (Noise(g2=0.01, transmittance=(0.3, 0.0, 0.2)), 3)
    >>> noise == Noise(g2=0.01, transmittance=[0.3, 0.0, 0.2])
    True
    """

    brightness: float = 1.0
    indistinguishability: ByPair = 1.0
    g2: float = 0.0
    g2_distinguishable: bool = True
    transmittance: ByMode = 1.0
    efficiency: ByMode = 1.0
    dark_counts: ByMode = 0.0
    phase_imprecision: float = 0.0
    phase_error: float = 0.0
    angle_error: float = 0.0

    def __init__(
        self,
        *,
        brightness: float = 1.0,
        indistinguishability: npt.ArrayLike = 1.0,
        g2: float = 0.0,
        g2_distinguishable: bool = True,
        transmittance: npt.ArrayLike = 1.0,
        efficiency: npt.ArrayLike = 1.0,
        dark_counts: npt.ArrayLike = 0.0,
        phase_imprecision: float = 0.0,
        phase_error: float = 0.0,
        angle_error: float = 0.0,
    ) -> None:
        numbers = {
            "brightness": brightness,
            "indistinguishability": indistinguishability,
            "g2": g2,
            "transmittance": transmittance,
            "efficiency": efficiency,
            "dark_counts": dark_counts,
            "phase_imprecision": phase_imprecision,
            "phase_error": phase_error,
            "angle_error": angle_error,
        }
        for name, value in numbers.items():
            object.__setattr__(self, name, _checked(name, value))
        second = truth(g2_distinguishable, "noise g2_distinguishable", ConfigError)
        object.__setattr__(self, "g2_distinguishable", second)
        check_source(self.brightness, self.g2)
        modes = {name: len(getattr(self, name)) for name in _AXES if np.ndim(getattr(self, name))}
        if len(set(modes.values())) > 1:
            which = ", ".join(f"{name} of {size}" for name, size in modes.items())
            raise ConfigError(f"noise has values of different numbers of modes ({which}). Give one for every mode.")

    def __repr__(self) -> str:
        told = ((f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default)
        return f"Noise({', '.join(f'{name}={value!r}' for name, value in told)})"

    @property
    def modes(self) -> int | None:
        """Number of modes M that something is known of by mode; None when all modes are alike."""
        return next((len(getattr(self, name)) for name in _AXES if np.ndim(getattr(self, name))), None)

    @property
    def only_loss(self) -> bool:
        """Whether there is nothing but a loss that all modes share, if that: it acts as well on each photon by itself.

        >>> Noise(brightness=0.5, transmittance=0.3).only_loss, Noise(transmittance=[0.3, 0.2]).only_loss
        (True, False)
        """
        others = (self.g2, self.dark_counts, self.phase_imprecision, self.phase_error, self.angle_error)
        return self.modes is None and self.indistinguishability == 1.0 and not any(others)

    @property
    def click_probability(self) -> float:
        """B t eta, that a photon that was asked for is seen: the mean over the inputs with a source and all detectors.

        >>> Noise(brightness=0.5, transmittance=[0.2, 0.4, 0.0]).click_probability.__round__(12)
        0.15
        """
        t = np.atleast_1d(self.transmittance)
        lit = t[t > 0.0]
        return float(self.brightness * lit.mean() * np.mean(self.efficiency)) if len(lit) else 0.0

    @overload
    def at(self, program: Program, /) -> ProgramNoise: ...

    @overload
    def at(self, input_modes: Sequence[int] | IntArray, /, *, modes: int) -> ProgramNoise: ...

    def at(self, program: Program | Sequence[int] | IntArray, /, *, modes: int | None = None) -> ProgramNoise:
        """What a program on the first ``modes`` modes sees that sends photons into ``input_modes``.

        :raises ProgramError: when the program uses modes that nothing is known of.
        :raises ConfigError: for second photons that equal the first, which the click model does not have.

        >>> Noise(transmittance=[0.3, 0.0, 0.2]).at([0, 2], modes=3).transmittance.tolist()
        [0.3, 0.2]
        """
        if modes is None and not hasattr(program, "input_modes"):
            raise ProgramError(f"a {type(program).__name__} is no program. Say how many modes there are with modes=M.")
        given = program.input_modes if modes is None else program  # type: ignore[union-attr]
        size = whole(program.modes if modes is None else modes, "modes", least=1, most=MOST_MODES)  # type: ignore[union-attr]
        inputs = list(wholes(given, "an input mode"))  # type: ignore[arg-type]
        if self.modes is not None and size > self.modes:
            raise ProgramError(f"program uses {size} modes; the noise is known of {self.modes}. Use {self.modes}.")
        if not all(0 <= mode < size for mode in inputs):
            raise ProgramError(f"photons enter modes {short(inputs)} of {size}. Use modes 0..{size - 1}.")
        self.check_model()
        pairs = np.asarray(self.indistinguishability)
        return ProgramNoise(
            brightness=self.brightness,
            indistinguishability=float(pairs) if pairs.ndim == 0 else pairs[np.ix_(inputs, inputs)],
            g2=self.g2,
            transmittance=by_mode(self.transmittance, size)[inputs],
            efficiency=by_mode(self.efficiency, size),
            dark_counts=by_mode(self.dark_counts, size),
        )

    def check_model(self) -> None:
        """Raise :class:`ConfigError` for second photons that equal the first, which the click model does not have."""
        if self.g2 > 0.0 and not self.g2_distinguishable:
            raise ConfigError(
                "the click model has no second photon that equals the first. Use g2_distinguishable=true, or "
                "engine=perceval."
            )

    def to_perceval(self) -> perceval.NoiseModel:
        """The same as a ``perceval.NoiseModel``.

        :raises ConfigError: for what that cannot say: values by mode, efficiencies of detectors, dark counts, errors
            of mixing angles.

        >>> Noise(g2=0.1).to_perceval().g2
        0.1
        """
        import perceval as pcvl

        by_itself = next((name for name in _AXES if np.ndim(getattr(self, name))), None)
        if by_itself is not None:
            raise ConfigError(f"a perceval.NoiseModel has no {by_itself} that differs by mode. Give one number.")
        for name in _ONLY_OURS:
            if (value := getattr(self, name)) != getattr(Noise, name):
                raise ConfigError(
                    f"noise {name} is {value}; a perceval.NoiseModel has none. Leave it out, or write it as another."
                )
        return pcvl.NoiseModel(**{name: getattr(self, name) for name in _OF_PERCEVAL})

    @classmethod
    def from_perceval(cls, model: perceval.NoiseModel) -> Noise:
        """The same from a ``perceval.NoiseModel``; lossless both ways.

        :raises ConfigError: when no source has such values, and for what is no noise model.

        >>> import perceval
        >>> Noise.from_perceval(perceval.NoiseModel(transmittance=0.5))
        Noise(transmittance=0.5)
        """
        missing = [name for name in _OF_PERCEVAL if not hasattr(model, name)]
        if missing:
            raise ConfigError(f"a {type(model).__name__} is no perceval.NoiseModel: it has no {missing[0]}. Give one.")
        return cls(**{name: getattr(model, name) for name in _OF_PERCEVAL})


#: Names of the values of :class:`Noise` that are numbers.
NOISE_NUMBERS = tuple(f.name for f in fields(Noise) if f.name != "g2_distinguishable")
#: What a perceval.NoiseModel has too, under the same names.
_ONLY_OURS = ("efficiency", "dark_counts", "angle_error")
_OF_PERCEVAL = tuple(f.name for f in fields(Noise) if f.name not in _ONLY_OURS)


def by_mode(value: ByMode, modes: int) -> FloatArray:
    """The values of the first modes, ``(modes,)``, of one for every mode or of one for all.

    >>> by_mode(0.5, 2).tolist(), by_mode((0.1, 0.2, 0.3), 2).tolist()
    ([0.5, 0.5], [0.1, 0.2])
    """
    values = np.asarray(value, dtype=np.float64)
    return np.full(modes, values) if values.ndim == 0 else values[:modes]


def mean_pair(indistinguishability: ByPair | FloatArray) -> float:
    """I of two photons on average, over the pairs where they differ; 1 where there is no pair.

    >>> mean_pair(0.9), mean_pair(((1.0, 0.8), (0.8, 1.0)))
    (0.9, 0.8)
    """
    pairs = np.asarray(indistinguishability, dtype=np.float64)
    pairs = pairs[np.triu_indices(len(pairs), 1)] if pairs.ndim else pairs
    return float(pairs.mean()) if pairs.size else 1.0


def _checked(name: str, value: npt.ArrayLike) -> ByMode | ByPair:
    """One value of a noise as floats and tuples of them; raises :class:`ConfigError` when it is out of range."""
    limit = _LARGEST.get(name, 1.0)
    limits = f"0 <= {name}" if math.isinf(limit) else f"0 <= {name} <= {limit:.6g}"
    numbers = _numbers(value)
    if numbers is None or (numbers.ndim and numbers.ndim != _AXES.get(name)) or not numbers.size:
        shape = {1: ", or one for every mode", 2: ", or one for every pair of modes"}.get(_AXES.get(name, 0), "")
        raise ConfigError(f"noise {name} is {short(value)}; it must be a number, {limits}{shape}. Choose such a value.")
    wrong = np.argwhere(~((numbers >= 0.0) & (numbers <= limit) & np.isfinite(numbers)))
    if len(wrong):
        where = f" of {_place(wrong[0])}" if numbers.ndim else ""
        found = float(numbers[tuple(wrong[0])])
        must = "finite. Use 0 for no rounding of phases" if math.isinf(found) and math.isinf(limit) else limits
        raise ConfigError(f"noise {name}{where} is {found!r}; it must be {must}. Choose such a value.")
    if numbers.ndim == 2:
        _check_pairs(name, numbers)
        return tuple(tuple(row) for row in numbers.tolist())
    return tuple(numbers.tolist()) if numbers.ndim else float(numbers)


def _numbers(value: object) -> FloatArray | None:
    """As float64, one or several, ``(...)``; None for what are no numbers."""
    if not (isinstance(value, np.ndarray) and value.ndim):  # to say why it is no number would take long
        with suppress(ProgramError):
            return np.asarray(real(value, "it"))
    with suppress(ProgramError):
        return reals(value, "it", finite=False)  # several, or what is not finite, which is named later
    return None


def _place(index: IntArray) -> str:
    return f"mode {index[0]}" if len(index) == 1 else f"modes {index[0]} and {index[1]}"


def _check_pairs(name: str, pairs: FloatArray) -> None:
    if pairs.shape[0] != pairs.shape[1] or (pairs != pairs.T).any() or (np.diag(pairs) != 1.0).any():
        raise ConfigError(
            f"noise {name} of pairs has shape {pairs.shape}; it must be square and symmetric with ones on the "
            "diagonal. Give one value for every pair of modes."
        )
