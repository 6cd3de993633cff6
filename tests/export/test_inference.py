"""What leaves is what was trained: a run's file, loaded into a fresh network, says what the run said."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from qpu_sdk.errors import ConfigError, DataError
from qpu_sdk.export.inference import evaluate_model, open_network, predict_images
from qpu_sdk.export.weights import Model, Use
from qpu_sdk.runs.run import Run
from qpu_sdk.runs.train import train
from qpu_sdk.training.config import RunConfig
from qpu_sdk.training.config_file import load_config
from qpu_sdk.training.data import Dataset
from qpu_sdk.training.targets import Target
from tests.digits import TINY, write_digits

SIDE = 8


class Own(nn.Module):
    """A class that no file can name."""

    def __init__(self, *parts: nn.Module, width: int = SIDE * SIDE) -> None:
        super().__init__()
        self.parts, self.last = nn.Sequential(*parts), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.parts(x).flatten(1))
        return logits


def normed() -> nn.Module:
    return Own(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), width=72)


def projected() -> nn.Module:
    network = Own()
    network.register_buffer("count", torch.tensor(3))
    network.register_buffer("mask", torch.tensor([True, False]))
    network.register_buffer("scales", torch.tensor([0.5, 2.0], dtype=torch.float16))
    return network


def tied() -> nn.Module:
    network = Own(nn.Flatten(), nn.Linear(64, 64, bias=False), nn.Tanh(), nn.Linear(64, 64, bias=False))
    first, second = network.get_submodule("parts.1"), network.get_submodule("parts.3")
    second.weight = first.weight
    first.requires_grad_(False)  # and frozen: 4,096 weights are more than these circuits can make
    return network


def frozen() -> nn.Module:
    network = Own(nn.Flatten(), nn.Linear(64, 6), nn.Tanh(), width=6)
    network.get_submodule("parts").requires_grad_(False)
    return network


def double() -> nn.Module:
    return Own().double()


def half() -> nn.Module:
    return Own().half()


def parametrized() -> nn.Module:
    network = Own()
    nn.utils.parametrizations.weight_norm(network.get_submodule("last"))
    return network


NETWORKS = (normed, projected, tied, frozen, double, half, parametrized)


def config(data: Path, **more: Any) -> RunConfig:
    options = {**TINY, "qnn.0.modes": 8, "qnn.0.photons": 2, "qnn.1.modes": 8, "qnn.1.photons": 2, "training.lr": 0.05}
    options |= {"data.source": json.dumps(str(data)), "training.final_epochs": 6, **more}
    return load_config(overrides=[f"{key}={value}" for key, value in options.items()])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("data") / "d.npz", side=SIDE)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("build", NETWORKS)
def test_a_fresh_network_with_the_file_says_what_the_run_said(
    data: Path, tmp_path: Path, build: Callable[[], nn.Module]
) -> None:
    first = build()
    before = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    run = train(config(data), tmp_path / "run", target=first)
    tensors = load_file(tmp_path / "run" / "model.safetensors")
    fresh = build()
    assert {n: t.dtype for n, t in fresh.state_dict().items()} == {n: t.dtype for n, t in tensors.items()}
    fresh.load_state_dict(tensors, strict=True)
    fresh.eval()
    with np.load(data) as arrays, torch.no_grad():
        kind = next(fresh.parameters()).dtype
        logits = fresh(torch.from_numpy(arrays["x_test"] / np.float32(255))[:, None].to(kind))
        assert float((logits.argmax(1).numpy() == arrays["y_test"]).mean()) == run.summary.test_accuracy
    frozen_names = {name for name, p in first.named_parameters() if not p.requires_grad}
    assert all(torch.equal(tensors[name], before[name]) for name in frozen_names)
    counted = sum(p.numel() for p in first.parameters() if not p.requires_grad)
    assert (run.summary.frozen_parameters, run.summary.target_parameters) == (counted, Target(first).size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in first.state_dict().items())
    target = open_network(run.model, factory=f"{__name__}:{build.__name__}")
    assert evaluate_model(run.model, source=None, target=target).accuracy == run.summary.test_accuracy


@pytest.mark.usefixtures("no_figures")
def test_a_batch_norm_helps_as_it_should(tmp_path: Path) -> None:
    """Images that differ little around a grey of their own: without the statistics of the images nothing is learnt."""
    rng, y = np.random.default_rng(1), np.arange(240) % 2
    x = 0.7 + 0.01 * rng.random((240, SIDE, SIDE))
    x[y == 1, :, :4] += 0.01
    data = Dataset.of(x[:160], y[:160], x[160:], y[160:])
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 2))
    settings = config(tmp_path / "none", **{"data.source": "mnist-5k", "training.final_epochs": 20})
    run = train(settings, tmp_path / "run", target=network, data=data)
    assert run.summary.test_accuracy > 0.9
    assert abs(float(run.model.module().get_buffer("0.running_mean")) - 0.7) < 0.05


# -- another network ---------------------------------------------------------------------------------------


class Hotter(Own):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).tanh()


class Broken(Own):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("broken")


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(config(data), tmp_path_factory.mktemp("trained") / "run", target=Own())


def test_a_network_that_answers_otherwise_is_refused(trained: Run) -> None:
    assert isinstance(trained.model.module(Own()), Own)
    for other, words in ((Hotter(), "answers otherwise"), (Broken(), "raises ValueError")):
        with pytest.raises(DataError, match=words) as caught:
            trained.model.module(other)
        assert "\n" not in str(caught.value)


@pytest.fixture
def other_habits() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)


@pytest.mark.usefixtures("other_habits", "no_figures")
def test_what_the_caller_set_in_torch_changes_nothing(trained: Run, data: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        again = train(config(data), tmp_path / "run", target=Own().float())
    assert torch.get_default_dtype() == torch.float64
    assert not torch.is_grad_enabled()
    assert again.summary.test_accuracy == trained.summary.test_accuracy
    assert again.model.module(Own().float()).get_parameter("last.weight").dtype == torch.float32
    striped = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).float()
    built = train(config(data), tmp_path / "built", target=striped)
    assert evaluate_model(built.model, source=None).accuracy == built.summary.test_accuracy


def test_nothing_that_a_file_names_is_imported(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Run
) -> None:
    (tmp_path / "unasked.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.chdir(tmp_path)
    for factory in ("unasked:net", "unasked.py:net", f"{tmp_path}/unasked.py:net"):
        named = replace(trained.model, metadata={**trained.model.metadata, "target": factory})
        for call in (lambda m: evaluate_model(m, source=str(data)), lambda m: open_network(m), lambda m: m.module()):
            with pytest.raises(ConfigError, match="not built in"):
                call(named)
    assert "unasked" not in sys.modules


WORDS = '{"shape": %s, "scale": %s, "page": null, "answers": %s}'


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "null", '{"shape": [1, 8, 8]}'),
        *(WORDS % (shape, "null", "null") for shape in ('"x"', "[]", "[0]", "[1.5]", "[1, 8]", "[1, 99999, 99999]")),
        *(WORDS % ("[1, 8, 8]", scale, "null") for scale in ("0", "-1", "NaN", '"x"', "[]")),
        *(WORDS % ("[1, 8, 8]", "null", answers) for answers in ("3", '[[1], "x"]', '[["x"]]')),
    ],
)
def test_damaged_words_on_images_are_one_line(trained: Run, text: str) -> None:
    damaged = Model(trained.model.tensors, {**trained.model.metadata, "used": text})
    with pytest.raises(DataError, match="damaged") as caught:
        _ = damaged.use
    assert "\n" not in str(caught.value)


def test_use_comes_back_from_a_file() -> None:
    known = Use((1, 8, 8), 16.0, 0.0, ((0.5, -1.0), (2.0, 0.25)))
    again = Use.from_metadata(json.dumps(known.to_metadata()))
    assert (again.shape, again.scale, again.page) == (known.shape, known.scale, known.page)
    assert np.array_equal(again.answers or (), known.answers or ())


# -- images that are classified ----------------------------------------------------------------------------


def drawn(label: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A bright stripe on a dark page, at the place of its class."""
    image = np.zeros((SIDE, SIDE), dtype=np.uint8)
    image[1:-1, 2 * label + 1 : 2 * label + 3] = 250
    return image


@pytest.fixture(scope="module")
def striped(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A network that tells stripes apart, by hand; it learnt them as bytes on a dark page."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 3))
    with torch.no_grad():
        network[1].weight.copy_(torch.from_numpy(np.stack([drawn(i).ravel() for i in range(3)]) / 25).float())
        network[1].bias.zero_()
    from qpu_sdk.export.structure import describe

    used = Use((1, SIDE, SIDE), 255.0, 0.0, Target(network).probe((1, SIDE, SIDE), _flat(network)).tolist())
    known = {"structure": json.dumps(describe(network)), "used": json.dumps(used.to_metadata())}
    return Model(network.state_dict(), known)


def _flat(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()])


def labels(rows: list[dict[str, Any]]) -> list[int]:
    return [row["label"] for row in rows]


def test_pictures_are_classified_whatever_their_page_is(striped: Model, tmp_path: Path) -> None:
    paths = []
    for label in range(3):
        light = tmp_path / f"{label}-light.png"
        Image.fromarray(255 - drawn(label)).save(light)
        Image.fromarray(drawn(label)).save(tmp_path / f"{label}-dark.png")
        alpha = np.zeros((SIDE, SIDE, 4), dtype=np.uint8)
        alpha[..., 3] = drawn(label)
        Image.fromarray(alpha).save(tmp_path / f"{label}-nothing.png")
        paths += [tmp_path / f"{label}-{page}.png" for page in ("dark", "light", "nothing")]
    rows = predict_images(striped, paths)
    assert labels(rows) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [row["inverted"] for row in rows] == [False, True, True] * 3
    assert not any(row["blank"] for row in rows)
    assert labels(predict_images(striped, [tmp_path / "1-light.png"], invert=True)) == [1]
    assert predict_images(striped, [tmp_path / "1-light.png"], invert=False)[0]["inverted"] is False


def test_photographs_are_never_turned(striped: Model, tmp_path: Path) -> None:
    Image.fromarray(255 - drawn(1)).save(tmp_path / "a.png")
    unknown = Use((1, SIDE, SIDE), 255.0, None, None)
    model = replace(striped, metadata={**striped.metadata, "used": json.dumps(unknown.to_metadata())})
    assert predict_images(model, [tmp_path / "a.png"])[0]["inverted"] is False


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_page_is_told(striped: Model, tmp_path: Path, level: int) -> None:
    Image.fromarray(np.full((30, 30), level, dtype=np.uint8)).save(tmp_path / "a.png")
    assert predict_images(striped, [tmp_path / "a.png"])[0]["blank"] is True


def test_arrays_are_taken_as_they_are(striped: Model, tmp_path: Path) -> None:
    several = np.stack([drawn(i) for i in (2, 0, 1)])
    forms = {"bytes": several, "floats": several / 255, "rows": several.reshape(3, -1), "one": drawn(2)}
    paths = {name: tmp_path / f"{name}.npy" for name in forms}
    for name, array in forms.items():
        np.save(paths[name], array)
    rows = predict_images(striped, list(paths.values()))
    assert labels(rows) == [2, 0, 1] * 3 + [2]
    numbered = [f"{paths[name]}[{i}]" for name in ("bytes", "floats", "rows") for i in range(3)]
    assert [row["image"] for row in rows] == [*numbered, str(paths["one"])]
    for row in rows:
        assert sum(row["probabilities"]) == pytest.approx(1)
        assert row["probability"] == max(row["probabilities"]) == row["probabilities"][row["label"]]


def test_few_levels_are_not_taken_for_the_bytes_that_were_learnt(striped: Model, tmp_path: Path) -> None:
    few = drawn(1) // 16
    np.save(tmp_path / "few.npy", few)
    [row] = predict_images(striped, [tmp_path / "few.npy"])
    assert "may be bytes or a few levels" in row["error"]
    learnt = json.dumps(Use((1, SIDE, SIDE), 15.0, 0.0, None).to_metadata())
    model = replace(striped, metadata={**striped.metadata, "used": learnt})
    assert labels(predict_images(model, [tmp_path / "few.npy"])) == [1]


def test_folders_are_read_in_the_order_of_their_names(striped: Model, tmp_path: Path) -> None:
    for name, label in (("b.PNG", 1), ("a.bmp", 0), ("c.tiff", 2)):
        Image.fromarray(drawn(label)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("nothing")
    assert labels(predict_images(striped, [tmp_path])) == [0, 1, 2]
    (tmp_path / "empty").mkdir()
    [row] = predict_images(striped, [tmp_path / "empty"])
    assert "folder without images" in row["error"]


def test_one_bad_file_does_not_lose_the_others(striped: Model, tmp_path: Path) -> None:
    Image.fromarray(drawn(1)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    rows = predict_images(striped, [tmp_path / "none.png", tmp_path / "a.png", tmp_path / "b.png", tmp_path / "a.png"])
    assert ["error" in row for row in rows] == [True, False, True, False]
    assert labels(rows[1::2]) == [1, 1]
    assert "does not exist" in rows[0]["error"]


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> None:
    file = BytesIO()
    Image.fromarray(drawn(2)).save(file, "PNG")
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(file.getvalue())))


@pytest.mark.usefixtures("piped")
def test_standard_input_is_an_image(striped: Model) -> None:
    assert labels(predict_images(striped, [Path("-")])) == [2]
