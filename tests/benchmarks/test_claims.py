"""The page of claims is what the JSONs say, and its words follow from the intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qpu_sdk.runs.cells import cells_of
from qpu_sdk.runs.paired import mean_interval
from tests.benchmarks.pages import README
from tests.benchmarks.published import tables
from tests.benchmarks.published.__main__ import HERE, TABLES, cells_of_table
from tests.benchmarks.published.claims import PAGE, against, claims_of, load, page, readme_table
from tests.benchmarks.published.values import BOND


def test_the_page_is_made_of_the_tables() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(load()), "make claims writes it again"


def test_so_is_the_table_of_the_readme() -> None:
    assert readme_table(load()) in README.read_text(encoding="utf-8"), "make claims writes it again"


def test_every_accuracy_is_a_number_of_images() -> None:
    for found in load().values():
        for row in found["rows"]:
            for accuracy in (row["test"], *row.get("controls", {}).values()):
                assert abs(600 * accuracy - round(600 * accuracy)) < 1e-3


@pytest.mark.parametrize("table", TABLES)
def test_every_sweep_is_one(table: str) -> None:
    """Its keys exist, its values are allowed, and every cell stays within 400 settings of at least three seeds."""
    cells = cells_of(HERE / f"{table}.toml", overrides=TABLES[table])
    seeds = {cell.config.seed for cell in cells}
    assert len(seeds) >= 3
    assert len({cell.identity for cell in cells}) == len(cells)
    from qpu_sdk.training.schedule import Schedule

    assert max(Schedule.of(cell.config).settings for cell in cells) <= 400


@pytest.mark.parametrize(
    ("losses", "word"),
    [
        ([1.0, 1.2, 0.8], "reproduced"),
        ([5.0, 5.2, 4.8], "not reproduced"),
        ([1.0, 5.0, 3.0], "depends"),
        ([1.0], "depends"),
    ],
)
def test_a_limit_holds_where_the_whole_interval_does(losses: list[float], word: str) -> None:
    assert against(mean_interval(losses), 3.0) == word


def made_up(chi: int, test: float, **controls: float) -> list[dict[str, Any]]:
    """Rows of three seeds."""
    return [
        {
            "cell": f"chi={chi}",
            "seed": seed,
            "test": test + 0.001 * seed,
            "second": test,
            "train": test,
            "parameters": 31 * chi**2 + 192,
            "identifiable": 10,
            "weights": 6690,
            "wall_s": 1.0,
            "shots": 1,
            "controls": {name: value + 0.0012 * seed for name, value in controls.items()},
            "second_controls": {},
            "control_parameters": dict.fromkeys(controls, 100),
        }
        for seed in (1, 2, 3)
    ]


def words(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {claim.text: claim.word for claim in claims_of({"bond": {"rows": rows}})}


def test_words_follow_from_the_figures() -> None:
    own = {"plain_network": 0.97, "pruned": 0.93, "weight_sharing": 0.87, "fresh_random": 0.1, "frozen_random": 0.95}
    found = words(made_up(10, 0.96, **own) + made_up(4, 0.90))
    assert found["chi = 10, 3,292 numbers for 6,690 weights"] == "reproduced"
    assert found["6 to 12 points better than pruning at as many numbers (3,292)"] == "not reproduced"
    assert found["6 to 12 points better than weight sharing at as many numbers (3,292)"] == "reproduced"
    assert found["random inputs collapse to chance"] == "void"
    assert found["chi = 4, 688 numbers: less than 3 % relative loss, ten-fold compression"] == "not reproduced"
    worse = words(made_up(10, 0.93, **own) + made_up(4, 0.95))
    assert worse["chi = 10, 3,292 numbers for 6,690 weights"] == "not reproduced"
    assert worse["chi = 4, 688 numbers: less than 3 % relative loss, ten-fold compression"] == "reproduced"


def test_the_table_of_bond_dimensions_has_a_row_each(tmp_path: Path) -> None:
    rows = [row for chi in BOND for row in made_up(chi, 0.9)]
    table = tables.bond_table({"rows": rows})
    assert table.count("\n") == 11
    assert "55.77 ± 3.27" in table
    assert "put right 94.92 ± 0.75" in table


def test_a_json_has_a_row_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    tables.write("made-up", {"command": "none", "seconds": 1, "rows": made_up(4, 0.9)})
    text = (tmp_path / "made-up.json").read_text()
    assert len(text.splitlines()) == len(json.loads(text)) + 3 + 3  # keys, brackets and rows
    assert tables.read("made-up", tmp_path) == json.loads(text)
    assert tables.read("nowhere", tmp_path) is None


def test_differences_are_taken_seed_by_seed() -> None:
    found = tables.paired({1: 0.91, 2: 0.95, 3: 0.80}, {1: 0.90, 2: 0.94, 4: 0.1})
    assert found is not None
    assert found.values == pytest.approx((1.0, 1.0))
    assert (found.low, found.high) == (None, None)  # equal by chance: that is no interval of no width
    assert tables.paired({1: 0.9}, {2: 0.9}) is None


def test_what_another_machine_did_is_known_by_what_decides_it() -> None:
    here, there = (cells_of_table("noise", folder) for folder in ("/data/mnist", "/elsewhere/mnist"))
    identities = [tables.identity_of(cell.config) for cell in here]
    assert identities == [tables.identity_of(cell.config) for cell in there]
    assert len(set(identities)) == len(identities)


def test_rows_of_another_machine_stay_and_stand_in_the_order_of_the_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    cells = cells_of_table("lean", "/data/mnist")
    rows = [row | {"identity": tables.identity_of(c.config)} for row, c in zip(made_up(4, 0.9), cells, strict=False)]
    tables.write("lean", {"command": "", "rows": [rows[2], rows[0], rows[1] | {"identity": "of an older table"}]})
    tables.store("lean", cells, tmp_path / "no sweep here", tables.row_of)
    kept = tables.read("lean")
    assert kept is not None
    assert [row["identity"] for row in kept["rows"]] == [rows[0]["identity"], rows[2]["identity"]]
