"""Published machines: size, noise, price, time a setting, each with its source. A machine is added here alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import final

from ..photonics.noise import Noise
from .budget import Rates

FREE = Rates()


@final
@dataclass(frozen=True)
class Machine:
    """A quantum computer as far as it is published.

    :param name: a word in the names of its platforms: ``belenos`` in ``quandela:qpu:belenos``.
    :param noise: None where no figure is known.
    :param seconds_per_setting: machine time of a circuit setting, whatever its shots.
    :param sources: where every figure comes from, by its name here or in ``noise``.
    """

    name: str
    modes: int
    photons: int
    noise: Noise | None
    credits_per_shot: float
    seconds_per_setting: float
    sources: dict[str, str]

    @property
    def rates(self) -> Rates:
        """What it charges."""
        return Rates(self.credits_per_shot, self.seconds_per_setting)


_READING = "GitHub HUmutI/HPT-QRC, unverified: a third party's reading of the vendor's live figures in mid-2026"
_SIZE = "Scaleway docs-content at 2302dd0a"

#: The vendor publishes neither; ``[budget] credits_per_shot`` and ``seconds_per_setting`` replace them.
_COST = {
    "credits_per_shot": "what users read from their accounts (GitHub joygoLive/uqi, checked 2026-04-27), unverified",
    "seconds_per_setting": "13 to 18 s measured on Belenos by a third party (GitHub HUmutI/HPT-QRC), unverified",
}

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

#: What is taken of a quantum computer that is not in the table: as large and as dear as the largest that is.
ASSUMED = replace(MACHINES["belenos"], name="", noise=None)
#: What Perceval assumes of a platform that publishes no transmittance (perceval 1.3.1, remote_processor.py).
DEFAULT_TRANSMITTANCE = 0.06
#: Noise by name: none, or that of a machine.
NOISE_PRESETS: dict[str, Noise] = {"ideal": Noise()} | {
    machine.name: machine.noise for machine in MACHINES.values() if machine.noise is not None
}


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
