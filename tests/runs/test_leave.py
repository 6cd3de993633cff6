"""What leaves a run: all formats, checked and whole or not at all, and seeds that make the same bits."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import qpu_sdk as qs
from qpu_sdk.errors import ConfigError, DataError
from qpu_sdk.export import onnx as onnx_format
from qpu_sdk.export.seed import expand_seed
from qpu_sdk.runs import leave
from qpu_sdk.runs.leave import FORMATS, export_model
from tests.digits import SMALLEST, write_small_digits
from tests.training import tiny

pytestmark = pytest.mark.usefixtures("no_figures")
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in onnx_format.ONNX_PACKAGES), reason="onnx is not installed"
)


def run(folder: Path, *changes: str, target: nn.Module | None = None) -> qs.Run:  # type: ignore[name-defined]
    data = write_small_digits(folder / "digits.npz")
    settings = SMALLEST | {"data.source": data} | ({} if target is None else {"target.factory": '"(given)"'})
    config = qs.load_config(overrides=[f"{key}={value}" for key, value in settings.items()] + list(changes))
    return qs.train(config, folder / "run", target=target)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", lambda self, out, **_: out.write("<svg></svg>"))
        return Path(run(tmp_path_factory.mktemp("run")).path)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@needs_onnx
def test_all_formats_leave_together(finished: Path, tmp_path: Path) -> None:
    done = export_model(finished, tmp_path / "out", format="all")
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(FORMATS.values()) - {"demo.html"}
    assert set(done.left_out) == {"demo"}
    assert "npm pack onnxruntime-web" in done.left_out["demo"]
    assert sha256(done.files["safetensors"]) == sha256(finished / "model.safetensors")
    for name in ("onnx", "pt2"):
        assert done.facts[name]["checked_on"] == "30 test images"
        assert done.facts[name]["largest_difference"] <= 1e-5
    assert all(done.facts[name]["bytes"] == path.stat().st_size for name, path in done.files.items())


def test_a_seed_expands_to_the_same_file(finished: Path, tmp_path: Path) -> None:
    done = export_model(finished, tmp_path / "s", format="seed")
    found = expand_seed(tmp_path / "s")
    assert found.identical
    assert found.sha256 == sha256(finished / "model.safetensors")
    assert done.facts["seed"]["weights_over_seed"] == pytest.approx(found.ratio, abs=0.01)


def test_a_model_file_does_not_say_what_is_read(finished: Path, tmp_path: Path) -> None:
    factory = "tests.training.tiny:linear"
    done = export_model(finished / "model.safetensors", tmp_path / "m", format="pt2", target=factory)
    assert done.facts["pt2"]["checked_on"] == "100 random images"


class Mine(nn.Module):
    """Of a class that no file describes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(images.flatten(1))
        return found


def test_a_network_passed_from_python_is_named_to_leave(tmp_path: Path) -> None:
    made = run(tmp_path, target=Mine())
    with pytest.raises(ConfigError, match=r"of a network passed from Python.* or --target FILE\.py:FUNCTION"):
        made.export(tmp_path / "m.pt2", format="pt2")
    made.export(tmp_path / "m.pt2", format="pt2", target=f"{__name__}:Mine")
    assert torch.export.load(tmp_path / "m.pt2").module()(torch.zeros(3, 1, 4, 4)).shape == (3, 2)


class Tied(nn.Module):
    """A norm with statistics, a tied layer, a frozen one, half precision, and a buffer of whole numbers."""

    steps: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.first = nn.Linear(16, 16, bias=False)
        self.second = nn.Linear(16, 16, bias=False)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(16, 4).requires_grad_(False)
        self.last = nn.Linear(4, 2)
        self.register_buffer("steps", torch.tensor([1, 2]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.second(self.first(self.norm(x).flatten(1)).relu())
        out: torch.Tensor = self.last(self.frozen(x))
        return out


@pytest.mark.parametrize("kind", ["lean", "paper"])
def test_what_is_not_generated_is_in_the_seed_too(kind: str, tmp_path: Path) -> None:
    done = run(tmp_path, f"generator.kind={kind}", "qnn.0.modes=7", "qnn.1.modes=7", target=Tied())
    done.export(tmp_path / "s", format="seed")
    found = expand_seed(tmp_path / "s")
    assert found.identical
    assert found.sha256 == sha256(done.path / "model.safetensors")
    names = set(load_file(tmp_path / "s"))
    assert {"kept.norm.running_mean", "kept.frozen.weight", "kept.steps"} <= names
    assert not {"kept.first.weight", "kept.second.weight", "kept.last.bias"} & names


def test_mitigated_probabilities_are_in_the_seed(tmp_path: Path) -> None:
    noisy = "device=local:slos?noise=ascella&transmittance=0.5"
    done = run(tmp_path, noisy, "training.shots=400000", "training.final_shots=400000", "spsa.steps=0")
    assert done.summary.mitigation is not None
    done.export(tmp_path / "s", format="seed")
    assert expand_seed(tmp_path / "s").sha256 == sha256(done.path / "model.safetensors")
    assert load_file(tmp_path / "s")["p.0"].dtype == torch.float64


def test_a_generator_of_first_weights_has_no_seed(tmp_path: Path) -> None:
    done = run(tmp_path, "generator.kind=phases")
    with pytest.raises(DataError, match="as large as they are"):
        done.export(tmp_path / "s", format="seed")


@pytest.mark.parametrize("gone", ["journal.sqlite", "checkpoint", "summary.json", "config.toml"])
def test_what_a_seed_needs_is_told(finished: Path, tmp_path: Path, gone: str) -> None:
    import shutil

    shutil.copytree(finished, tmp_path / "run")
    where = tmp_path / "run" / gone
    shutil.rmtree(where) if where.is_dir() else where.unlink()
    with pytest.raises(DataError, match="has no seed") as told:
        export_model(tmp_path / "run", tmp_path / "s", format="seed")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "s").exists()


def test_a_model_file_alone_has_no_seed(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Name the folder of the run"):
        export_model(finished / "model.safetensors", tmp_path / "s", format="seed")


# -- files that are there ----------------------------------------------------------------------------------


def test_a_file_that_is_there_is_kept_unless_forced(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("mine")
    with pytest.raises(DataError, match=r"exists already.*--force"):
        export_model(finished, tmp_path / "m", format="card")
    assert (tmp_path / "m").read_text() == "mine"
    export_model(finished, tmp_path / "m", format="card", force=True)
    assert (tmp_path / "m").read_text().startswith("---\n")
    with pytest.raises(DataError, match="cannot write"):
        export_model(finished, tmp_path / "none" / "m")
    with pytest.raises(DataError, match="is a file"):
        export_model(finished, tmp_path / "m", format="all", force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_one_file_of_all_that_is_there_keeps_the_rest_away(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(DataError, match=r"README\.md exists already"):
        export_model(finished, tmp_path, format="all")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


@pytest.mark.parametrize("name", ["onnx", "pt2"])
def test_a_file_that_fails_its_check_is_not_left(
    name: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(content: bytes, sample: object) -> float:
        raise DataError("it answers otherwise")

    (tmp_path / "m").write_text("mine")
    monkeypatch.setattr(leave, "onnx_bytes", lambda program, metadata: b"content")
    monkeypatch.setattr(leave, "check_onnx", check)
    monkeypatch.setattr(leave, "check_program", check)
    with pytest.raises(DataError, match="it answers otherwise"):
        export_model(finished, tmp_path / "m", format=name, target="tests.training.tiny:linear", force=True)
    assert (tmp_path / "m").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("format_", ["", "pickle", None, 3])
def test_other_formats_are_refused(finished: Path, tmp_path: Path, format_: Any) -> None:
    with pytest.raises(ConfigError, match="Use one of safetensors, onnx, pt2, seed, card, demo, all"):
        export_model(finished, tmp_path / "m", format=format_)


def test_a_network_whose_parameters_changed_shape_is_told(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"layer\.weight was \(2, 16\) float32 and is \(3, 16\) float32"):
        export_model(finished, tmp_path / "m", format="pt2", target=f"{__name__}:wider")
    assert not (tmp_path / "m").exists()


def wider() -> nn.Module:
    return tiny.Linear(classes=3)


def test_all_goes_on_without_what_cannot_be_made(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_format, "find_spec", lambda name: None)
    done = export_model(finished, tmp_path / "out", format="all")
    assert set(done.left_out) == {"onnx", "demo"}
    assert "ONNX needs onnx, onnxscript, onnxruntime" in done.left_out["onnx"]
    assert set(done.files) == {"safetensors", "pt2", "seed", "card"}
