"""Images that a function of the user's own gives: read alike, found again, and never run for a file from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qpu_sdk as qs
from qpu_sdk.errors import ConfigError, DataError
from qpu_sdk.export.inference import evaluate_model
from qpu_sdk.training.own_images import absolute_code, names_code
from qpu_sdk.training.sources import absolute_source, reader_of
from qpu_sdk.training.targets import Target
from tests.training import tiny

CODE = """
import numpy as np, torch
from torch.utils.data import DataLoader, TensorDataset

rng = np.random.default_rng(7)
y = np.arange(68) % 2
x = rng.uniform(0, 0.5, (68, 4, 4)) + 0.5 * (y[:, None, None] == 1)

def four(): return x[:48], y[:48], x[48:], y[48:]
def named(): return {"x_train": x[:48], "y_train": y[:48], "x_test": x[48:], "y_test": y[48:]}
def sets(): return tuple(TensorDataset(torch.tensor(x[s]), torch.tensor(y[s])) for s in (slice(48), slice(48, None)))
def loaders(): return [DataLoader(one, batch_size=7, shuffle=True) for one in sets()]
def drawn(): return torch.rand(40, 4, 4), y[:40], np.random.rand(20, 4, 4), y[:20]
def one(): return x
def five(): return [x] * 5
def broken(): raise RuntimeError("no disk\\nat all")
def words(): return x[:2], ["a", "b"], x[:2], ["a", "b"]
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine.py"


@pytest.mark.parametrize("name", ["four", "named", "sets"])
def test_every_form_gives_the_same_images(name: str, mine: Path) -> None:
    expected = qs.Dataset.load(f"{mine}:four", seed=1)
    for source in (f"mine.py:{name}", f"mine:{name}", f"{mine}:{name}"):
        assert qs.Dataset.load(source, seed=1).fingerprint == expected.fingerprint
    assert (len(expected.train), len(expected.test), expected.train.x.shape[1:]) == (48, 20, (1, 4, 4))


@pytest.mark.parametrize("name", ["loaders", "drawn"])
def test_what_is_drawn_is_drawn_alike(name: str, mine: Path) -> None:
    one, two = (qs.Dataset.load(f"{mine}:{name}", seed=1) for _ in range(2))
    assert one.fingerprint == two.fingerprint


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("one", "returned a ndarray"),
        ("five", "returned 5 things"),
        ("broken", "raised RuntimeError: no disk; mine.py, line"),
        ("words", "y_train of .*"),
        ("nowhere", "no such function"),
    ],
)
def test_what_is_no_images_is_one_line(name: str, words: str, mine: Path) -> None:
    with pytest.raises(DataError, match=words) as caught:
        qs.Dataset.load(f"{mine}:{name}", seed=1)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_there_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert names_code("odd:name")
    np.savez(
        tmp_path / "odd:name", **{f"{a}_{b}": np.zeros((2, 4, 4))[..., 0, 0] for a in "xy" for b in ("train", "test")}
    )
    Path("odd:name.npz").rename("odd:name")
    assert not names_code("odd:name")
    with pytest.raises(DataError, match="is not known"):
        reader_of("odd:name")


def test_a_run_finds_its_function_again_and_a_model_file_runs_none(mine: Path, tmp_path: Path) -> None:
    assert absolute_source("mine:four") == absolute_code("mine.py:four") == f"{mine}:four"
    config = tiny.config(data={"source": "mine:four"})
    run = qs.train(config, tmp_path / "run", target=tiny.linear())
    Path("elsewhere").mkdir()
    model = qs.load_model(tmp_path / "run")
    target = model.module(tiny.linear())
    found = evaluate_model(model, source=None, target=Target(target), run=tmp_path / "run")
    assert found.accuracy == run.summary.test_accuracy
    with pytest.raises(ConfigError, match="nothing that a file names is imported"):
        evaluate_model(model, source=None, target=Target(target))


def test_a_function_that_gives_others_ends_the_run_that_goes_on(mine: Path, tmp_path: Path) -> None:
    def stop(row: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        qs.train(tiny.config(data={"source": "mine.py:four"}), tmp_path / "cut", target=tiny.linear(), on_progress=stop)
    mine.write_text(CODE.replace("default_rng(7)", "default_rng(77)"))
    with pytest.raises(qs.QPUError, match="not those the run began with"):
        qs.resume(tmp_path / "cut", target=tiny.linear())
