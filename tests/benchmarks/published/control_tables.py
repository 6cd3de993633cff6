"""Runs beside their controls: ablation, compression, and what is better than published."""

from __future__ import annotations

from collections.abc import Mapping

from tests.benchmarks.published.tables import Group, cell, difference, markdown, paired, spread
from tests.benchmarks.published.values import PRUNED, SHARED

#: Controls of the ablation, in the order of the table, and what each is called there.
ABLATION = {
    "frozen_random": "p frozen random",
    "constant": "p constant",
    "untrained_circuits": "untrained circuits",
    "fresh_random": "fresh random p and index at every call (void)",
    "random_subspace": "random subspace",
    "small_network": "small network",
    "pruned": "pruned",
    "hashed": "hashed weights",
    "low_rank": "low rank",
    "weight_sharing": "weight sharing",
    "plain_network": "plain network, all weights",
}


def ablation_table(named: Mapping[str, Group], exact: Mapping[str, Group]) -> str:
    """Runs beside their controls: means, and the run minus the control with its 95 % interval.

    :param named: runs by what they are called.
    :param exact: the same runs without SPSA.
    """
    head = ["", "numbers", "seeds", "test %", "trained circuits minus this, points (95 %)", "t10k %", "the same there"]
    rows = []
    for name, group in named.items():
        told = f"**{name}: trained circuits**"
        rows.append([told, f"{group.first['parameters']:,}", str(len(group.rows)), f"**{cell(group.figure('test'))}**"])
        rows[-1] += ["", f"**{cell(group.figure('second'))}**", ""]
        if (other := exact.get(name)) is not None:
            rows.append(_exact_row(group, other))
        rows += [row for control, title in ABLATION.items() if (row := _control_row(group, control, title))]
    return markdown(head, rows)


#: The standard controls.
STANDARD = ("frozen_random", "constant", "random_subspace", "small_network", "plain_network")


def better_table(named: Mapping[str, Group]) -> str:
    """Runs beside the standard controls that were trained, on both test sets."""
    head = ["", "weights", "numbers", "settings", "seeds", "test set", "**ours %**", *(ABLATION[c] for c in STANDARD)]
    rows = []
    for name, group in named.items():
        first = group.first
        told = [name, f"{first['weights']:,}", f"{first['parameters']:,}", str(first["settings"]), str(len(group.rows))]
        for own, table, title in (("test", "controls", "600"), ("second", "second_controls", "t10k")):
            found = [cell(group.control(control, table)) for control in STANDARD]
            rows.append([*told, title, f"**{cell(group.figure(own))}**", *found])
            told = [""] * len(told)
    return markdown(head, rows)


def _exact_row(group: Group, other: Group) -> list[str]:
    """The same runs without SPSA."""
    cells = ["by exact gradients alone", f"{other.first['parameters']:,}", str(len(other.rows))]
    for key in ("test", "second"):
        own, theirs = ({row["seed"]: row[key] for row in one.rows} for one in (group, other))
        cells += [cell(other.figure(key)), difference(paired(own, theirs))]
    return cells


def _control_row(group: Group, control: str, title: str) -> list[str]:
    found = group.control(control)
    if found is None:
        return []
    minus, second = group.minus(control), group.minus(control, "second_controls", "second")
    return [
        title,
        f"{group.numbers(control) or 0:,}",
        str(len(found.values)),
        cell(found),
        difference(minus),
        cell(group.control(control, "second_controls")),
        difference(second),
    ]


def compression_table(named: Mapping[str, Group]) -> str:
    """Methods of compression by the numbers that they train, ours and what was published of them."""
    methods = ("random_subspace", "small_network", "pruned", "hashed", "low_rank", "weight_sharing")
    head = ["numbers", "generator", *(ABLATION[name] for name in methods)]
    rows = []
    for group in sorted(named.values(), key=lambda group: group.first["parameters"]):
        found = [group.control(name) for name in methods]
        if any(found):
            sizes = [group.numbers(name) for name in methods]
            cells = [
                "" if f is None else f"{spread(f)}{'' if n == group.first['parameters'] else f' ({n:,})'}"
                for f, n in zip(found, sizes, strict=True)
            ]
            rows.append([f"{group.first['parameters']:,}", cell(group.figure("test")), *cells])
    published = [f"pruned to {n:,}: {mean:.2f} ± {sd:.2f}" for n, (mean, sd) in PRUNED.items()]
    shared = [f"{n:,}: {mean:.2f} ± {sd:.2f}" for n, (mean, sd) in SHARED.items()]
    return f"{markdown(head, rows)}\n\nPublished: {', '.join(published)}; weight sharing with {', '.join(shared)}."
