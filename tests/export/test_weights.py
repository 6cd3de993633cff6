"""Model files: tensors and provenance come back, anything unusable is one DataError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from qpu_sdk.errors import ConfigError, DataError
from qpu_sdk.export.inference import evaluate_model, predict_images
from qpu_sdk.export.structure import describe
from qpu_sdk.export.weights import METADATA_KEY, Model, load_model, model_bytes, save_model
from qpu_sdk.runs.finish import metadata_of
from qpu_sdk.runs.summary import MitigationSummary
from qpu_sdk.training.config import GIVEN
from qpu_sdk.training.config_file import load_config
from qpu_sdk.training.targets import Target, paper_cnn
from tests.digits import write_digits

CONFIG = load_config(overrides=["seed=3", "data.source=digits.npz", "data.validation_size=5"])


def model(**metadata: str) -> Model:
    target = Target(paper_cnn())
    weights = torch.randn(target.size, generator=torch.Generator().manual_seed(1))
    base = metadata_of(CONFIG, test_accuracy=0.5, versions={"torch": "2", "numpy": "2"})
    return Model(target.tensors(weights), base | metadata)


def test_round_trip_by_file_and_by_folder(tmp_path: Path) -> None:
    path, expected = tmp_path / "model.safetensors", model()
    save_model(path, expected)
    for got in (load_model(path), load_model(tmp_path), load_model(str(path))):
        assert got.metadata == expected.metadata
        assert list(got.open_target().shapes) == list(Target(paper_cnn()).shapes)
        assert all(torch.equal(got.tensors[name], tensor) for name, tensor in expected.tensors.items())


def test_provenance_names_data_seed_and_target(tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors", model())
    got = load_model(tmp_path)
    assert got.data == CONFIG.data
    assert got.data_seed == CONFIG.data_seed == 3
    assert got.metadata["config_sha256"] == CONFIG.fingerprint
    assert got.metadata["target"] == CONFIG.target.factory


def test_equal_models_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_model(tmp_path / name, model())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_files_say_that_they_are_of_torch(tmp_path: Path) -> None:
    """Hugging Face's loaders refuse a file without it; equal files need the metadata in one order."""
    given = model()
    save_model(tmp_path / "m.safetensors", given)
    with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
        assert file.metadata()["format"] == "pt"
    content = (tmp_path / "m.safetensors").read_bytes()
    assert {model_bytes(given) for _ in range(20)} == {content}


def test_views_are_stored_on_their_own(tmp_path: Path) -> None:
    whole = torch.arange(10.0)
    save_model(tmp_path / "m", Model({"a": whole[:4], "b": whole[4:].view(2, 3).T}, {}))
    got = load_file(tmp_path / "m")
    assert torch.equal(got["a"], whole[:4])
    assert torch.equal(got["b"], whole[4:].view(2, 3).T)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_files_are_told(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, model())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"model\.safetensors cannot be read"):
        load_model(path)


def test_missing_files_are_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(DataError, match="does not exist"):
            load_model(path)


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint64, torch.float64])
def test_a_buffer_of_any_type_comes_back(tmp_path: Path, kind: torch.dtype) -> None:
    buffer = torch.tensor([1.0, 2.0, 96.0]).to(kind)
    save_model(tmp_path / "m", Model({"kept": buffer}, {}))
    found = load_model(tmp_path / "m").tensors["kept"]
    assert (found.dtype, found.double().tolist()) == (kind, [1.0, 2.0, 96.0])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_told(tmp_path: Path, value: float) -> None:
    broken = model()
    broken.tensors["fc1.bias"][3] = value
    save_model(tmp_path / "m", broken)
    with pytest.raises(DataError, match="not finite"):
        load_model(tmp_path / "m")


def test_only_built_in_targets_are_opened() -> None:
    for name in ("os:system", "tests.training.tiny:linear", ""):
        with pytest.raises(ConfigError, match="not built in"):
            model(target=name).open_target()


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_tensors_of_another_network_are_told(change: str) -> None:
    tensors = dict(model().tensors)
    if change == "missing":
        del tensors["fc2.bias"]
    else:
        tensors["extra" if change == "extra" else "fc2.bias"] = torch.zeros(3)
    words = {
        "missing": r"the file has no fc2\.bias",
        "extra": "the file has extra too",
        "shape": r"fc2\.bias was \(3,\) float32 and is \(10,\) float32",
    }
    with pytest.raises(DataError, match=f"tensors are not those of .*: {words[change]}"):
        Model(tensors, model().metadata).open_target()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64])
def test_tensors_of_another_type_are_told_or_converted(tmp_path: Path, dtype: torch.dtype) -> None:
    data, base = write_digits(tmp_path / "digits.npz"), model()
    save_model(tmp_path / "m", Model({n: t.to(dtype) for n, t in base.tensors.items()}, base.metadata))
    try:
        assert evaluate_model(load_model(tmp_path / "m"), source=str(data)).size == 30
    except DataError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message


@pytest.mark.parametrize("key", ["data", "data_seed"])
@pytest.mark.parametrize("value", [None, "", "nonsense", "[]"])
def test_provenance_that_cannot_be_read_is_told(tmp_path: Path, key: str, value: str | None) -> None:
    metadata = {k: v for k, v in model().metadata.items() if k != key} | ({} if value is None else {key: value})
    save_model(tmp_path / "m", Model(model().tensors, metadata))
    with pytest.raises(DataError):
        evaluate_model(load_model(tmp_path / "m"), source=None)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '"text"', '{"data": 3}'])
def test_metadata_of_another_kind_is_told(tmp_path: Path, text: str) -> None:
    save_model(tmp_path / "m", model())
    with safe_open(tmp_path / "m", framework="pt") as file:
        keys = list(file.metadata() or {})
    save_file(
        {n: t.contiguous() for n, t in model().tensors.items()}, tmp_path / "m", metadata=dict.fromkeys(keys, text)
    )
    with pytest.raises((DataError, ConfigError)):
        evaluate_model(load_model(tmp_path / "m"), source=None)


def test_a_model_is_tested_on_other_images_than_its_own(tmp_path: Path) -> None:
    data = write_digits(tmp_path / "digits.npz")
    result = evaluate_model(model(), source=str(data))
    assert result.size == 30
    assert 0 <= result.accuracy <= 1


def test_provenance_has_no_paths() -> None:
    name = "local:twin?record=/home/somebody/secret.json"
    done = MitigationSummary(
        methods={name: ["unfold"]}, record_ids={name: "abc"}, p_shift=[0.1], effective_samples=[2.0], notes={name: name}
    )
    told = metadata_of(CONFIG, test_accuracy=0.5, versions={}, mitigation=done)["mitigation"]
    assert "somebody" not in told
    assert json.loads(told)["record_ids"] == {"local:twin": "abc"}


def nested_text(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize("text", [nested_text(10**5), '{"target": []}', '{"structure": {}}', '{"data_seed": 1e999}'])
def test_metadata_that_are_not_text_are_one_line(tmp_path: Path, text: str) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "m", metadata={METADATA_KEY: text})
    with pytest.raises(DataError, match="cannot be read") as caught:
        load_model(tmp_path / "m")
    assert "\n" not in str(caught.value)


def test_a_model_of_a_passed_network_says_so() -> None:
    with pytest.raises(ConfigError, match="a network passed from Python") as caught:
        model(target=GIVEN).module()
    assert GIVEN not in str(caught.value)


def test_a_structure_in_a_file_becomes_a_network_of_its_own(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    save_model(tmp_path / "m", Model(network.state_dict(), {"structure": json.dumps(describe(network))}))
    loaded, images = load_model(tmp_path / "m"), torch.rand(3, 1, 2, 2)
    again = loaded.module()
    assert not again.training
    assert torch.equal(again(images), network(images))
    with torch.no_grad():
        again.get_parameter("1.weight").zero_()
    assert torch.equal(loaded.module()(images), network(images))


def test_images_that_the_network_does_not_take_are_one_line(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (28, 28)).save(tmp_path / "i.png")
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    small = Model(network.state_dict(), {"structure": json.dumps(describe(network))})
    with pytest.raises(ConfigError, match="does not take images of shape") as caught:
        predict_images(small, [tmp_path / "i.png"], invert=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("passed", [nn.Linear, "Linear", paper_cnn])
def test_what_is_no_network_is_told(passed: Any) -> None:
    with pytest.raises(ConfigError, match=r"torch\.nn\.Module"):
        model().module(passed)
