"""Pictures of test images: what predict reads of them is what the network was tested on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from qpu_sdk.export.weights import load_model
from qpu_sdk.training.data import load_dataset
from tests.commands import BAD_INPUT, Commands
from tests.digits import SMALLEST, TINY, train_arguments, write_digits, write_small_digits

pytestmark = pytest.mark.usefixtures("no_figures")

COMMANDS = Commands()
run, succeed, fail = COMMANDS.run, COMMANDS.succeed, COMMANDS.fail


def test_predict_sees_the_test_images(tmp_path: Path) -> None:
    succeed(*train_arguments(write_digits(tmp_path / "digits.npz"), tmp_path / "run", base=TINY))
    written = succeed("samples", tmp_path / "run", "--out", tmp_path / "digits", "--count", "7", "--json")["written"]
    assert [Path(path).name.partition("-")[0] for path in written] == ["0", "0", "0", "1", "1", "2", "2"]
    rows = succeed("predict", tmp_path / "run", "--no-invert", tmp_path / "digits", "--json")
    model = load_model(tmp_path / "run")
    test = load_dataset(model.data, seed=model.data_seed).test
    places = [int(Path(row["image"]).stem.partition("-")[2]) for row in rows]
    assert [test.y[place] for place in places] == [int(Path(row["image"]).name[0]) for row in rows]
    target = model.open_target()
    with torch.no_grad():
        logits = target.logits(target.flat(model.tensors), torch.from_numpy(test.x[places]))
    np.testing.assert_allclose([row["probabilities"] for row in rows], logits.softmax(dim=1), atol=1e-5)


def test_what_is_there_is_kept_and_asked_for_again(tmp_path: Path) -> None:
    succeed(*train_arguments(write_small_digits(tmp_path / "digits.npz"), tmp_path / "run", base=SMALLEST))
    first = run("samples", tmp_path / "run", "--out", tmp_path / "some", "--count", "100").stdout.split()
    assert len(first) == 30  # no more than there are
    Path(first[0]).write_bytes(b"mine")
    assert run("samples", tmp_path / "run", "--out", tmp_path / "some", "--count", "100").stdout.split() == first
    assert Path(first[0]).read_bytes() == b"mine"


def test_images_that_are_gone_are_one_line(tmp_path: Path) -> None:
    data = write_small_digits(tmp_path / "digits.npz")
    succeed(*train_arguments(data, tmp_path / "run", base=SMALLEST))
    data.unlink()
    assert "digits.npz" in fail(BAD_INPUT, "samples", tmp_path / "run", "--out", tmp_path / "some")
    assert not (tmp_path / "some").exists()


def test_rows_of_numbers_are_no_pictures(tmp_path: Path) -> None:
    rng, labels = np.random.default_rng(1), np.arange(60) % 2
    rows = rng.uniform(size=(60, 7)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x_train=rows[:40], y_train=labels[:40], x_test=rows[40:], y_test=labels[40:])
    (tmp_path / "net.py").write_text("from torch import nn\n\n\ndef net():\n    return nn.Linear(7, 2)\n")
    network = {"target.factory": f'"{tmp_path / "net.py"}:net"'}
    succeed(*train_arguments(tmp_path / "d.npz", tmp_path / "run", base=SMALLEST | network))
    assert "no pictures" in fail(BAD_INPUT, "samples", tmp_path / "run", "--out", tmp_path / "some")
