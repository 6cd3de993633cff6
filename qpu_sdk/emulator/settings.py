"""Settings of the emulated cloud."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from ..arrays import real, whole
from ..devices.machines import ASSUMED, machine_of
from ..errors import ConfigError
from ..photonics.counts import Detector
from ..photonics.noise import Noise
from ..words import short

#: Platforms served unless told otherwise.
PLATFORMS = ("qpu:belenos", "qpu:ascella", "sim:belenos", "sim:ascella", "sim:ideal")

STATUSES = ("available", "maintenance", "decommissioned")


@final
@dataclass(frozen=True)
class CloudSettings:
    """What the emulated cloud is like.

    :param seed: of all random numbers.
    :param platforms: names as ``qpu:NAME`` or ``sim:NAME``; a text is one name.
    :param noise: the hidden truth (a platform named ideal has none that differs by mode), which is published too; None:
        of the machine in the platform's name, else ideal. Then qpu:* are typical devices, publish what the vendor
        does and resolve what theirs do, while sim:* do what is published.
    :param seconds_per_setting: simulated seconds an iteration takes; None: the machine's on qpu:*, 1 on sim:*.
    :param queue_s: simulated seconds every job waits at least.
    :param job_limit_s: simulated seconds after which a job is cancelled, its finished iterations kept; None: never.
    :param time_scale: simulated seconds in a real second.
    :param max_waiting: jobs of a platform that may wait; None: 1 on qpu:*, 10 on sim:*.
    :param credits: of the account; None: without limit.
    :param credits_per_shot: None: the machine's on qpu:*, 0 on sim:*.
    :param max_shots: largest number of shots of an iteration; None: no limit.
    :param status: ``"available"``, ``"maintenance"`` or ``"decommissioned"``, of all platforms.
    :param tokens: accepted tokens; None: any. Kept in memory only.
    :param payload_version: 1 serves specifications without commands, so that Perceval sends v1 payloads; None is 2.
    :raises ConfigError: when a value is out of range.
    """

    seed: int
    platforms: Sequence[str] = PLATFORMS
    noise: Noise | None = None
    seconds_per_setting: float | None = None
    queue_s: float = 0.0
    job_limit_s: float | None = None
    time_scale: float = 1.0
    max_waiting: int | None = None
    credits: float | None = None
    credits_per_shot: float | None = None
    max_shots: int | None = None
    status: str = "available"
    tokens: frozenset[str] | None = field(default=None, repr=False)
    payload_version: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.platforms, str):  # one name, not its letters
            object.__setattr__(self, "platforms", (self.platforms,))
        try:
            object.__setattr__(self, "platforms", tuple(self.platforms))
        except TypeError:
            raise ConfigError(f"platforms is {self.platforms!r}. Name them, for example ('sim:ideal',).") from None
        for name in ("seconds_per_setting", "queue_s", "credits", "credits_per_shot", "max_waiting"):
            self._check_number(name, least=0.0)
        for name in ("job_limit_s", "time_scale", "max_shots"):
            self._check_number(name, least=0.0, least_allowed=False)
        object.__setattr__(self, "seed", whole(self.seed, "seed", ConfigError, least=0))
        if self.status not in STATUSES:
            raise ConfigError(f"status {self.status!r} is unknown. Use one of {', '.join(STATUSES)}.")
        if self.payload_version not in (None, 1, 2):
            raise ConfigError(f"payload_version is {self.payload_version!r}. Use 1 or 2.")
        for name in self.platforms:
            if not isinstance(name, str) or not name.startswith(("qpu:", "sim:")) or name in ("qpu:", "sim:"):
                raise ConfigError(f"platform {name!r} is not qpu:NAME or sim:NAME. Use for example sim:ideal.")
        if not self.platforms or len(set(self.platforms)) < len(self.platforms):
            raise ConfigError("platforms are none, or one is named twice. Name each once.")

    def _check_number(self, name: str, *, least: float, least_allowed: bool = True) -> None:
        value = getattr(self, name)
        if value is None and name not in ("queue_s", "time_scale"):
            return
        try:
            found = real(value, name, ConfigError, least=least, above=None if least_allowed else least)
            counted = name in ("max_waiting", "max_shots")
            object.__setattr__(self, name, whole(value, name, ConfigError) if counted else found)
        except ConfigError:
            kind, sign = "whole number" if name.startswith("max_") else "number", ">=" if least_allowed else ">"
            raise ConfigError(
                f"{name} is {short(value)}; it must be a {kind} {sign} {least:g}. Choose such a value."
            ) from None

    def noise_of(self, platform: str) -> Noise:
        """The hidden truth of a platform."""
        if self.noise is not None and (self.noise.modes is None or not platform.endswith("ideal")):
            return self.noise
        machine = machine_of(platform)
        typical = machine is not None and platform.startswith("qpu:")
        return (machine.typical if machine is not None and typical else None) or self.published_noise(platform)

    def published_noise(self, platform: str) -> Noise:
        """What a platform publishes of itself; as with real ones, not all of what it does."""
        if self.noise is not None:
            return self.noise_of(platform)
        machine = machine_of(platform)
        return Noise() if machine is None or machine.noise is None else machine.noise

    def detector_of(self, platform: str) -> Detector:
        """What a platform's detectors resolve."""
        if platform == "sim:ideal":
            return "pnr"
        machine = machine_of(platform) if self.noise is None and platform.startswith("qpu:") else None
        return "threshold" if machine is None else machine.detector

    def setting_s(self, platform: str) -> float:
        """Simulated seconds an iteration takes."""
        machine = machine_of(platform) or ASSUMED
        return _or(self.seconds_per_setting, machine.seconds_per_setting if platform.startswith("qpu:") else 1.0)

    def waiting_limit(self, platform: str) -> int:
        """Jobs of a platform that may wait."""
        return int(_or(self.max_waiting, 1 if platform.startswith("qpu:") else 10))

    def credits_for(self, platform: str, shots: int) -> float:
        """Price of shots."""
        machine = machine_of(platform) or ASSUMED
        return shots * _or(self.credits_per_shot, machine.credits_per_shot if platform.startswith("qpu:") else 0.0)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
