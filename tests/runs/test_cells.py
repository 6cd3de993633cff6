"""Cells of a sweep: what keys and values they are made of, and what their folders are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qpu_sdk.errors import ConfigError
from qpu_sdk.runs.cells import cells_of, parse_over
from qpu_sdk.training.config import RunConfig

PAPER = Path(__file__).parents[2] / "examples" / "paper.toml"


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("seed=1..3", "seed", [1, 2, 3]),
        ("seed=-1..1,7", "seed", [-1, 0, 1, 7]),
        ("generator.kind=lean, paper", "generator.kind", ["lean", "paper"]),
        ("training.lr=0.01,1e-3", "training.lr", [0.01, 0.001]),
        ("spsa.blocking=true,false", "spsa.blocking", [True, False]),
        ('device="local:slos?a=1,2",local:slos', "device", ["local:slos?a=1,2", "local:slos"]),
        ("qnn.0.input_modes=[0,1],[0,2]", "qnn.0.input_modes", [[0, 1], [0, 2]]),
    ],
)
def test_values_as_they_are_written(text: str, key: str, values: list[object]) -> None:
    assert parse_over(text) == (key, values)


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ("seed", "--over 'seed' is not key=values. Write for example --over seed=1..5."),
        ("seed=", "--over 'seed=' has no values"),
        ("seed=5..1", "5..1 is no range of 1 to 100,000 numbers. Write the smaller number first."),
        ("seed=1..1000000", "is no range of 1 to 100,000 numbers"),
        ("generator.bond=1..3", "generator.bond"),
        ("generator.bond_dim=0", "generator.bond_dim"),
        ("nowhere.key=1", "nowhere"),
        ("seed.deeper=1,2", "seed"),
    ],
)
def test_what_is_no_cell_is_one_line(over: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cells_of(None, [over])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_product_runs_over_all_keys_the_last_one_fastest() -> None:
    cells = cells_of(PAPER, {"generator.bond_dim": range(1, 3), "seed": [4, 5]}, ["spsa.steps=0"])
    assert [dict(cell.values) for cell in cells] == [
        {"generator.bond_dim": b, "seed": s} for b in (1, 2) for s in (4, 5)
    ]
    assert [(c.config.generator.bond_dim, c.config.seed, c.config.spsa.steps) for c in cells] == [
        (1, 4, 0),
        (1, 5, 0),
        (2, 4, 0),
        (2, 5, 0),
    ]
    assert {cell.config.generator.kind for cell in cells} == {"paper"}
    assert {cell.config.training.threads for cell in cells} == {1}
    assert len({cell.identity for cell in cells}) == 4


def test_a_value_given_twice_is_one_cell_and_a_key_given_twice_is_refused() -> None:
    assert len(cells_of(None, ["seed=1,1..2"])) == 2
    with pytest.raises(ConfigError, match=r"--over seed is given twice. Give all its values at once"):
        cells_of(None, ["seed=1", "seed=2"])


def test_a_product_that_is_too_large_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the sweep has 1,000,000 cells; 100,000 are allowed"):
        cells_of(None, ["seed=1..1000", "spsa.steps=1..1000"])


def test_names_are_folders_and_each_is_another() -> None:
    devices = ["local:slos?noise=belenos", "local:slos:noise=belenos", "local:" + "x" * 200]
    cells = cells_of(None, {"device": devices})
    names = [cell.name for cell in cells]
    assert len(set(names)) == 3
    for name in names:
        assert not set(name) & set('/\\:?*"<>|')
        assert len(name) < 120
    assert [cell.config.device for cell in cells] == devices


def test_a_file_of_cells(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('seed = 9\n[generator]\nkind = "paper"\nbond_dim = 3\n')
    (tmp_path / "cells.toml").write_text(
        'config = "base.toml"\nover = ["seed=1..2"]\n\n[[cell]]\nname = "small"\ngenerator.bond_dim = 2\n\n'
        "[[cell]]\nqnn = [{modes = 6, photons = 2}, {modes = 6, photons = 3}]\n"
    )
    cells = cells_of(tmp_path / "cells.toml")
    assert [cell.name for cell in cells[:2]] == ["small,seed=1", "small,seed=2"]
    assert [cell.config.generator.bond_dim for cell in cells] == [2, 2, 3, 3]
    assert cells[2].config.qnn[1].photons == 3
    assert {cell.config.generator.kind for cell in cells} == {"paper"}
    assert cells[0].values == {"cell": "small", "seed": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('over = ["seed=1"]\nseed = 3\n', "has cells, and 'seed' beside them"),
        ("cell = 3\n", "cells are tables. Write [[cell]]."),
        ('over = "seed=1"\n', 'Write over = ["seed=1..5"]'),
        ('config = "missing.toml"\nover = ["seed=1"]\n', "missing.toml"),
    ],
)
def test_a_wrong_file_of_cells_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "cells.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        cells_of(tmp_path / "cells.toml")
    assert message in str(caught.value)


def test_values_of_numpy_and_paths_are_written_as_what_they_are(digits: Path) -> None:
    cells = cells_of(None, {"training.lr": np.array([0.25, 0.5]), "seed": np.arange(2), "data.source": [digits]})
    assert [(cell.config.training.lr, cell.config.seed) for cell in cells] == [
        (r, s) for r in (0.25, 0.5) for s in (0, 1)
    ]
    assert cells[0].name.startswith("training.lr=0.25,seed=0,")
    assert {cell.config.data.source for cell in cells} == {str(digits)}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("local:slos", "over has 'local:slos' for device. Give a list of values: {'device': ['local:slos']}."),
        (3, "over has 3 for device. Give a list"),
        ([object()], "over has a object for device. Give numbers, texts"),
        ([], "over has no values of device"),
    ],
)
def test_values_that_are_none_are_one_line(values: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cells_of(None, {"device": values})
    assert message in str(caught.value)


def test_no_key_at_all_is_one_run() -> None:
    [cell] = cells_of(RunConfig(seed=3))
    assert (cell.name, cell.config.seed) == ("run", 3)
