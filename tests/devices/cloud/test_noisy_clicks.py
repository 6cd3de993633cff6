"""Perceval's simulator at full precision is the oracle."""

from __future__ import annotations

from dataclasses import asdict

import perceval as pcvl
import pytest
from perceval.runtime import SimulatedComputer

from qpu_sdk.devices.cloud.emulator.noisy_clicks import click_probabilities
from qpu_sdk.photonics.noise import NOISE_PRESETS, NoiseParameters
from tests.oracles.unitaries import haar

ASCELLA = NOISE_PRESETS["ascella"].noise


@pytest.mark.parametrize(
    ("modes", "inputs", "noise", "least", "precision"),
    [
        (2, (0, 1), NoiseParameters(), 1, 0.0),
        (4, (1, 3), NoiseParameters(indistinguishability=0.7), 1, 0.0),
        (4, (0, 1), NoiseParameters(transmittance=0.5, g2=0.3), 0, 0.0),
        (5, (0, 2), NoiseParameters(0.7, 0.8, 0.2, True, 0.5), 2, 0.0),
        (6, (0, 2, 5), NoiseParameters(0.9, 0.8, 0.3, True, 0.3), 3, 0.0),
        (9, (0, 2, 4, 6), ASCELLA, 1, 1e-9),
        (9, (0, 2, 4, 6), ASCELLA, 4, 1e-11),
    ],
)
def test_equals_perceval(
    modes: int, inputs: tuple[int, ...], noise: NoiseParameters, least: int, precision: float
) -> None:
    unitary = haar(modes, seed=modes)
    found = click_probabilities(unitary, inputs, noise, at_least=least)
    assert found is not None
    clicks, p = found
    passes = clicks.sum(axis=1) >= least
    expected = by_perceval(unitary, inputs, noise, least, precision)
    # Perceval drops rare events even at precision 0: its P(4 or more photons) is 8e-6 below the exact one here.
    assert p[passes].sum() == pytest.approx(expected["global_perf"], rel=1e-9 if precision == 0.0 else 5e-5)
    told = {tuple(state): probability for state, probability in expected["results"].items()}
    ours = {tuple(row): value for row, value in zip(clicks[passes].tolist(), p[passes] / p[passes].sum(), strict=True)}
    distance = sum(abs(told.get(key, 0.0) - value) for key, value in ours.items()) / 2
    assert distance < (1e-12 if precision == 0.0 else 1e-5)
    assert set(told) <= set(ours)


def by_perceval(unitary, inputs, noise, least, precision):  # type: ignore[no-untyped-def]
    modes = len(unitary)
    experiment = pcvl.Experiment(modes)
    experiment.add(0, pcvl.Unitary(pcvl.Matrix(unitary)))
    for mode in range(modes):
        experiment.add(mode, pcvl.Detector.threshold())
    experiment.with_input(pcvl.BasicState([int(mode in inputs) for mode in range(modes)]))
    experiment.min_detected_photons_filter(least)
    computer = SimulatedComputer("SLOS")
    computer.noise = pcvl.NoiseModel(**asdict(noise))
    return computer.probs(experiment, precision=precision)


@pytest.mark.parametrize(("modes", "photons"), [(9, 4), (14, 2), (24, 2)])
def test_nothing_is_lost(modes: int, photons: int) -> None:
    found = click_probabilities(haar(modes, seed=1), tuple(range(photons)), NOISE_PRESETS["belenos"].noise)
    assert found is not None
    assert found[1].sum() == pytest.approx(1.0, abs=1e-9)


def test_leaves_what_it_cannot_do_to_perceval() -> None:
    same = NoiseParameters(g2=0.1, g2_distinguishable=False)
    assert click_probabilities(haar(4, seed=1), (0, 1), same) is None
    assert click_probabilities(haar(24, seed=1), tuple(range(0, 24, 2)), NoiseParameters()) is None
