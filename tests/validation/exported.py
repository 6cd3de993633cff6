"""Exported files where nothing of the SDK is: an environment of its own for each format, and a browser for the page."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

import qpu_sdk as qs
from qpu_sdk.runs.leave import export_model
from qpu_sdk.training.data import load_dataset
from tests.browser import CHROMIUM, browser
from tests.digits import TINY, write_digits
from tests.export.test_demo import READY, SEVEN, draw, shown

ROOT = Path(__file__).parents[2]
#: What none of the environments may have, beside what another format needs.
OURS = ("qpu_sdk", "perceval", "scipy", "onnx", "onnxscript")
ONNX = """
import numpy as np, onnxruntime
x = np.fromfile("images", dtype=np.float32).reshape(-1, 1, 28, 28)
onnxruntime.InferenceSession("model.onnx").run(["logits"], {"images": x})[0].tofile("found")
"""
SAFETENSORS = """
import sys, torch
sys.argv = ["load_model.py", "model.safetensors"]
exec(open("load_model.py").read())
x = torch.frombuffer(bytearray(open("images", "rb").read()), dtype=torch.float32).view(-1, 1, 28, 28)
open("found", "wb").write(bytes(network(x).contiguous().view(torch.uint8).flatten().tolist()))
"""
PT2 = """
import torch
x = torch.frombuffer(bytearray(open("images", "rb").read()), dtype=torch.float32).view(-1, 1, 28, 28)
y = torch.export.load("model.pt2").module()(x).detach()
open("found", "wb").write(bytes(y.contiguous().view(torch.uint8).flatten().tolist()))
"""


@final
@dataclass(frozen=True)
class Place:
    """An environment: what is installed, what must not be there, and what is run."""

    packages: tuple[str, ...]
    absent: tuple[str, ...]
    script: str


PLACES: Mapping[str, Place] = {
    "onnxruntime and numpy": Place(("onnxruntime", "numpy"), (*OURS, "torch", "safetensors"), ONNX),
    "torch and safetensors": Place(("torch", "safetensors"), (*OURS, "onnxruntime"), SAFETENSORS),
    "torch": Place(("torch",), (*OURS, "onnxruntime", "safetensors", "numpy"), PT2),
}


def leaves(folder: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A small run with all its files in ``folder``; its test images, and the network's logits of these."""
    settings = TINY | {"data.source": write_digits(folder / "digits.npz")}
    config = qs.load_config(overrides=[f"{key}={value}" for key, value in settings.items()])
    run = qs.train(config, folder / "run")
    export_model(run.path, folder / "out", format="all")
    shutil.copy(ROOT / "examples" / "load_model.py", folder / "out")
    images = load_dataset(config.data, seed=config.data_seed).test.tensors()[0]
    logits = run.model.module()(images).detach()
    (folder / "out" / "images").write_bytes(images.numpy().tobytes())
    return images.numpy(), logits.numpy()


def differences(folder: Path) -> Iterator[tuple[str, float]]:
    """The largest difference of a logit in each environment, a part of the largest logit."""
    _, logits = leaves(folder)
    out = folder / "out"
    for name, place in PLACES.items():
        python = environment(folder / name.replace(" ", "-"), place)
        subprocess.run([python, "-c", place.script], cwd=out, check=True, capture_output=True)
        found = np.fromfile(out / "found", dtype=np.float32).reshape(logits.shape)
        assert (found.argmax(axis=1) == logits.argmax(axis=1)).all(), f"{name}: another prediction"
        yield name, float(np.abs(found - logits).max() / np.abs(logits).max())
        (out / "found").unlink()
        shutil.rmtree(python.parents[1])


def environment(folder: Path, place: Place) -> Path:
    """Its Python, once it is sure that nothing else is installed."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", ROOT / "constraints.txt"]
    subprocess.run([*install, *place.packages], check=True)
    code = f"import importlib.util as u, json; print(json.dumps([n for n in {place.absent!r} if u.find_spec(n)]))"
    done = subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == []
    return python


def in_a_browser(folder: Path) -> float | None:
    """The largest difference of a probability between the page and onnxruntime here, on the pixels that the page shows.

    None where Chromium or npm, which brings the runtime, is not installed.
    """
    import onnxruntime

    if CHROMIUM is None or shutil.which("npm") is None:
        return None
    leaves(folder)
    packed = subprocess.run(
        ["npm", "pack", "--silent", "onnxruntime-web@1.30.0"], cwd=folder, check=True, capture_output=True, text=True
    )
    page_file = folder / "demo.html"
    export_model(folder / "run", page_file, format="demo", runtime=folder / packed.stdout.strip())
    with browser(folder / "profile") as page:
        page.open(page_file.as_uri())
        page.wait(READY)
        draw(page, SEVEN)
        pixels, found = shown(page)
        assert set(page.requests) == {page_file.as_uri()}, page.requests
        assert page.errors == []
    session = onnxruntime.InferenceSession(folder / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    [logits] = session.run(["logits"], {"images": pixels[None, None].astype(np.float32)})[0]
    p = np.exp(logits - logits.max())
    return float(np.abs(np.asarray(found) - p / p.sum()).max())
