"""A network that does not answer images with logits is one line, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qpu_sdk.errors import ConfigError, DataError
from qpu_sdk.training.data import Dataset
from qpu_sdk.training.evaluation import as_taken, check_fit, check_learns
from qpu_sdk.training.targets import Target

IMAGES, LABELS = np.zeros((4, 8, 8), dtype=np.float32), np.array([0, 1, 0, 1])
DATA = Dataset.of(IMAGES, LABELS, IMAGES, LABELS)


class Answers(nn.Module):
    """A linear layer, and what is made of its logits."""

    def __init__(self, answer: Callable[[Tensor], Any], classes: int = 2) -> None:
        super().__init__()
        self.layer, self.answer = nn.Linear(64, classes), answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(self.layer(x.flatten(1)))


def checked(module: nn.Module) -> None:
    check_fit(Target(module), DATA.train.tensors()[0], DATA)


def raiser(error: BaseException) -> Callable[[Tensor], Any]:
    def answer(logits: Tensor) -> Any:
        raise error

    return answer


def test_logits_are_taken() -> None:
    checked(Answers(lambda logits: logits))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda logits: (logits, logits), "a tuple"),
        (lambda logits: {"logits": logits}, "a dict"),
        (lambda logits: None, "a NoneType"),
        (lambda logits: logits[:, 0], r"shape \(1,\)"),
        (lambda logits: logits.squeeze(), r"shape \(2,\)"),
        (lambda logits: logits.sum(), r"shape \(\)"),
        (lambda logits: logits[:, :, None], r"shape \(1, 2, 1\)"),
        (lambda logits: logits.argmax(1, keepdim=True), "int64"),
        (lambda logits: logits.mean(0, keepdim=True), "2 images"),
    ],
)
def test_another_answer_is_one_line(answer: Callable[[Tensor], Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        checked(Answers(answer))
    assert "expected floats of shape" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a\nb"),
        AttributeError("x"),
        IndexError(),
        AssertionError(),
        TypeError("t"),
        KeyError("k"),
        SystemExit(1),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_network_raises_is_one_line(error: BaseException) -> None:
    with pytest.raises(ConfigError, match=r"does not take images of shape \(1, 8, 8\)") as caught:
        checked(Answers(raiser(error)))
    assert type(error).__name__ in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_and_labels_that_do_not_fit_are_told() -> None:
    with pytest.raises(ConfigError, match="does not take"):
        checked(nn.Sequential(nn.Flatten(), nn.Linear(5, 2)))
    with pytest.raises(DataError, match="label 1"):
        checked(Answers(lambda logits: logits, classes=1))


def test_a_squeeze_that_spares_one_image_is_found() -> None:
    with pytest.raises(ConfigError, match="1 image of"):
        checked(Answers(torch.squeeze))


def test_a_network_that_fails_on_other_images_than_the_first_is_found() -> None:
    def few(logits: Tensor) -> Tensor:
        assert len(logits) < 3
        return logits

    with pytest.raises(ConfigError, match="AssertionError"):
        checked(Answers(few))


@pytest.mark.parametrize("first", [nn.BatchNorm1d(64), nn.Linear(64, 64)])
def test_a_network_of_rows_is_told_to_flatten(first: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"rows, not images of shape \(1, 8, 8\)\. Put nn\.Flatten\(\) first"):
        checked(nn.Sequential(first, nn.Linear(64, 2)))
    checked(nn.Sequential(nn.Flatten(), first, nn.Linear(64, 2)))


# -- training ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda logits: logits.detach(), "does not require grad"),
        (lambda logits: torch.from_numpy(logits.detach().numpy().copy()), "does not require grad"),
        (lambda logits: logits / 0.0 * 0.0, "NaN"),
        (lambda logits: torch.sqrt(-1 - logits.abs()), "NaN"),
    ],
)
def test_a_network_that_cannot_learn_is_one_line(answer: Callable[[Tensor], Any], words: str) -> None:
    target, images = Target(Answers(answer)), DATA.train.tensors()[0]
    with pytest.raises(ConfigError, match=f"cannot be trained.*{words}") as caught:
        check_learns(target, images, batch_size=2)
    assert "\n" not in str(caught.value)


def normed(values: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(values), nn.Linear(values, 2))


@pytest.mark.parametrize(("batch_size", "fits"), [(2, True), (4, True), (100, True), (3, False), (1, False)])
def test_no_batch_is_one_image_of_which_there_are_no_statistics(batch_size: int, fits: bool) -> None:
    target, images = Target(normed(64)), DATA.train.tensors()[0]
    if fits:
        check_learns(target, images, batch_size=batch_size)
        return
    with pytest.raises(ConfigError, match=r"training\.batch_size"):
        check_learns(target, images, batch_size=batch_size)
    pixels = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 2))  # of which one image has many
    check_learns(Target(pixels), images, batch_size=batch_size)


class Remembers(nn.Module):
    """Sets a buffer when it is first asked, or at every time."""

    def __init__(self, begin: Tensor | None) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 2)
        self.register_buffer("seen", begin)

    def forward(self, x: Tensor) -> Tensor:
        if self.seen is None:
            self.seen = x.mean()
        else:
            self.seen += 1
        logits: Tensor = self.layer(x.flatten(1))
        return logits


@pytest.mark.parametrize("begin", [None, torch.zeros(())])
def test_a_network_that_changes_while_it_is_asked_is_one_line(begin: Tensor | None) -> None:
    with pytest.raises(ConfigError, match="changes seen of its state_dict") as caught:
        checked(Remembers(begin))
    assert "\n" not in str(caught.value)


def test_the_place_of_an_error_is_told() -> None:
    with pytest.raises(ConfigError, match=r"ValueError: why; .*test_evaluation\.py, line \d+, in answer"):
        checked(Answers(raiser(ValueError("why"))))


# -- rows of numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("features", "network"), [(30, nn.Linear), (16, nn.Linear), (16, nn.Conv2d), (30, nn.Flatten)])
def test_rows_are_taken_as_the_network_takes_them(features: int, network: type[nn.Module]) -> None:
    x, y = np.random.default_rng(1).random((8, features)), np.arange(8) % 2
    data = Dataset.of(x, y, x, y)
    plain = nn.Linear(features, 2)
    head = (
        nn.Sequential(nn.Conv2d(1, 2, 4), nn.Flatten()) if network is nn.Conv2d else nn.Sequential(nn.Flatten(), plain)
    )
    target = Target(plain if network is nn.Linear else head)
    taken = as_taken(data, target)
    check_fit(target, taken.train.tensors()[0], taken)
    assert taken.train.x.ndim == (4 if network is nn.Conv2d else 2)
    assert taken.fingerprint == data.fingerprint
