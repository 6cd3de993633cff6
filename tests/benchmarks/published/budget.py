"""Accuracy against circuit settings, shots and machine time: this schedule and the published one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.benchmarks.published.tables import Group, cell, groups, markdown
from tests.benchmarks.published.values import SETTINGS, SHOTS

#: Of one setting on a machine, whatever its shots.
SECONDS_A_SETTING = 15.0


def budget_table(found: Mapping[str, Any]) -> str:
    """A row a budget."""
    head = ["SPSA steps a round", "settings", "shots a setting", "shots a run", "machine time, h", "seeds", "test %"]
    rows = []
    for name, group in groups(found).items():
        first = group.first
        steps, shots = (part.split()[0] for part in name.split(", "))
        hours = f"{first['settings'] * SECONDS_A_SETTING / 3600:.2f}"
        cells = [steps, str(first["settings"]), f"{int(shots):,}", f"{first['shots']:,}", hours, str(len(group.rows))]
        rows.append([*cells, cell(group.figure("test")), cell(group.figure("second"))])
    return markdown([*head, "t10k %"], rows)


def cobyla_table(found: Mapping[str, Any]) -> str:
    """A row a round, means over seeds; the last is what all rounds would take."""
    head = ["round", "settings", "shots", "machine time, h", "seeds", "test %", "t10k %"]
    rows = []
    for number, group in by_round(found).items():
        first = group.first
        cells = [str(number), f"{first['settings']:,}", f"{first['shots']:.3g}", f"{first['machine_h']:.1f}"]
        rows.append([*cells, str(len(group.rows)), cell(group.figure("test")), cell(group.figure("second"))])
    hours = SETTINGS * SECONDS_A_SETTING / 3600
    rows.append(["200 (extrapolated)", f"{SETTINGS:,}", f"{SHOTS:.3g}", f"{hours:,.0f}", "", "not run", ""])
    return markdown(head, rows)


def by_round(found: Mapping[str, Any]) -> dict[int, Group]:
    """Rows of all seeds that came so far."""
    numbers = sorted({row["round"] for row in found["rows"]})
    return {n: Group(tuple(row for row in found["rows"] if row["round"] == n)) for n in numbers}


def cost_lines(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Both schedules in a sentence."""
    last = list(by_round(found["cobyla"]).values())[-1].first
    return (
        f"After {last['settings']:,} settings ({last['machine_h']:.0f} h of a machine) the published schedule is where "
        "the table says; the whole of it would take "
        f"{SETTINGS * SECONDS_A_SETTING / 86400:.0f} days. The schedule here asks 102 settings, 26 minutes."
    )
