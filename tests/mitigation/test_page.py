"""Rows, figure and page of a distribution: what was done, what it is worth, and nothing from outside."""

from __future__ import annotations

import re

import numpy as np
import pytest

from qpu_sdk.mitigation.distribution import Diagnostics, Distribution, StepReport
from qpu_sdk.mitigation.page import (
    MOST_BARS,
    MOST_ROWS,
    distribution_figure,
    distribution_page,
    distribution_rows,
    draw_distribution,
    outcome_names,
    shift,
)
from qpu_sdk.mitigation.selection import post_select
from qpu_sdk.mitigation.uncertainty import Multinomial
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.fock import collision_free_outcomes, occupations
from tests.runs.test_page import NASTY, read


def counts(modes: int = 5, photons: int = 2) -> Counts:
    outcomes = occupations(collision_free_outcomes(modes, photons), modes)
    numbers = np.random.default_rng(1).integers(0, 50, len(outcomes))
    return Counts(photons=photons, outcomes=outcomes, numbers=numbers, program="f" * 64)


def mitigated(modes: int = 5, photons: int = 2, why: str = "because") -> Distribution:
    """The raw distribution mixed with the uniform one."""
    raw = post_select(counts(modes, photons))
    p = 0.5 * raw.probabilities + 0.5 / len(raw.probabilities)
    return Distribution(
        probabilities=p,
        samples=raw.samples,
        shots=raw.shots,
        uncertainty=Multinomial(p, 500),
        history=(StepReport("unfold", True, why), StepReport("fuse", False, "no circuit")),
        diagnostics=Diagnostics(12.5, 9, 0.19, 3, 0.25, 0.011, 0.004),
        record_id="0123456789abcdef",
        raw=raw.raw,
    )


def test_rows_say_what_was_done_and_what_it_is_worth() -> None:
    found = mitigated()
    rows = dict(distribution_rows(found))
    assert rows["unfold"] == "because"
    assert rows["fuse"] == "not used: no circuit"
    assert rows["record"] == "0123456789abcdef"
    assert rows["samples"].startswith(f"{found.samples:,} ")
    assert f"{found.effective_samples:,.1f}" in rows["effective samples"]
    assert f"{shift(found):.4f}" in rows["shift"]
    assert rows["fit"] == "chi-square 12.5 on 9 degrees of freedom, p = 0.19"
    assert rows["background"].startswith("25.0 %")
    assert rows["phase error"] == "0.011 rad"
    assert rows["negative mass"].startswith("0.00400")


def test_rows_name_the_most_probable_outcomes_with_their_intervals() -> None:
    found = mitigated(6, 3)
    rows = [(name, value) for name, value in distribution_rows(found) if name.startswith("p(")]
    best = np.argsort(-found.probabilities, kind="stable")[:MOST_ROWS]
    modes = collision_free_outcomes(6, 3)
    assert [name for name, _ in rows] == [f"p({','.join(map(str, modes[k].tolist()))})" for k in best]
    low, high = found.interval(0.95)
    for (_, value), k in zip(rows, best, strict=True):
        assert value.startswith(f"{found.probabilities[k]:.5f} +- {found.standard_errors[k]:.5f}, ")
        assert value.endswith(f"{low[k]:.5f}..{high[k]:.5f}")
    rest = dict(distribution_rows(found))["10 others"]
    assert float(rest.split()[0]) == pytest.approx(1.0 - found.probabilities[best].sum(), abs=1e-5)


def test_few_outcomes_are_all_shown() -> None:
    names = [name for name, _ in distribution_rows(mitigated(3, 2))]
    assert sum(name.startswith("p(") for name in names) == 3
    assert not any("others" in name for name in names)


def test_a_distribution_without_counts_numbers_its_outcomes() -> None:
    found = Distribution(probabilities=np.array([1.0, 0.0]), samples=10, shots=20)
    assert outcome_names(found) == ["0", "1"]
    assert shift(found) is None
    rows = dict(distribution_rows(found))
    assert rows["effective samples"].startswith("unlimited")
    assert "shift" not in rows
    assert distribution_figure(found).startswith("<svg")


def test_the_figure_has_bars_of_both_and_their_difference() -> None:
    found = mitigated()
    bars, below = draw_distribution(found).axes
    raw, mine = (
        np.array([bar.get_height() for bar in container]) for container in bars.containers if len(container) == 10
    )
    np.testing.assert_allclose(raw, post_select(counts()).probabilities)
    np.testing.assert_allclose(mine, found.probabilities)
    np.testing.assert_allclose(below.lines[0].get_ydata(), mine - raw)
    assert [t.get_text() for t in below.get_xticklabels()] == outcome_names(found)


def test_of_many_outcomes_the_most_probable_are_drawn_in_order() -> None:
    found = mitigated(9, 4)
    _, below = draw_distribution(found).axes
    names = [t.get_text() for t in below.get_xticklabels()]
    best = sorted(np.argsort(-found.probabilities, kind="stable")[:MOST_BARS])
    assert names == [outcome_names(found)[k] for k in best]
    assert f"the {MOST_BARS} most probable of 126" in below.get_xlabel()


def test_page_is_well_formed_and_loads_nothing() -> None:
    text = distribution_page(f"Mitigation of {NASTY}", [mitigated(why=NASTY), mitigated(4, 1)])
    reader = read(text)
    assert {"table", "svg", "h1", "h2"} <= reader.tags
    assert not {"script", "link", "iframe", "img", "object", "embed"} & reader.tags
    assert NASTY in reader.text
    assert "counts 2 of 2, program ffffffffffff" in reader.text
    assert not re.search(r"url\((?!#)", text)


def test_equal_distributions_give_equal_figures_but_for_names_of_elements() -> None:
    one, other = (re.sub(r'(id="|#)[^"\s)]*', "", distribution_figure(mitigated())) for _ in range(2))
    assert one == other
