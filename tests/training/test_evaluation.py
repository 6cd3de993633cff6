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
from qpu_sdk.training.evaluation import check_fit
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


def raiser(error: Exception) -> Callable[[Tensor], Any]:
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
    [ValueError("a\nb"), AttributeError("x"), IndexError(), AssertionError(), TypeError("t"), KeyError("k")],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_network_raises_is_one_line(error: Exception) -> None:
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
