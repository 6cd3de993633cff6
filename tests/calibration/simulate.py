"""Counts of a plan from a known truth, by the formula, and from truths that the model does not have.

A *world* says what the device is while a setting runs: a mixture of noises, each for a share of the windows. Everything
else is multinomial sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from qpu_sdk.arrays import FloatArray
from qpu_sdk.calibration.fit import fit
from qpu_sdk.calibration.likelihood import Observation, observe
from qpu_sdk.calibration.measure import CalibrationRequest, Whose, most_clicks, record_of
from qpu_sdk.calibration.parameters import Fit, Parameters
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.calibration.plan import CalibrationSetting
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.devices.noisy_chip import perceval_distribution
from qpu_sdk.photonics.click_model import click_distribution
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program_noise import ProgramNoise

Mixture = list[tuple[float, ProgramNoise]]
#: Number of a setting and its inputs to what the device is meanwhile.
World = Callable[[int, tuple[int, ...]], Mixture]


@final
@dataclass(frozen=True)
class Run:
    """A simulated calibration.

    :param windows: pulses of each setting, what a device does not tell.
    """

    plan: tuple[CalibrationSetting, ...]
    counts: tuple[Counts, ...]
    windows: int

    def observations(self, *, windows: bool = False) -> list[Observation]:
        """Of every setting; ``windows``: as if the device told the number of pulses."""
        most = self.most_clicks
        known = self.windows if windows else None
        return [observe(s, c, most_clicks=most, windows=known) for s, c in zip(self.plan, self.counts, strict=True)]

    def fit(self, *, windows: bool = False, pairs: bool = False) -> Fit:
        """Of the settings that are for the fit."""
        seen = zip(self.observations(windows=windows), self.plan, strict=True)
        return fit([o for o, s in seen if s.role == "fit"], most_clicks=self.most_clicks, pairs=pairs)

    def record(self, *, pairs: bool = False) -> CalibrationRecord:
        """What a calibration would write down."""
        modes, inputs = self.plan[0].program.modes, self.plan[0].program.input_modes
        identity = Identity("simulated", "simulated", modes, inputs, "threshold")
        request = CalibrationRequest(modes, inputs, max(c.shots for c in self.counts), 0, pairs)
        times = ("2026-03-01T12:00:00+00:00", "2026-03-01T12:10:00+00:00")
        return record_of(self.plan, self.counts, request, Whose(identity, "simulated", {}), times=times)

    @property
    def most_clicks(self) -> int:
        """As a calibration has it."""
        return most_clicks(self.plan[0].program.modes, len(self.plan[0].program.input_modes))


def simulate(plan: Sequence[CalibrationSetting], world: World | Parameters, *, pulses: int, seed: int) -> Run:
    """Run a plan, ``pulses`` windows a setting; empty windows are not recorded."""
    rng = np.random.default_rng(seed)
    here = steady(world) if isinstance(world, Parameters) else world
    counts = []
    for number, setting in enumerate(plan):
        program = setting.program
        columns = program.mesh.columns(program.phases, program.input_modes)[None]
        p: FloatArray | float = 0.0
        for share, noise in here(number, program.input_modes):
            sets, [part] = click_distribution(columns, noise)
            p = p + share * part
        counts.append(_sampled(setting, sets.members, np.asarray(p), pulses, rng))
    return Run(tuple(plan), tuple(counts), pulses)


def simulate_perceval(plan: Sequence[CalibrationSetting], noise: Noise, *, pulses: int, seed: int) -> Run:
    """The same by Perceval's simulator, which knows second photons that equal the first."""
    rng = np.random.default_rng(seed)
    pairs = [(s, *perceval_distribution(s.program, noise, "threshold")) for s in plan]
    return Run(tuple(plan), tuple(_sampled(s, o > 0, p, pulses, rng) for s, o, p in pairs), pulses)


def _sampled(
    setting: CalibrationSetting,
    patterns: np.typing.NDArray[np.bool_],
    p: FloatArray,
    pulses: int,
    rng: np.random.Generator,
) -> Counts:
    numbers = rng.multinomial(pulses, p / p.sum())
    keep = patterns.any(axis=1) & (numbers > 0)
    return Counts(
        photons=setting.program.photons,
        outcomes=patterns[keep].astype(np.uint8),
        numbers=numbers[keep],
        detector="threshold",
        program=setting.program,
        device="simulated",
        tag="calibrate",
        job_id="1",
    )


# -- truths ----------------------------------------------------------------------------------------------------


def random_parameters(
    rng: np.random.Generator, modes: int, inputs: tuple[int, ...], *, transmissions: tuple[float, float] = (0.06, 0.3)
) -> Parameters:
    """A device in the fit's gauge; dark counts as rare as detectors have them."""
    efficiencies = rng.uniform(0.7, 1.0, modes)
    return Parameters(
        inputs=inputs,
        overlap=rng.uniform(0.75, 0.97, 1),
        g2=float(rng.uniform(0.01, 0.2)),
        transmissions=rng.uniform(*transmissions, len(inputs)),
        efficiencies=efficiencies / efficiencies.mean(),
        dark=10.0 ** rng.uniform(-6.0, -4.0, modes),
    )


def uniform_parameters(modes: int, inputs: tuple[int, ...], transmission: float, *, dark: float = 0.0) -> Parameters:
    """An ordinary device: I = 0.9, g2 = 0.02, the same everywhere."""
    return Parameters(
        inputs=inputs,
        overlap=np.array([0.9]),
        g2=0.02,
        transmissions=np.full(len(inputs), transmission),
        efficiencies=np.ones(modes),
        dark=np.full(modes, dark),
    )


def steady(truth: Parameters) -> World:
    """What the model has: one device all the time."""
    return lambda _, inputs: [(1.0, truth.noise(inputs))]


def blinking(truth: Parameters, share: float, *dark: tuple[int, ...]) -> World:
    """For a share of the windows the inputs of one group after the other are dark together."""

    def world(_: int, inputs: tuple[int, ...]) -> Mixture:
        without = [_without(truth, group).noise(inputs) for group in dark]
        return [(1.0 - share, truth.noise(inputs)), *((share / len(dark), noise) for noise in without)]

    return world


def _without(truth: Parameters, dark: tuple[int, ...]) -> Parameters:
    lit = np.array([0.0 if j in dark else 1.0 for j in truth.inputs])
    return replace(truth, transmissions=truth.transmissions * lit)


def dying(truth: Parameters, mode: int, after: int) -> World:
    """A detector fires no more from setting number ``after`` on."""
    alive = np.arange(len(truth.efficiencies)) != mode

    def world(number: int, inputs: tuple[int, ...]) -> Mixture:
        dead = replace(truth, efficiencies=truth.efficiencies * alive, dark=truth.dark * alive)
        return [(1.0, (truth if number < after else dead).noise(inputs))]

    return world


def drifting(truth: Parameters, factor: float, settings: int, *, moving: tuple[int, ...]) -> World:
    """Transmissions of some inputs change evenly, to ``factor`` times the first at the last setting."""

    def world(number: int, inputs: tuple[int, ...]) -> Mixture:
        now = 1.0 + (factor - 1.0) * number / (settings - 1)
        t = np.array(
            [t * (now if j in moving else 1.0) for j, t in zip(truth.inputs, truth.transmissions, strict=True)]
        )
        return [(1.0, replace(truth, transmissions=t).noise(inputs))]

    return world
