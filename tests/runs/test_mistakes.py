"""Which test images are taken for which: counted right, kept whole, drawn, and damage is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qpu_sdk.errors import CheckpointError
from qpu_sdk.runs.mistake_figures import confusion_figure, worst_figure
from qpu_sdk.runs.mistakes import MOST_CLASSES, Mistakes, mistakes_of, read_mistakes
from qpu_sdk.runs.page import run_page
from qpu_sdk.training.data import Images
from qpu_sdk.training.targets import Target
from tests.runs.test_page import read, write_run
from tests.runs.test_summary import example


class Brightest(nn.Module):
    """Says which of the first pixels is the brightest, the surer the brighter; one weight that changes nothing."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes, self.none = classes, nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return 5.0 * x.flatten(1)[:, : self.classes] + 0.0 * self.none


def images(answers: list[int], labels: list[int], *, side: int = 3, sure: float = 1.0) -> Images:
    x = np.zeros((len(answers), 1, side, side), dtype=np.float32)
    x.reshape(len(answers), -1)[np.arange(len(answers)), answers] = np.linspace(0.5, sure, len(answers))
    return Images(x, np.array(labels))


def found(data: Images, classes: int = 3) -> Mistakes | None:
    target = Target(Brightest(classes))
    return mistakes_of(target, torch.zeros(target.size), data)


def test_rows_are_classes_and_columns_answers() -> None:
    told = found(images([0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 0, 1]))
    assert told is not None
    assert told.confusion == ((1, 0, 1), (1, 1, 1), (0, 0, 1))
    assert told.commonest == "Most often class 0 is taken for 2: 1 of 2 images."
    assert [one.index for one in told.worst] == [5, 4, 1]  # the surest, which is the brightest, first
    assert [(one.label, one.answer) for one in told.worst] == [(1, 2), (0, 2), (1, 0)]
    assert told.worst[0].array().tolist() == [[[0, 0, 255], [0, 0, 0], [0, 0, 0]]]
    p = np.exp([5.0, 0.0, 0.0])
    assert told.worst[0].probability == pytest.approx(p[0] / p.sum(), abs=1e-6)


def test_who_is_never_wrong_has_nothing_to_show() -> None:
    told = found(images([0, 1], [0, 1]))
    assert told is not None
    assert (told.worst, told.commonest) == ((), "")


def test_images_of_any_range_are_drawn_by_their_own() -> None:
    data = images([1], [0])
    told = found(Images(4.0 * data.x - 1.0, data.y))
    assert told is not None
    assert sorted(set(told.worst[0].array().ravel().tolist())) == [0, 255]


def test_what_no_page_could_show_is_left_out() -> None:
    many = MOST_CLASSES + 1
    assert found(images([0], [1], side=5), classes=many) is None
    large = found(images([0], [1], side=65))
    assert large is not None
    assert (large.confusion[1][0], large.worst) == (1, ())


def test_a_file_gives_the_same_again_and_damage_is_told(tmp_path: Path) -> None:
    told, file = found(images([0, 1, 2], [1, 1, 0])), tmp_path / "mistakes.json"
    assert told is not None
    assert read_mistakes(file) is None
    file.write_text(told.model_dump_json())
    assert read_mistakes(file) == told
    broken: dict[str, Any] = json.loads(told.model_dump_json())
    for wrong in ({"confusion": [[1, 2]]}, {"worst": [broken["worst"][0] | {"pixels": "AAAA"}]}, {"schema_version": 2}):
        file.write_text(json.dumps(broken | wrong))
        with pytest.raises(CheckpointError, match=r"mistakes\.json is damaged"):
            read_mistakes(file)


def test_figures_have_every_number_and_picture() -> None:
    told = found(images([0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 0, 1]))
    assert told is not None
    numbers = read(confusion_figure("a run", told)).text.split()
    assert numbers.count("1") >= 6  # and the names of the class
    svg = worst_figure("a run", told.worst)
    assert svg.count("<image ") == 3
    assert all(target.startswith("data:image/png") for target in re.findall(r'xlink:href="([^"#][^"]*)"', svg))
    assert "1, said 2" in read(svg).text


def test_the_page_shows_them_and_goes_on_without(tmp_path: Path) -> None:
    told, run = found(images([0, 1, 2], [1, 1, 0])), write_run(tmp_path / "run")
    assert told is not None
    assert "Mistakes" not in run_page("run", run, example())
    run.mistakes.write_text(told.model_dump_json())
    page = run_page("run", run, example())
    assert told.commonest in page
    assert "2 wrong answers of which the network is the surest" in page
    run.mistakes.write_text("{")
    assert "mistakes.json is damaged" in run_page("run", run, example())
