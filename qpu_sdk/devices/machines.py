"""Machines: what is published of each, what its devices do, price and time a setting, each figure with its source.

A machine is added here alone. What a vendor publishes is not what a user meets: efficiencies that differ by mode and
errors of phases and of mixing angles are in no published table, and were the largest errors of the real counts that are
known. So a machine has two kinds of figures: ``noise``, as published, and ``spread``, devices as they come. ``belenos``
is the typical one of these, ``belenos-3`` the third that is drawn; ``belenos-published`` is what the vendor publishes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from ..errors import ConfigError
from ..photonics.counts import Detector
from ..photonics.noise import Noise, mean_pair
from ..seeds import child_seed
from ..words import did_you_mean, short
from .budget import Rates

FREE = Rates()
#: What is written behind a machine's name for its published noise.
PUBLISHED = "published"


@final
@dataclass(frozen=True)
class DeviceSpread:
    """Devices of one machine: a typical one, and how far others are from it.

    :param typical: noise by mode.
    :param detector: what its detectors resolve.
    :param efficiencies: mean and standard deviation of the logarithm of an output efficiency.
    :param relative: standard deviation of the logarithm of everything else: transmittance, g2, 1 - I, sizes of errors.
    :param sources: where every figure of ``typical`` comes from, by its name, and ``detector``.
    """

    typical: Noise
    detector: Detector
    efficiencies: tuple[float, float]
    relative: float
    sources: dict[str, str]

    def draw(self, *, seed: int) -> Noise:
        """One device: log-normal figures around the typical ones, efficiencies relative to its best mode.

        >>> one = MACHINES["belenos"].device(seed=1)
        >>> one.modes, max(one.efficiency), one == MACHINES["belenos"].device(seed=1)
        (24, 1.0, True)
        """
        rng, usual = np.random.default_rng(child_seed(seed, "a device of a machine")), self.typical
        drawn = np.exp(rng.normal(*self.efficiencies, size=usual.modes))
        efficiency = tuple((drawn / drawn.max()).tolist())
        light, g2, apart, phase, angle = np.exp(rng.normal(0.0, self.relative, size=5)).tolist()
        return replace(
            usual,
            efficiency=efficiency,
            # What is published of light is photons that arrive and are seen.
            transmittance=min(1.0, light * usual.click_probability / float(np.mean(efficiency))),
            g2=min(0.5, g2 * usual.g2),
            indistinguishability=max(0.0, 1.0 - apart * (1.0 - mean_pair(usual.indistinguishability))),
            phase_error=min(math.pi, phase * usual.phase_error),
            angle_error=min(math.pi, angle * usual.angle_error),
        )


@final
@dataclass(frozen=True)
class Machine:
    """A quantum computer as far as it is known.

    :param name: a word in the names of its platforms: ``belenos`` in ``quandela:qpu:belenos``.
    :param noise: as published; None where no figure is.
    :param seconds_per_setting: machine time of a circuit setting, whatever its shots.
    :param sources: where every figure comes from, by its name here or in ``noise``.
    :param spread: its devices as they come; None where nothing more is known than what is published.
    """

    name: str
    modes: int
    photons: int
    noise: Noise | None
    credits_per_shot: float
    seconds_per_setting: float
    sources: dict[str, str]
    spread: DeviceSpread | None = None

    @property
    def rates(self) -> Rates:
        """What it charges."""
        return Rates(self.credits_per_shot, self.seconds_per_setting)

    @property
    def typical(self) -> Noise | None:
        """What a device of it does, None where nothing is known."""
        return self.noise if self.spread is None else self.spread.typical

    @property
    def detector(self) -> Detector:
        """What its detectors resolve; only clicks, where nobody knows."""
        return "threshold" if self.spread is None else self.spread.detector

    def device(self, *, seed: int) -> Noise:
        """Draw a device.

        :raises ConfigError: when it is not known how its devices differ.
        """
        if self.spread is None:
            raise ConfigError(f"it is not known how devices of {self.name} differ. Use one of {', '.join(_SPREAD)}.")
        return self.spread.draw(seed=seed)


_READING = "GitHub HUmutI/HPT-QRC, unverified: a third party's reading of the vendor's live figures in mid-2026"
_COUNTS = "fitted to two-photon counts of qpu:belenos of July 2026 (GitHub HUmutI/HPT-QRC), 9 settings, unverified"
_ASCELLA = "Maring et al., Nat. Photon. 18, 603 (arXiv:2306.00874)"
_SIZE = "Scaleway docs-content at 2302dd0a"

#: The vendor publishes neither; ``[budget] credits_per_shot`` and ``seconds_per_setting`` replace them.
_COST = {
    "credits_per_shot": "what users read from their accounts (GitHub joygoLive/uqi, checked 2026-04-27), unverified",
    "seconds_per_setting": "13 to 18 s measured on Belenos by a third party (GitHub HUmutI/HPT-QRC), unverified",
}

#: Relative output efficiencies of modes 0..9 of Belenos, the largest error of its counts, stable over days.
_BELENOS_OUT = (1.0, 0.93, 0.44, 0.74, 0.94, 0.29, 0.70, 0.65, 0.94, 0.44)
_BELENOS_24 = (_BELENOS_OUT * 3)[:24]
_ASCELLA_12 = (1.0, 0.86, 0.93, 0.80, 0.97, 0.88, 0.84, 0.95, 0.78, 0.91, 0.90, 0.82)

_ASCELLA_DEVICES = DeviceSpread(
    typical=Noise(
        indistinguishability=0.8636,
        g2=0.0195,
        transmittance=0.0244 / float(np.mean(_ASCELLA_12)),
        efficiency=_ASCELLA_12,
        phase_error=0.065,
    ),
    detector="threshold",
    efficiencies=(-0.12, 0.08),
    relative=0.2,
    sources={
        "indistinguishability": "as published",
        "g2": "as published",
        "transmittance": "as published, shared with the efficiencies",
        "efficiency": "assumed: 8 % from mode to mode; no table is published",
        "phase_error": f"derived: two photons in 12 modes then have the published fidelity and distance ({_ASCELLA})",
        "detector": "assumed: one superconducting nanowire a mode, which only clicks",
    },
)

_BELENOS_DEVICES = DeviceSpread(
    typical=Noise(
        indistinguishability=0.96,
        g2=0.10,
        transmittance=0.0484 / float(np.mean(_BELENOS_24)),
        efficiency=_BELENOS_24,
        phase_error=0.17,
        angle_error=0.07,
    ),
    detector="ppnr:6",
    efficiencies=(-0.42, 0.40),
    relative=0.2,
    sources={
        "indistinguishability": f"{_COUNTS}, by hand: only I and g2 together are told, .90 and .08 to 1.0 and .11",
        "g2": f"{_COUNTS}: .10 to .12, where .182 is published",
        "transmittance": "as published, shared with the efficiencies",
        "efficiency": f"modes 0 to 9: {_COUNTS}; the others are assumed to be like them",
        "phase_error": f"{_COUNTS}: sd .14 rad of phases or .1 rad of mixing angles; each is given half the variance",
        "angle_error": f"{_COUNTS}: see phase_error, which is a half-width: .17 is a sd of .10",
        "detector": f"{_COUNTS}: 14 % of pairs were in one mode, as with 4 to 9 wires; the vendor does not tell",
    },
)

#: By name. A published HOM figure is used as indistinguishability without correction for g2, as Perceval does; for
#: Belenos the correction would give more than 1, so measure a device before you rely on these.
MACHINES: dict[str, Machine] = {
    machine.name: machine
    for machine in (
        Machine(
            name="ascella",
            modes=12,
            photons=6,
            noise=Noise(indistinguishability=0.8636, g2=0.0195, transmittance=0.0244),
            credits_per_shot=1e-6,
            seconds_per_setting=15.0,
            sources={
                "modes": _SIZE,
                "photons": _SIZE,
                "indistinguishability": f"HOM 86.36 % ({_READING})",
                "g2": f"1.95 % ({_READING})",
                "transmittance": f"2.44 % ({_READING})",
            }
            | _COST,
            spread=_ASCELLA_DEVICES,
        ),
        Machine(
            name="belenos",
            modes=24,
            photons=12,
            noise=Noise(indistinguishability=0.827, g2=0.182, transmittance=0.0484),
            credits_per_shot=1e-6,
            seconds_per_setting=15.0,
            sources={
                "modes": "Perceval's docs",
                "photons": "Perceval's docs",
                "indistinguishability": f"HOM 82.7 % ({_READING})",
                "g2": f"18.2 % ({_READING})",
                "transmittance": "4.84 %, worked out from pair rates; the platform's own aggregate reads 0 "
                f"({_READING})",
            }
            | _COST,
            spread=_BELENOS_DEVICES,
        ),
        Machine(
            name="altair",
            modes=20,
            photons=10,
            noise=None,
            credits_per_shot=1e-6,
            seconds_per_setting=15.0,
            sources={"modes": _SIZE, "photons": _SIZE} | _COST,
        ),
    )
}

#: Names that the cloud has for them and their simulators.
PLATFORMS_OF_MACHINES = tuple(f"{kind}:{name}" for kind in ("qpu", "sim") for name in MACHINES)
#: What is taken of a quantum computer that is not in the table: as large and as dear as the largest that is.
ASSUMED = replace(MACHINES["belenos"], name="", noise=None, spread=None)
#: What Perceval assumes of a platform that publishes no transmittance (perceval 1.3.1, remote_processor.py).
DEFAULT_TRANSMITTANCE = 0.06
_SPREAD = tuple(machine.name for machine in MACHINES.values() if machine.spread is not None)
#: Noise by name: none, that of a typical device of a machine, or what is published of it.
NOISE_PRESETS: dict[str, Noise] = (
    {"ideal": Noise()}
    | {machine.name: machine.typical for machine in MACHINES.values() if machine.typical is not None}
    | {f"{machine.name}-{PUBLISHED}": machine.noise for machine in MACHINES.values() if machine.noise is not None}
)


def named_noise(name: str) -> tuple[Noise, Detector | None]:
    """A preset's noise and detectors, None where that is left to the simulator.

    :param name: a preset, or a machine and the number of a device that is drawn: ``belenos-3``.
    :raises ConfigError: when there is no such preset.

    >>> named_noise("belenos")[1], named_noise("belenos-published")[1], named_noise("belenos-3")[0].modes
    ('ppnr:6', None, 24)
    """
    machine, _, number = name.rpartition("-")
    if machine in _SPREAD and number.isascii() and number.isdecimal() and len(number) < 10:
        return MACHINES[machine].device(seed=int(number)), MACHINES[machine].detector
    if name not in NOISE_PRESETS:
        known = ", ".join(NOISE_PRESETS)
        raise ConfigError(
            f"noise preset {short(name)} is unknown.{did_you_mean(name, NOISE_PRESETS)} Use one of {known}, a device "
            f"such as {_SPREAD[0]}-1, or for example transmittance=0.5."
        )
    return NOISE_PRESETS[name], MACHINES[name].detector if name in _SPREAD else None


def machine_of(platform: str) -> Machine | None:
    """The machine that a platform is named after, if it is in the table.

    >>> machine_of("quandela:sim:belenos?poll_s=5") is MACHINES["belenos"], machine_of("sim:ideal")
    (True, None)
    """
    return next((MACHINES[word] for word in re.split(r"[^a-z0-9]+", platform.lower()) if word in MACHINES), None)


def rates_of(platform: str, *, simulated: bool) -> Rates:
    """What a platform charges as far as it is published; simulators cost nothing.

    >>> rates_of("qpu:belenos", simulated=False).seconds_per_setting, rates_of("sim:belenos", simulated=True) == FREE
    (15.0, True)
    """
    return FREE if simulated else (machine_of(platform) or ASSUMED).rates


def known_transmittance(platform: str) -> tuple[float, str]:
    """Transmittance of the machine that a platform is named after, and where the figure comes from."""
    machine = machine_of(platform)
    if machine is None or machine.noise is None:
        return DEFAULT_TRANSMITTANCE, "Perceval's default for a platform that publishes none"
    return machine.noise.click_probability, machine.sources["transmittance"]
