"""Text, rows, figure and page of a distribution: what was done, what it is worth, and nothing from outside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.container import BarContainer

from qpu_sdk.errors import DataError
from qpu_sdk.mitigation.distribution import Diagnostics, Distribution, MethodReport
from qpu_sdk.mitigation.outcomes import LEVEL, MOST_BARS, MOST_ROWS, outcome_names
from qpu_sdk.mitigation.page import distribution_figure, distribution_page, distribution_rows, shift
from qpu_sdk.mitigation.selection import post_select
from qpu_sdk.mitigation.uncertainty import Multinomial
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.fock import collision_free_outcomes, occupations
from tests.runs.test_page import NASTY, read


def counts(modes: int = 5, photons: int = 2) -> Counts:
    outcomes = occupations(collision_free_outcomes(modes, photons), modes)
    numbers = np.random.default_rng(1).integers(0, 50, len(outcomes))
    return Counts(photons=photons, outcomes=outcomes, numbers=numbers, fingerprint="f" * 64)


def mitigated(modes: int = 5, photons: int = 2, why: str = "because") -> Distribution:
    """The raw distribution mixed with the uniform one."""
    raw = post_select(counts(modes, photons))
    p = 0.5 * raw.probabilities + 0.5 / len(raw.probabilities)
    return Distribution(
        probabilities=p,
        samples=raw.samples,
        shots=raw.shots,
        uncertainty=Multinomial(p, 500),
        method="unfold",
        history=(MethodReport("unfold", True, why), MethodReport("fuse", False, "no circuit")),
        diagnostics=Diagnostics(12.5, 9, 0.19, 3, 0.25, 0.011, 0.004),
        record_id="0123456789abcdef",
        raw=raw.raw,
    )


def test_rows_say_what_was_done_and_what_it_is_worth() -> None:
    found = mitigated()
    rows = dict(distribution_rows(found))
    assert rows["unfold"] == "because"
    assert rows["fuse"] == "not used: no circuit"
    assert rows["method"] == "unfold"
    assert rows["record"] == "0123456789abcdef"
    assert rows["samples"].startswith(f"{found.samples:,} ")
    assert f"{found.effective_samples:,.1f}" in rows["effective samples"]
    assert f"{shift(found):.4f}" in rows["shift"]
    assert rows["fit"] == "chi-square 12.5 on 9 degrees of freedom, p = 0.19"
    assert rows["background"].startswith("25.0 %")
    assert rows["phase error"] == "0.011 rad"
    assert rows["negative mass"].startswith("0.00400")


def test_few_events_are_a_warning_beside_the_verdict() -> None:
    found = mitigated()
    few = replace(found, samples=4, diagnostics=replace(found.diagnostics, verdict="They bear it."))
    assert distribution_rows(few)[:2] == [("warning", few.warning), ("verdict", "They bear it.")]
    text = distribution_page("few", [few])
    assert text.count(few.warning) == 1
    assert text.count("They bear it.") == 1


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
    assert found.shown().names == ["0", "1"]
    assert shift(found) is None
    rows = dict(distribution_rows(found))
    assert rows["effective samples"].startswith("10.0 events")
    assert "shift" not in rows
    assert distribution_figure(found).startswith("<svg")


def test_the_figure_has_bars_of_both_and_their_difference() -> None:
    found = mitigated()
    bars, below = found.draw().axes
    raw, mine = (
        np.array([bar.get_height() for bar in group]) for group in bars.containers if isinstance(group, BarContainer)
    )
    np.testing.assert_allclose(raw, post_select(counts()).probabilities)
    np.testing.assert_allclose(mine, found.probabilities)
    np.testing.assert_allclose(below.lines[0].get_ydata(), mine - raw)
    assert [t.get_text() for t in below.get_xticklabels()] == outcome_names(found.raw, 10)
    assert [t.get_text() for t in bars.get_legend().get_texts()] == ["post-select", "unfold"]
    assert [bars.get_ylabel(), below.get_ylabel()] == ["probability", "difference"]
    low, high = found.interval(LEVEL)
    drawn = np.array([[line[:, 1] for line in lines.get_segments()] for lines in bars.collections][1])
    np.testing.assert_allclose(drawn, np.column_stack([low, high]))


def test_what_is_post_selected_stands_alone() -> None:
    [bars] = post_select(counts()).draw().axes
    [group] = [group for group in bars.containers if isinstance(group, BarContainer)]
    assert len(group) == 10
    assert bars.get_legend() is None
    assert "by post-select" in bars.get_title(loc="left")


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".PNG"])
@pytest.mark.parametrize("found", [mitigated(), mitigated(9, 4), mitigated(3, 3), mitigated(14, 13)])
def test_figures_are_written_by_their_suffix(found: Distribution, suffix: str, tmp_path: Path) -> None:
    found.plot(tmp_path / f"one{suffix}")
    found.plot(str(tmp_path / f"other{suffix}"))
    one, other = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "other"))
    assert one.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix.lower()])
    assert suffix == ".svg" or one == other  # names of SVG's elements are drawn at random
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("p.jpeg", "jpeg is no kind of figure. Use .png, .svg or .pdf."),
        ("p", "no suffix is no kind of figure"),
        ("none/p.png", "No such file or directory"),
        ("folder.png", "Is a directory"),
        ("a\0b.png", "which is no path"),
        ("x" * 300 + ".png", "name too long"),
    ],
)
def test_figures_that_cannot_be_written_are_one_line(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match=r"cannot (write|draw)") as caught:
        mitigated().plot(tmp_path / name)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_figures_need_no_display_and_leave_nothing_behind(tmp_path: Path) -> None:
    """In a process of its own, which has no pyplot afterwards."""
    code = (
        "import sys, numpy as np, qpu_sdk as qs; found = qs.Distribution(np.array([0.25, 0.75]), samples=8, shots=9); "
        "print(found); assert 'matplotlib' not in sys.modules; found.plot(sys.argv[1]); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "p.png")], check=True, env={**os.environ, "DISPLAY": ""})


# -- as text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("modes", "photons"), [(3, 3), (2, 1), (5, 2), (9, 4), (14, 13)])
def test_text_is_a_table_with_numbers_in_columns(modes: int, photons: int) -> None:
    found = mitigated(modes, photons)
    table, rows = (part.splitlines() for part in str(found).split("\n\n"))
    body = table[1 : 1 + min(MOST_ROWS, len(found.probabilities))]
    assert len({len(line) for line in (table[0], *body)}) == 1
    assert len({line.rindex("..") for line in body}) == 1
    best = np.argsort(-found.probabilities, kind="stable")[:MOST_ROWS]
    low, high = found.interval(LEVEL)
    for line, k in zip(body, best, strict=True):
        name, *numbers = line.replace("..", " ").split()
        assert name == found.shown().names[k]
        expected = [found.probabilities[k], found.standard_errors[k], low[k], high[k]]
        assert [float(n) for n in numbers] == pytest.approx(expected, abs=1e-4)
    others = len(found.probabilities) - len(body)
    assert table[1 + len(body) :] == ([f"{others} others {table[-1].split('others ')[1]}"] if others else [])
    values = dict(line.split("  ", 1) for line in rows)
    assert values["method"].strip() == "unfold"
    assert values["samples"].strip().startswith(f"{found.samples:,} collision-free")
    assert values["shots"].strip() == f"{found.shots:,}"
    assert values["fit"].strip().startswith("chi-square 12.5")


@pytest.mark.parametrize("samples", [1, 100, 10**6, 10**12])
def test_text_has_digits_that_the_errors_deserve(samples: int) -> None:
    found = Distribution(probabilities=np.array([0.3, 0.7]), samples=samples, shots=samples)
    first = str(found).splitlines()[1 if samples >= 10 else 3].split()
    assert float(first[2]) == pytest.approx(found.standard_errors[1], rel=0.02)


def test_a_certain_outcome_is_printed() -> None:
    found = Distribution(probabilities=np.array([1.0]), samples=10, shots=40)
    assert str(found).splitlines()[1].split()[:3] == ["0", "1.0000", "0.0000"]
    assert "unlimited" not in str(found)


def test_of_many_outcomes_the_most_probable_are_drawn_in_order() -> None:
    found = mitigated(9, 4)
    _, below = found.draw().axes
    names = [t.get_text() for t in below.get_xticklabels()]
    best = sorted(np.argsort(-found.probabilities, kind="stable")[:MOST_BARS])
    assert names == [found.shown().names[k] for k in best]
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
