"""What a simulation takes is known before it runs; one that is long runs elsewhere, and says the same."""

from __future__ import annotations

import math
import sys
from typing import Any

import perceval as pcvl
import pytest

from qpu_sdk.emulator import apart
from qpu_sdk.emulator.apart import simulated, work_of
from qpu_sdk.errors import ConfigError
from qpu_sdk.photonics.noise import Noise
from tests.oracles.unitaries import haar

NOISE = Noise(transmittance=0.3, indistinguishability=0.85, g2=0.1)


def experiment(modes: int, state: Any, *parts: Any) -> Any:
    out = pcvl.Experiment(modes)
    out.add(0, pcvl.Unitary(pcvl.Matrix(haar(modes, seed=1))))
    for part in parts:
        out.add(0, part)
    out.with_input(state)
    out.min_detected_photons_filter(1)
    return out


def photons(number: int, modes: int) -> Any:
    return pcvl.BasicState([1] * number + [0] * (modes - number))


def formula() -> Any:
    """A phase that is a formula of one that has a value."""
    a = pcvl.P("a")
    out = experiment(3, photons(2, 3), pcvl.PS(2 * a), pcvl.BS())
    out.get_circuit_parameters()["a"].set_value(0.7)
    return out


def rich() -> Any:
    out = experiment(4, pcvl.BasicState([1, 1, 0, 1]), pcvl.LC(0.2))
    out.add(0, pcvl.Detector.threshold())
    out.add(1, pcvl.Detector.ppnr(4))
    out.set_postselection(pcvl.PostSelect("[2] < 2"))
    return out


CASES = {
    "ideal": (lambda: experiment(4, photons(3, 4)), Noise()),
    "noisy": (lambda: experiment(4, photons(3, 4)), NOISE),
    "two terms": (lambda: experiment(2, pcvl.StateVector("|2,0>") + pcvl.StateVector("|0,1>")), Noise()),
    "losses, detectors and a selection": (rich, NOISE),
    "a formula": (formula, Noise()),
}


@pytest.mark.parametrize("case", list(CASES))
def test_another_process_says_the_same(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build, noise = CASES[case]
    here = simulated(build(), noise, 1e-7)
    monkeypatch.setattr(apart, "LONG_WORK", 0)
    there = simulated(build(), noise, 1e-7)
    same = pytest.approx(dict(here["results"].items()), rel=1e-12)  # sums in another order
    assert dict(there["results"].items()) == same
    for key in ("physical_perf", "logical_perf"):
        assert there[key] == pytest.approx(here[key], rel=1e-12)


@pytest.mark.parametrize(("modes", "number"), [(20, 10), (24, 12), (24, 8), (20, 20)])
@pytest.mark.parametrize("noise", [Noise(), NOISE], ids=["ideal", "noisy"])
def test_too_many_outcomes_are_refused_before_any_is_made(modes: int, number: int, noise: Noise) -> None:
    with pytest.raises(ConfigError, match=rf"{number} photons have {math.comb(modes + number - 1, number)} outcomes"):
        simulated(experiment(modes, photons(number, modes)), noise, 1e-7)


def test_noise_losses_and_terms_are_work() -> None:
    plain = work_of(experiment(4, photons(3, 4)), Noise())
    assert plain == math.comb(6, 3)
    assert work_of(experiment(4, photons(3, 4)), NOISE) > 8 * plain
    assert work_of(experiment(4, photons(3, 4), pcvl.LC(0.1)), Noise()) == math.comb(7, 3)
    mixed = pcvl.SVDistribution({pcvl.StateVector("|1,0>"): 0.5, pcvl.StateVector("|2,1>"): 0.5})
    assert work_of(experiment(2, mixed), Noise()) == 2 * math.comb(4, 3)
    with pytest.raises(ConfigError, match="with all that their source emits"):
        work_of(experiment(12, photons(9, 12)), NOISE)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory are Linux's")
def test_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "LONG_WORK", 0)
    monkeypatch.setattr(apart, "_COMMAND", [sys.executable, "-c", LIMITED])
    with pytest.raises(ConfigError, match=r"ended early \(.*MemoryError.*\)\. Use fewer"):
        simulated(experiment(4, photons(3, 4)), Noise(), 1e-7)


LIMITED = """
from qpu_sdk.emulator import apart
apart.MEMORY = 2**31
apart._by_perceval = lambda *asked: bytearray(2**32)
apart.main()
"""


def test_time_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "LONG_WORK", 0)
    monkeypatch.setattr(apart, "TIME_S", 0.2)
    monkeypatch.setattr(apart, "_COMMAND", [sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(ConfigError, match=r"longer than 0\.2 s"):
        simulated(experiment(4, photons(3, 4)), Noise(), 1e-7)
