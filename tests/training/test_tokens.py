"""Networks that take whole numbers: an embedding is trained, leaves and predicts as any other layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qpu_sdk as qs
from qpu_sdk.errors import ConfigError
from qpu_sdk.runs.leave import export_model
from qpu_sdk.training.targets import Target
from tests.training import tiny

WORDS, LENGTH = 15, 6


class Words(nn.Module):
    """A plain model of tokens, which knows nothing of floats."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.last = nn.Embedding(WORDS, 2), nn.Linear(2, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.last(self.embedding(tokens).mean(dim=1))
        return logits


def tokens(*, seed: int = 3) -> qs.Dataset:
    """Texts of which one kind has the first half of the words, the other the second."""
    rng = np.random.default_rng(seed)
    y = np.arange(80) % 2
    x = rng.integers(0, WORDS // 2, (80, LENGTH)) + (WORDS // 2 + 1) * y[:, None]
    return qs.Dataset.of(x[:60], y[:60], x[60:], y[60:], as_is=True)


def test_a_plain_embedding_trains_leaves_and_predicts(tmp_path: Path) -> None:
    run = qs.train(tiny.config(), tmp_path / "run", target=Words(), data=tokens())
    fresh = run.model.module(Words())
    x = torch.from_numpy(tokens().test.x).long()
    with torch.no_grad():
        right = (fresh(x).argmax(dim=1).numpy() == tokens().test.y).mean()
    assert right == pytest.approx(run.summary.test_accuracy)


def test_probes_are_tokens_and_see_every_row() -> None:
    target = Target(Words())
    rng = torch.Generator().manual_seed(0)
    images = target.some_images(400, (LENGTH,), rng)
    assert set(images.unique().tolist()) == set(map(float, range(WORDS)))
    weights = target.some_weights(rng)
    one = target.probe((LENGTH,), weights)
    moved = target.tensors(weights)["embedding.weight"].clone()
    moved[8:] += 1.0
    other = target.probe((LENGTH,), target.flat({**target.tensors(weights), "embedding.weight": moved}))
    assert not torch.allclose(one, other)


def test_networks_without_embeddings_are_asked_as_before() -> None:
    rng = torch.Generator().manual_seed(4)
    expected = torch.rand((3, 16), generator=torch.Generator().manual_seed(4))
    assert torch.equal(Target(tiny.linear()).some_images(3, (16,), rng), expected)


def test_whole_numbers_stay_what_they_are_and_the_callers_network_too() -> None:
    network = Words()
    target = Target(network)
    weights = target.some_weights(torch.Generator().manual_seed(0))
    x = torch.tensor([[0, 14, 3, 3, 2, 1]])
    assert torch.equal(target.logits(weights, x), target.logits(weights, x.float()))
    with pytest.raises(RuntimeError, match="Long, Int"):
        network(x.float())


def test_fractions_are_one_line(tmp_path: Path) -> None:
    x, y = tokens().train.x / WORDS, tokens().train.y
    data = qs.Dataset.of(x, y, x, y)
    with pytest.raises(ConfigError, match="given fractions: leave them as they are by as_is = true") as caught:
        qs.train(tiny.config(), tmp_path / "run", target=Words(), data=data)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_files_take_tokens_as_floats(tmp_path: Path) -> None:
    qs.train(tiny.config(), tmp_path / "run", target=Words(), data=tokens())
    code = "from tests.training.test_tokens import Words\n\n\ndef words():\n    return Words()\n"
    (tmp_path / "words.py").write_text(code)
    made = export_model(
        tmp_path / "run", tmp_path / "words.pt2", format="pt2", target=f"{tmp_path / 'words.py'}:words"
    ).files["pt2"]
    program = torch.export.load(made).module()
    x = torch.from_numpy(tokens().test.x)
    fresh = qs.load_model(tmp_path / "run").module(Words())
    with torch.no_grad():
        torch.testing.assert_close(program(x), fresh(x.long()))
