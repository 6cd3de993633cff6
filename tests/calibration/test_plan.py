"""The plan: few settings, each the circuit it is named after, together enough to tell every parameter apart."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from qpu_sdk.arrays import ComplexArray, FloatArray
from qpu_sdk.calibration.plan import MOST_SHIFTS, CalibrationSetting, calibration_plan
from qpu_sdk.errors import CalibrationError

MOST_SETTINGS = 12
SIZES = [(2, (0, 1)), (3, (0, 2)), (4, (1, 2, 3)), (5, (0, 1, 2, 3, 4)), (6, (0, 2, 5)), (9, (0, 2, 5, 8))]
SIZES += [(12, tuple(range(0, 12, 2))), (24, (0, 23)), (24, tuple(range(12)))]


def unitary(setting: CalibrationSetting) -> ComplexArray:
    program = setting.program
    return np.asarray(program.mesh.columns(program.phases, tuple(range(program.modes))))


def arrivals(setting: CalibrationSetting) -> FloatArray:
    """Probability that the photon of an input leaves from a mode, ``(M, N)``."""
    program = setting.program
    return np.asarray(np.abs(program.mesh.columns(program.phases, program.input_modes)) ** 2)


def named(plan: tuple[CalibrationSetting, ...], name: str) -> list[CalibrationSetting]:
    return [setting for setting in plan if setting.name.startswith(name)]


@pytest.mark.parametrize("inputs", [*itertools.combinations(range(9), 4)][::9])
def test_nine_modes_and_four_inputs_take_at_most_twelve_settings(inputs: tuple[int, ...]) -> None:
    plan = calibration_plan(9, inputs, seed=1)
    assert len(plan) <= MOST_SETTINGS
    assert len({setting.name for setting in plan}) == len(plan)
    assert Counter(s.role for s in plan) == {"fit": len(plan) - 3, "validation": 2, "drift": 1}


@pytest.mark.parametrize(("modes", "inputs"), SIZES)
def test_circuits_of_every_size_are_unitary_and_what_they_are_named_after(modes: int, inputs: tuple[int, ...]) -> None:
    plan = calibration_plan(modes, inputs, seed=1)
    for setting in plan:
        u = unitary(setting)
        np.testing.assert_allclose(u @ u.conj().T, np.eye(modes), atol=1e-10)
    for shift in named(plan, "shift"):
        goes = [(int(shift.name.split()[1]) + a) % modes for a in range(len(inputs))]
        np.testing.assert_allclose(arrivals(shift), np.eye(modes)[:, goes], atol=1e-12)
    for fan in named(plan, "fan"):
        np.testing.assert_allclose(arrivals(fan), 1.0 / modes, atol=1e-12)
    for setting in named(plan, "splitters"):
        halves = np.zeros((modes, setting.program.photons))
        for a in range(setting.program.photons):
            halves[2 * a : 2 * a + 2, a] = 0.5
        np.testing.assert_allclose(arrivals(setting), halves, atol=1e-12)
    together = itertools.chain.from_iterable(s.program.input_modes for s in named(plan, "splitters"))
    assert sorted(together) == list(inputs)


@pytest.mark.parametrize(("modes", "inputs"), SIZES)
def test_every_pair_of_inputs_meets_once_on_a_balanced_splitter(modes: int, inputs: tuple[int, ...]) -> None:
    met: Counter[tuple[int, int]] = Counter()
    for setting in named(calibration_plan(modes, inputs, seed=1), "hom"):
        p = arrivals(setting)
        for a, b in itertools.combinations(range(len(inputs)), 2):
            if p[:, a] @ p[:, b] > 1e-9:
                met[inputs[a], inputs[b]] += 1
                np.testing.assert_allclose(p[list(inputs)][:, [a, b]][[a, b]], 0.5, atol=1e-12)
    assert met == dict.fromkeys(itertools.combinations(inputs, 2), 1)


@pytest.mark.parametrize(("modes", "inputs"), SIZES)
def test_shifts_link_all_inputs_and_modes(modes: int, inputs: tuple[int, ...]) -> None:
    """Else a group of transmissions could be scaled against a group of efficiencies."""
    plan = calibration_plan(modes, inputs, seed=1)
    told = named(plan, "shift") + named(plan, "fan")
    assert len(told) <= MOST_SHIFTS
    reached = {("input", 0)}
    links = [(("input", a), ("mode", int(i))) for s in told for i, a in np.argwhere(arrivals(s) > 1e-9)]
    for _ in links:
        reached |= {end for link in links if reached & set(link) for end in link}
    assert len(reached) == len(inputs) + modes


def test_the_repeat_is_the_first_circuit_under_another_fingerprint() -> None:
    first, *_, last = calibration_plan(6, (0, 2, 5), seed=1)
    assert last.role == "drift"
    assert last.program.fingerprint != first.program.fingerprint
    np.testing.assert_allclose(unitary(last), unitary(first), atol=1e-12)


def test_fingerprints_differ_so_that_every_setting_is_measured() -> None:
    for modes, inputs in SIZES:
        plan = calibration_plan(modes, inputs, seed=1)
        assert len({setting.program.fingerprint for setting in plan}) == len(plan)


def test_only_the_random_circuits_depend_on_the_seed() -> None:
    plans = [calibration_plan(6, (5, 0, 2), seed=seed) for seed in (1, 1, 2)]
    prints = [{s.name: s.program.fingerprint for s in plan} for plan in plans]
    assert prints[0] == prints[1]
    assert {name for name in prints[0] if prints[0][name] != prints[2][name]} == {"random 0", "random 1"}
    assert {s.name for s in plans[0] if s.role == "validation"} == {"random 0", "random 1"}


@pytest.mark.parametrize(("modes", "inputs"), [(4, ()), (4, (1,)), (4, (1, 1)), (4, (0, 4)), (4, (-1, 2)), (1, (0, 1))])
def test_inputs_that_are_not_two_distinct_modes_are_refused(modes: int, inputs: tuple[int, ...]) -> None:
    with pytest.raises(CalibrationError, match=r"^inputs .* are not two or more distinct modes of 0\.\.\d+\.$"):
        calibration_plan(modes, inputs, seed=1)
