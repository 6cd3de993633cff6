"""The plan: what it says a run takes is what the run takes, and what it suggests works."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_sdk.devices.base import Device, DeviceSpec, Job
from qpu_sdk.devices.budget import Cost, Rates
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.machines import ASSUMED, FREE
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.errors import BudgetExceeded, ConfigError
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program
from qpu_sdk.runs.device_figures import Figures, device_figures
from qpu_sdk.runs.plan import DRAWS, ENOUGH_EVENTS, FEWEST_EVENTS, Plan, full_share, plan_run
from qpu_sdk.runs.tables import plan_rows
from qpu_sdk.seeds import child_seed
from qpu_sdk.training.config import RunConfig
from qpu_sdk.training.schedule import Schedule
from tests.training import tiny

SPEC = DeviceSpec("lab", 24, 12)


def figures(transmittance: float = 1.0, *, rates: Rates = FREE, jobs_of: int | None = None, **spec: Any) -> Figures:
    return Figures(replace(SPEC, settings_per_job=jobs_of, **spec), rates, transmittance, "the test")


def planned(config: RunConfig, one: Figures) -> Plan:
    return plan_run(config, dict.fromkeys(config.device_names, one))


# -- what a run takes --------------------------------------------------------------------------------------


class Recording(Device):
    """A local device with a limit of programs in a job, which counts its jobs."""

    def __init__(self, name: str, limit: int | None) -> None:
        self._inner = LocalDevice(seed=3)
        self.spec = DeviceSpec(name, 64, 16, max_programs=limit)
        self.jobs: list[int] = []

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        self.jobs.append(len(programs))
        return self._inner.submit(programs, shots=shots, tag=tag)


@pytest.mark.parametrize("limit", [1, 3, 4, 100, None])
@pytest.mark.parametrize("names", [("fake:a", "fake:a"), ("fake:a", "fake:b")])
def test_jobs_and_costs_of_each_device_are_those_of_a_run(names: tuple[str, str], limit: int | None) -> None:
    config = tiny.config(
        qnn=[{"modes": 4, "photons": 2, "device": name} for name in names],
        budget={"credits_per_shot": 1e-3, "seconds_per_setting": 2.0},
    )
    devices = {name: Recording(name, limit) for name in dict.fromkeys(names)}
    run = tiny.training(config, devices=dict(devices))
    for _ in run.run(run.init()):
        pass
    plan = plan_run(config, {n: figures(rates=config.budget.rates(d.spec), jobs_of=limit) for n, d in devices.items()})
    assert [d.device for d in plan.devices] == list(devices)
    for one, device in zip(plan.devices, devices.values(), strict=True):
        assert (one.cost.jobs, one.cost.settings) == (len(device.jobs), sum(device.jobs))
    spent, total = run.bank.spent, plan.total
    assert (spent.settings, spent.shots, spent.jobs) == (total.settings, total.shots, total.jobs)
    assert (spent.credits, spent.seconds) == (pytest.approx(total.credits), pytest.approx(total.seconds))
    assert (total.settings, total.shots) == (run.schedule.settings, run.schedule.shots)


def test_devices_work_side_by_side() -> None:
    qnns = [{"modes": 4, "photons": 2, "device": name} for name in ("fake:a", "fake:b")]
    known = {"fake:a": figures(rates=Rates(0.0, 2.0)), "fake:b": figures(rates=Rates(0.0, 5.0))}
    plan = plan_run(tiny.config(qnn=qnns), known)
    a, b = (device.cost.seconds for device in plan.devices)
    assert (plan.wall_s, plan.total.seconds) == (b, a + b)
    assert b == 2.5 * a


def test_kinds_of_settings_add_up_to_all_of_them() -> None:
    config = tiny.config()
    plan = planned(config, figures())
    assert {row.kind: row.shots for row in plan.settings} == {
        "measurement": 2000,
        "spsa": 1000,
        "last measurement": 5000,
    }
    assert sum(row.settings for row in plan.settings) == plan.total.settings
    assert sum(row.settings * row.shots for row in plan.settings) == plan.total.shots


def test_rows_for_people_name_every_device_and_kind() -> None:
    text = "\n".join(f"{name}  {value}" for name, value in plan_rows(planned(tiny.config(), figures(0.5))))
    for words in (
        "local:slos",
        "transmittance 0.5 (the test)",
        "measurement:",
        "spsa:",
        "last measurement:",
        "at most",
    ):
        assert words in text


# -- physics -----------------------------------------------------------------------------------------------


def simulated(config: RunConfig, index: int, eta: float, shots: int) -> Any:
    """Counts of the circuit that the plan takes as typical: the one of its draws with the middle number of events."""
    qnn = config.qnn[index]
    mesh = qnn.open_mesh()
    draws = np.random.default_rng(child_seed(config.seed, "plan", index)).uniform(0, 2 * np.pi, (DRAWS, mesh.declared))
    programs = [Program(mesh, phases, qnn.inputs) for phases in draws]
    model = LocalModel(noise=Noise(transmittance=eta), detector="pnr")
    counts = LocalDevice(seed=5, model=model).submit(programs, shots=shots).result()
    return sorted(counts, key=lambda c: int(c.collision_free().sum()))[DRAWS // 2]


@pytest.mark.parametrize(("photons", "eta"), [(1, 0.01), (2, 0.05), (2, 0.6), (3, 0.3), (4, 0.9), (3, 1.0)])
def test_the_share_of_full_shots_is_that_of_a_lossy_device(photons: int, eta: float) -> None:
    config, shots = tiny.config(qnn=[{"modes": 6, "photons": photons}] * 2), 400_000
    share, counts = full_share(photons, eta), simulated(config, 0, eta, shots)
    assert abs(counts.events - shots * share) <= 5 * (shots * share * (1 - share)) ** 0.5


@given(photons=st.integers(1, 12), eta=st.floats(1e-9, 1.0))
def test_the_share_is_a_probability_and_exact_for_weak_light(photons: int, eta: float) -> None:
    share = full_share(photons, eta)
    assert 0.0 < share <= 1.0
    if eta < 1e-6:
        assert share == pytest.approx(eta ** (photons - 1) / photons, rel=1e-5)
    if photons == 1:
        assert share == pytest.approx(1.0)


@pytest.mark.parametrize("eta", [0.1, 0.4])
def test_planned_events_are_those_of_a_lossy_device(eta: float) -> None:
    shots = 400_000
    config = tiny.config(
        qnn=[{"modes": 5, "photons": 2}, {"modes": 6, "photons": 3}],
        training={"rounds": 0, "final_shots": shots},
    )
    for row in planned(config, figures(eta)).settings:
        seen = simulated(config, row.qnn, eta, shots).collision_free().sum()
        assert abs(seen - row.events) <= 5 * row.events**0.5


# -- what stands in the way --------------------------------------------------------------------------------

SHOTS_OF = {
    "measurement": ("training", "shots"),
    "spsa": ("spsa", "shots"),
    "last measurement": ("training", "final_shots"),
}


def with_enough_shots(config: RunConfig, problems: tuple[str, ...]) -> RunConfig:
    tree = config.model_dump(mode="json")
    for problem in problems:
        kind, shots = re.findall(r"^qnn \d, ([a-z ]+):.*Use ([\d,]+) shots", problem)[0]
        table, key = SHOTS_OF[kind]
        tree[table][key] = max(int(shots.replace(",", "")), tree[table][key])
    return RunConfig.model_validate(tree)


def with_other_circuits(config: RunConfig, problems: tuple[str, ...]) -> RunConfig:
    tree = config.model_dump(mode="json")
    for problem in problems:
        [(qnn, photons, modes)] = re.findall(r"^qnn (\d).* or (\d+) photons in (\d+) modes\.$", problem)
        if int(photons) < tree["qnn"][int(qnn)]["photons"]:  # the poorest kind of setting decides
            tree["qnn"][int(qnn)] |= {"photons": int(photons), "modes": int(modes)}
    return RunConfig.model_validate(tree)


LOSSY = tiny.config(
    qnn=[{"modes": 9, "photons": 4}, {"modes": 8, "photons": 4}],
    training={"shots": 100_000, "final_shots": 1_000_000},
    spsa={"shots": 50_000},
)


@pytest.mark.parametrize("transmittance", [0.0244, 0.0484])
@pytest.mark.parametrize("apply", [with_enough_shots, with_other_circuits])
def test_too_few_events_come_with_a_way_that_works(apply: Any, transmittance: float) -> None:
    plan = planned(LOSSY, figures(transmittance))
    poor = [row for row in plan.settings if row.events < FEWEST_EVENTS]
    assert len(plan.problems) == len(poor) > 0
    assert all(f"at transmittance {transmittance:g}" in problem for problem in plan.problems)
    changed = apply(LOSSY, plan.problems)
    assert planned(changed, figures(transmittance)).problems == ()
    poorest = min(row.events for row in planned(changed, figures(transmittance)).settings)
    assert poorest >= (ENOUGH_EVENTS if apply is with_enough_shots else FEWEST_EVENTS)
    outcomes = [(one.open_mesh().modes, one.photons) for one in changed.qnn]
    assert all(modes <= SPEC.max_modes for modes, _ in outcomes)


def test_without_loss_nothing_stands_in_the_way() -> None:
    assert planned(LOSSY, figures()).problems == ()


def test_circuits_that_do_not_fit_are_told_with_their_limits() -> None:
    problems = planned(LOSSY, figures(max_modes=8, max_photons=3)).problems
    assert problems == (
        "qnn 0 has 9 modes; lab has 8. Use 8 modes or fewer.",
        "qnn 0 has 4 photons; lab has 3. Use 3 photons or fewer.",
        "qnn 1 has 4 photons; lab has 3. Use 3 photons or fewer.",
    )


def test_more_shots_than_the_device_takes_are_told() -> None:
    problems = planned(tiny.config(), figures(max_shots=1500)).problems
    assert len(problems) == 4
    assert all("shots; lab has 1500" in problem for problem in problems)
    assert planned(tiny.config(), figures(max_shots=5000)).problems == ()


@pytest.mark.parametrize("name", ["settings", "shots", "credits", "jobs", "seconds"])
def test_a_run_over_its_budget_is_told_with_what_would_do(name: str) -> None:
    own = {"credits_per_shot": 1.2345678e-6, "seconds_per_setting": 14.7}
    one = figures(rates=Rates(1.2345678e-6, 14.7), jobs_of=3)
    total = planned(tiny.config(budget=own), one).total
    less = getattr(total, name) - 1 if name in ("settings", "shots", "jobs") else 0.9 * getattr(total, name)
    [problem] = planned(tiny.config(budget=own | {name: less}), one).problems
    assert "does not fit the budget" in problem
    [enough] = re.findall(rf"--set budget\.{name}=(\S+)\.$", problem)
    assert planned(tiny.config(budget=own | {name: float(enough)}), one).problems == ()


@pytest.mark.parametrize("name", ["settings", "shots"])
def test_the_check_before_a_run_suggests_what_is_needed(name: str) -> None:
    def check(limit: int) -> None:
        Schedule.of(tiny.config()).check(tiny.config(budget={name: limit}).budget)

    with pytest.raises(BudgetExceeded) as caught:
        check(1)
    [enough] = re.findall(rf"--set budget\.{name}=(\d+)\.$", str(caught.value))
    check(int(enough))
    with pytest.raises(BudgetExceeded, match=rf"the run needs {enough} {name}; budget.{name} allows {int(enough) - 1}"):
        check(int(enough) - 1)


# -- what is known of devices ------------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection is made")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("PCVL_CLOUD_TOKEN", raising=False)


@pytest.mark.parametrize(
    ("device", "modes", "photons", "transmittance", "rates"),
    [
        ("quandela:qpu:belenos", 24, 12, 0.0484, ASSUMED.rates),
        ("quandela:sim:belenos", 24, 12, 0.0484, FREE),
        ("quandela:qpu:ascella?poll_s=5", 12, 6, 0.0244, ASSUMED.rates),
        ("quandela:qpu:altair", 20, 10, 0.06, ASSUMED.rates),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_published_figures_need_no_network(
    device: str, modes: int, photons: int, transmittance: float, rates: Rates
) -> None:
    found = device_figures(tiny.config(device=device), device, offline=True)
    detector = "ppnr:6" if "qpu:belenos" in device else "threshold"
    assert (found.spec.max_modes, found.spec.max_photons, found.transmittance) == (modes, photons, transmittance)
    assert (found.rates, found.spec.settings_per_job, found.spec.detector) == (rates, 20, detector)
    assert found.source


@pytest.mark.usefixtures("no_network")
def test_local_figures_are_the_simulators_own() -> None:
    device = "local:slos?brightness=0.5&transmittance=0.4"
    found = device_figures(tiny.config(device=device), device, offline=False)
    assert (found.transmittance, found.spec.settings_per_job, found.rates) == (pytest.approx(0.2), None, FREE)


@pytest.mark.parametrize("device", ["quandela:qpu:nowhere", "quandela:sim:ideal"])
@pytest.mark.usefixtures("no_network")
def test_what_nobody_published_is_told(device: str) -> None:
    with pytest.raises(ConfigError, match=r"nothing is published of.*belenos.*without --offline"):
        device_figures(tiny.config(device=device), device, offline=True)


@pytest.mark.parametrize("option", ["settings_per_job=many", "settings_per_job=0", "colour=red"])
@pytest.mark.usefixtures("no_network")
def test_wrong_options_are_told_offline_too(option: str) -> None:
    device = f"quandela:qpu:belenos?{option}"
    with pytest.raises(ConfigError, match=option.partition("=")[0]):
        device_figures(tiny.config(device=device), device, offline=True)


@pytest.mark.usefixtures("no_network")
def test_options_change_the_number_of_jobs() -> None:
    costs: list[Cost] = []
    for limit in (1, 2):
        device = f"quandela:qpu:belenos?settings_per_job={limit}"
        config = tiny.config(device=device)
        costs.append(planned(config, device_figures(config, device, offline=True)).total)
    assert costs[0].jobs == costs[0].settings == 2 * costs[1].jobs
