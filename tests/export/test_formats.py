"""ONNX and .pt2: the same answers as the network, the same bytes each time, and nothing that should not leave."""

from __future__ import annotations

import importlib.util
import io
import json
import pickletools
import zipfile
from collections.abc import Callable

import pytest
import torch
from torch import nn

from qpu_sdk.errors import ConfigError, DataError
from qpu_sdk.export import onnx as onnx_format
from qpu_sdk.export.onnx import check_onnx, onnx_bytes
from qpu_sdk.export.program import METADATA_FILE, check_program, program_bytes
from qpu_sdk.export.sample import TOLERANCE, Sample, sample_of
from qpu_sdk.export.traced import trace
from qpu_sdk.export.weights import Model, Use
from qpu_sdk.layer.photonic_layer import PhotonicLayer
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.training.targets import Target, paper_cnn

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in onnx_format.ONNX_PACKAGES), reason="onnx is not installed"
)
SHAPE = (1, 8, 8)
SAID = {"made_by": "qpu_sdk", "test_accuracy": "0.97"}


def network(seed: int = 1) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4)]
        return nn.Sequential(*layers).eval()


def sample(module: nn.Module) -> Sample:
    model = Model(module.state_dict(), {"used": json.dumps(Use(SHAPE).to_metadata())})
    return sample_of(model, Target(module), own=True)


def test_without_the_runs_images_drawn_ones_are_the_same_each_time() -> None:
    one, other = sample(network()), sample(network())
    assert one.what == "100 random images"
    assert one.tolerance == TOLERANCE
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.logits, network()(one.images).detach())


@pytest.mark.parametrize("file", ["pt2", pytest.param("onnx", marks=needs_onnx)])
def test_a_file_answers_as_the_network_and_is_the_same_each_time(file: str) -> None:
    make, check = MAKERS[file]
    contents = [make(trace(network(), SHAPE), SAID) for _ in range(2)]
    assert contents[0] == contents[1]
    assert 0 <= check(contents[0], sample(network())) <= TOLERANCE


@pytest.mark.parametrize("file", ["pt2", pytest.param("onnx", marks=needs_onnx)])
def test_a_file_of_other_weights_is_not_left(file: str) -> None:
    make, check = MAKERS[file]
    with pytest.raises(DataError, match=r"does not answer as the network does on 100 random images.*limit"):
        check(make(trace(network(2), SHAPE), SAID), sample(network()))


class PartlyHalf(nn.Module):
    """One layer of 16 bits between those of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.coarse, self.last = nn.Linear(64, 32), nn.Linear(32, 32).half(), nn.Linear(32, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(self.coarse(self.first(images.flatten(1)).half()).float())
        return found


@needs_onnx
def test_a_layer_of_fewer_bits_is_compared_by_its_own_roundings() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = PartlyHalf().eval()
    found = sample(module)
    assert found.tolerance == 4 * torch.finfo(torch.float16).eps
    assert TOLERANCE < check_onnx(onnx_bytes(trace(module, SHAPE), SAID), found) <= found.tolerance


MAKERS: dict[str, tuple[Callable[..., bytes], Callable[[bytes, Sample], float]]] = {
    "onnx": (onnx_bytes, check_onnx),
    "pt2": (program_bytes, check_program),
}


@pytest.mark.parametrize("file", ["pt2", pytest.param("onnx", marks=needs_onnx)])
def test_a_file_has_no_path_in_it(file: str) -> None:
    content = MAKERS[file][0](trace(paper_cnn(), (1, 28, 28)), SAID)
    parts = [content]
    if file == "pt2":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = [archive.read(name) for name in archive.namelist()]
    for word in (b"targets.py", b"site-packages", b"/home", b"/tmp"):
        assert not any(word in part for part in parts)


def test_nothing_in_a_program_is_pickled() -> None:
    with zipfile.ZipFile(io.BytesIO(program_bytes(trace(network(), SHAPE), SAID))) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    weights = {name for name in contents if "/weights/weight_" in name}
    assert len(weights) == sum(1 for t in network().state_dict().values() if t.numel())
    for name, content in contents.items():
        assert not content.startswith(b"PK"), name  # as torch.save writes
        assert name in weights or not is_pickle(content), name
    assert json.loads(contents[f"archive/extra/{METADATA_FILE}"]) == SAID


def is_pickle(content: bytes) -> bool:
    try:
        return bool(content) and list(pickletools.genops(content))[-1][0].name == "STOP" and content[:1] == b"\x80"
    except ValueError:
        return False


@needs_onnx
def test_an_onnx_file_says_what_it_is_of_and_takes_any_batch() -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        onnx_bytes(trace(network(), SHAPE), SAID), providers=["CPUExecutionProvider"]
    )
    assert session.get_modelmeta().custom_metadata_map == SAID
    [images], [logits] = session.get_inputs(), session.get_outputs()
    assert (images.name, images.shape, images.type) == ("images", ["batch", *SHAPE], "tensor(float)")
    assert (logits.name, logits.shape) == ("logits", ["batch", 4])


def test_a_missing_package_is_told_with_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_format, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(
        ConfigError, match=r"^ONNX needs onnxscript\. Install with: pip install onnx onnxscript onnxruntime$"
    ):
        onnx_bytes(trace(network(), SHAPE), SAID)


@needs_onnx
def test_an_operator_without_a_translation_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def export(*values: object, **more: object) -> None:
        raise RuntimeError("No ONNX function found for aten.strange.default\nand more")

    monkeypatch.setattr(torch.onnx, "export", export)
    with pytest.raises(
        ConfigError, match=r"as ONNX \(RuntimeError: No ONNX function found for aten\.strange\.default\)"
    ):
        onnx_bytes(trace(network(), SHAPE), SAID)


class Bessel(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.i1e(x)


@needs_onnx
def test_a_part_without_a_translation_is_named() -> None:
    layer = PhotonicLayer(IsometryMesh(4, 2), seed=1)
    for part, operator, size in ((Bessel(), "bessel_i1e", layer.declared), (layer, "probabilities", layer.outcomes)):
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, layer.declared), nn.Sequential(part), nn.Linear(size, 4))
        with pytest.raises(ConfigError) as caught:
            onnx_bytes(trace(module.eval(), SHAPE), SAID)
        told = str(caught.value)
        name = type(part).__name__
        assert told.startswith(f"torch cannot write {name} (2.0) as ONNX (DispatchError: No ONNX function found for")
        assert operator in told
        assert told.endswith("Use --format pt2 or safetensors.")
        assert "\x1b" not in told


def test_values_are_no_predictions() -> None:
    """Two values of an image that are all but equal may change places, where classes may not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    twin = module.state_dict()
    for tensor in twin.values():
        tensor[1] = tensor[0]
    for values in (True, False):
        model = Model(twin, {"used": json.dumps(Use(SHAPE, values=values).to_metadata())})
        found = sample_of(model, Target(module), own=True)

        def swapped(images: torch.Tensor) -> torch.Tensor:
            return module(images).detach() + torch.tensor([0.0, 1e-6])

        if values:
            assert 0 < found.difference(swapped, "it") < TOLERANCE
        else:
            with pytest.raises(DataError, match="100 of 100 predictions differ"):
                found.difference(swapped, "it")


def test_predictions_decide_too() -> None:
    """Logits that are all but equal, of which the largest is another."""
    images = torch.zeros(2, *SHAPE)
    own = Sample(images, torch.tensor([[1.0, 1.0 + 1e-7]] * 2), TOLERANCE, "two images")
    with pytest.raises(DataError, match="2 of 2 predictions differ"):
        own.difference(lambda x: torch.tensor([[1.0 + 1e-6, 1.0]] * len(x)), "it")
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(DataError, match="does not answer"):
            own.difference(lambda x, value=wrong: torch.full((len(x), 2), value), "it")  # type: ignore[misc]
    with pytest.raises(DataError, match="shape"):
        own.difference(lambda x: torch.zeros(len(x), 3), "it")
