"""Detectors of several wires: against their formula, against Perceval's detectors, and at both ends."""

from __future__ import annotations

import math

import numpy as np
import perceval as pcvl
import pytest

from qpu_sdk.devices.noisy_chip import perceval_distribution
from qpu_sdk.errors import ConfigError, DataError
from qpu_sdk.photonics.click_model import click_distribution
from qpu_sdk.photonics.counts import Counts, check_detector, wires
from qpu_sdk.photonics.detectors import click_chances
from qpu_sdk.photonics.meshes import RectangularMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.photon_counting import fock_distribution
from tests.helpers import program

PROGRAM = program(RectangularMesh(4), 3, seed=1)
COLUMNS = PROGRAM.mesh.columns(PROGRAM.phases, PROGRAM.input_modes)
UNEVEN = Noise(indistinguishability=0.8, g2=0.1, transmittance=0.5, efficiency=(1.0, 0.5, 0.8, 0.3))
NOISY = Noise(
    indistinguishability=0.8,
    g2=0.1,
    transmittance=(0.5, 0.3, 0.4, 0.6),
    efficiency=(1.0, 0.5, 0.8, 0.3),
    dark_counts=(0.1, 0.0, 0.03, 0.2),
)


def table(outcomes: np.ndarray, p: np.ndarray) -> dict[tuple[int, ...], float]:
    return {s: w for s, w in zip(map(tuple, outcomes.tolist()), p.tolist(), strict=True) if w > 0.0}


def stirling(n: int, k: int) -> int:
    """Ways to divide n things into k parts."""
    return sum((-1) ** (k - j) * math.comb(k, j) * j**n for j in range(k + 1)) // math.factorial(k)


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_clicks_of_several_photons(number: int) -> None:
    chances = click_chances(5, number)
    for k in range(6):
        by_formula = [stirling(k, c) * math.perm(number, c) / number**k for c in range(6)]
        assert chances[:, k] == pytest.approx(by_formula, abs=1e-15)
        shown = pcvl.Detector.ppnr(number, wire_efficiency=1.0).detect(k)
        by_perceval = {shown: 1.0} if isinstance(shown, pcvl.FockState) else dict(shown)
        for state, p in by_perceval.items():
            assert chances[state.n, k] == pytest.approx(p, abs=1e-15)


@pytest.mark.parametrize("detector", ["threshold", "ppnr:2", "ppnr:5"])
def test_windows_are_those_of_perceval(detector: str) -> None:
    found = table(*fock_distribution(COLUMNS, UNEVEN.at(PROGRAM), wires=wires(detector)))
    expected = table(*perceval_distribution(PROGRAM, UNEVEN, detector))
    for state in found.keys() | expected.keys():
        assert found.get(state, 0.0) == pytest.approx(expected.get(state, 0.0), abs=1e-14)


def test_one_wire_is_a_threshold_detector() -> None:
    sets, [clicks] = click_distribution(COLUMNS[None], NOISY.at(PROGRAM))
    found = table(*fock_distribution(COLUMNS, NOISY.at(PROGRAM), wires=1))
    assert found == pytest.approx(table(sets.counts, clicks), abs=1e-14)


def test_many_wires_count() -> None:
    """Two photons share one of W wires with 1 / W."""
    outcomes, counted = fock_distribution(COLUMNS, NOISY.at(PROGRAM))
    off = [np.abs(fock_distribution(COLUMNS, NOISY.at(PROGRAM), wires=w)[1] - counted).max() for w in (1000, 10_000)]
    assert off[1] == pytest.approx(off[0] / 10.0, rel=0.02)
    assert off[1] < 1e-4
    assert outcomes.max() > 2


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_windows_of_many_clicks_can_be_left_out(most: int) -> None:
    """Photons beyond those clicks still count, where they share a wire."""
    every = fock_distribution(COLUMNS, NOISY.at(PROGRAM), wires=2)
    few = fock_distribution(COLUMNS, NOISY.at(PROGRAM), wires=2, most_photons=most)
    assert (few[0] == every[0][: len(few[0])]).all()
    assert few[1] == pytest.approx(every[1][: len(few[1])], abs=1e-16)
    assert few[0].sum(axis=1).max() == most


@pytest.mark.parametrize("name", ["ppnr", "ppnr:", "ppnr:1", "ppnr:02", "ppnr:20000", "PNR", "ppnr:4.5", "", None, 4])
def test_other_names_are_refused_in_one_line(name: object) -> None:
    with pytest.raises(ConfigError, match=r"must be threshold, pnr, or ppnr:W") as caught:
        check_detector(name)
    assert "\n" not in str(caught.value)


def test_counts_have_no_more_clicks_than_wires() -> None:
    outcomes, numbers = np.array([[3, 0], [1, 1]]), np.array([1, 2])
    assert Counts(photons=3, outcomes=outcomes, numbers=numbers, detector="ppnr:3").shots == 3
    with pytest.raises(DataError, match="a ppnr:2 detector cannot report more than 2 clicks a mode"):
        Counts(photons=3, outcomes=outcomes, numbers=numbers, detector="ppnr:2")
    again = Counts.from_json(Counts(photons=3, outcomes=outcomes, numbers=numbers, detector="ppnr:4").to_json())
    assert again.detector == "ppnr:4"
