"""Costs, rates and limits: no submission passes a limit, and the message says what would be enough."""

from __future__ import annotations

import re
from dataclasses import astuple, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_sdk.devices.base import DeviceSpec
from qpu_sdk.devices.budget import UNLIMITED, Budget, Cost, Rates
from qpu_sdk.devices.machines import ASSUMED, FREE, rates_of
from qpu_sdk.errors import BudgetExceeded, ConfigError
from qpu_sdk.training.config_file import load_config
from qpu_sdk.training.device_config import BudgetConfig

NAMES = [field.name for field in fields(Budget)]
WHOLE = st.integers(0, 10**12)
REAL = st.floats(0, 1e12, allow_subnormal=False)
COSTS = st.builds(Cost, settings=WHOLE, shots=WHOLE, credits=REAL, jobs=WHOLE, seconds=REAL)


def spec(*, rates: Rates) -> DeviceSpec:
    return DeviceSpec("lab", 8, 4, rates=rates)


@given(COSTS, COSTS)
def test_costs_add_up_field_by_field(one: Cost, other: Cost) -> None:
    assert astuple(one + other) == tuple(a + b for a, b in zip(astuple(one), astuple(other), strict=True))
    assert one + Cost() == one
    assert one + other == other + one


def test_limits_and_costs_have_the_same_fields() -> None:
    assert [field.name for field in fields(Cost)] == NAMES


@given(
    settings=st.integers(1, 1000),
    shots=st.integers(1, 10**7),
    credits=st.floats(0, 1e-3),
    seconds=st.floats(0, 100),
)
def test_a_job_costs_its_shots_and_its_settings(settings: int, shots: int, credits: float, seconds: float) -> None:
    cost = Rates(credits, seconds).cost(settings=settings, shots=shots)
    assert (cost.settings, cost.shots, cost.jobs) == (settings, settings * shots, 1)
    assert cost.credits == pytest.approx(settings * shots * credits, abs=1e-9)
    assert cost.seconds == pytest.approx(settings * seconds)


def test_simulators_are_free_and_qpus_are_not() -> None:
    assert rates_of("sim:lab", simulated=True) == FREE == Rates(0.0, 0.0)
    assert rates_of("qpu:lab", simulated=False) == ASSUMED.rates


@pytest.mark.parametrize("rates", [FREE, ASSUMED.rates])
def test_own_rates_replace_the_devices_one_by_one(rates: Rates) -> None:
    device = spec(rates=rates)
    assert BudgetConfig().rates(device) == rates
    assert BudgetConfig(credits_per_shot=0.5).rates(device) == replace(rates, credits_per_shot=0.5)
    own = BudgetConfig(seconds_per_setting=0.0).rates(device)  # a zero is a figure, not a gap
    assert own == replace(rates, seconds_per_setting=0.0)


@pytest.mark.parametrize("name", NAMES)
def test_what_just_fits_passes_and_one_more_does_not(name: str) -> None:
    budget = Budget(**{name: 3})
    budget.check(Cost(**{name: 2}), Cost(**{name: 1}))
    with pytest.raises(BudgetExceeded) as caught:
        budget.check(Cost(**{name: 3}), Cost(**{name: 1}))
    assert str(caught.value) == (
        f"the next job takes 1 {name}; 3 of 3 (budget.{name}) are spent or reserved. "
        f"Go on with more: --set budget.{name}=4."
    )
    others = Cost(**dict.fromkeys(set(NAMES) - {name}, 10**6))
    budget.check(others, others)


def test_no_limit_limits_nothing() -> None:
    huge = Cost(10**12, 10**15, 1e12, 10**12, 1e12)
    UNLIMITED.check(huge, huge)


@pytest.mark.parametrize("name", NAMES)
def test_zero_is_a_limit_and_less_is_refused(name: str) -> None:
    Budget(**{name: 0}).check(Cost(), Cost())
    with pytest.raises(BudgetExceeded):
        Budget(**{name: 0}).check(Cost(), Cost(**{name: 1}))
    with pytest.raises(ConfigError, match=rf"budget\.{name} is -1"):
        Budget(**{name: -1})


def test_sums_of_cents_do_not_pass_a_limit_by_rounding() -> None:
    spent = sum((Cost(credits=0.1) for _ in range(9)), Cost())
    Budget(credits=1.0).check(spent, Cost(credits=0.1))


@given(spent=COSTS, more=COSTS, name=st.sampled_from(NAMES))
def test_the_suggested_limit_is_enough(spent: Cost, more: Cost, name: str) -> None:
    limit = getattr(spent, name)
    try:
        Budget(**{name: limit}).check(spent, more)
    except BudgetExceeded as error:
        message = str(error)
    else:
        return
    [suggestion] = re.findall(r"--set (\S+)\.$", message)
    raised = load_config(overrides=[suggestion]).budget.limits
    replace(UNLIMITED, **{name: getattr(raised, name)}).check(spent, more)
    assert getattr(raised, name) <= getattr(spent + more, name) * 1.00001  # and hardly more than that
