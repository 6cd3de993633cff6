"""Use a trained model: test it on a dataset, or classify images."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError, DataError
from ..training.config import GIVEN, DataConfig, TargetConfig, TrainingConfig
from ..training.config_file import load_config
from ..training.data import load_dataset
from ..training.evaluation import EVALUATION_BATCH, Evaluation, as_taken, check_fit, count_classes, evaluate
from ..training.factories import open_factory, plain_torch
from ..training.losses import CROSS_ENTROPY, Loss, open_loss
from ..training.pictures import PICTURE_ENDINGS, is_light
from ..training.pixels import BYTE, NPY_BEGINNING, NPZ_BEGINNING, read_images
from ..training.targets import BUILT_IN, Target
from .weights import Model, Use

#: Endings of files of arrays.
_ARRAYS = frozenset({".npy", ".npz"})
#: Images whose lightest and darkest pixel differ by less show nothing.
BLANK = 0.1


def open_network(model: Model, *, run: Path | None = None, factory: str | None = None) -> Target:
    """The trained network, whose code is the SDK's, or the user's where he says so.

    :param run: folder of the run, whose configuration names the network; a model file alone has nothing imported.
    :param factory: ``module:function`` or ``path/to/file.py:function``, said by the user himself.
    :raises ConfigError: when the network cannot be made.
    :raises DataError: when the tensors are not that network's.
    """
    named = None if factory is None else TargetConfig(factory=factory)
    if named is None and "structure" not in model.metadata and run is not None and (run / "config.toml").is_file():
        named = load_config(run / "config.toml").target
        told = model.metadata.get("target")  # of what has no factory the model says what to do
        named = None if named.factory in (*BUILT_IN, GIVEN) or named.factory != told else named
    with plain_torch():
        network = None if named is None else open_factory(named.factory, seed=0, folder=named.folder)
        return Target(model.module(network))


def open_trained_loss(model: Model, *, run: Path | None = None, name: str | None = None) -> Loss:
    """The loss that a model was trained with, of which only the name is in its file.

    :param run: folder of the run, whose configuration says where its code is.
    :param name: ``module:function`` or ``path/to/file.py:function``, said by the user himself.
    :raises ConfigError: when it is the user's own, and nobody says where it is.
    """
    own = model.metadata.get("loss")
    if name is None and own is None:
        return CROSS_ENTROPY
    named = TrainingConfig(loss=name)
    if name is None:
        named = TrainingConfig() if run is None else load_config(run / "config.toml").training
        if named.loss != own:
            raise ConfigError(
                f"the model was trained with the loss {own!r:.100}, and nothing that a file names is imported. Say "
                "which it is: --loss FILE.py:function."
            )
    return open_loss(named)


def evaluate_model(
    model: Model, *, source: str | None, target: Target | None = None, loss: Loss | None = None
) -> Evaluation:
    """Test a model on the test images of its own run, or on those of another source.

    :param source: a data source; ``None`` for the run's own images and split.
    :param target: of :func:`open_network`; None for a network whose code is the SDK's.
    :param loss: of :func:`open_trained_loss`; None for cross-entropy.
    """
    data, as_is = model.data, model.use.as_is
    data = data if source is None else DataConfig(source=source, scale=data.scale, as_is=as_is)
    target = target if target is not None else open_network(model)
    loss = loss if loss is not None else open_trained_loss(model)
    with plain_torch():
        read = load_dataset(data, seed=model.data_seed, classes=loss.function is None)
        dataset = as_taken(read, target)
        images, labels = dataset.test.tensors()
        loss = check_fit(target, images, dataset, loss)
        return evaluate(target, target.flat(model.tensors), images, labels, loss)


def predict_images(
    model: Model, paths: Sequence[Path], *, invert: bool | None = None, target: Target | None = None
) -> list[dict[str, Any]]:
    """Label and probabilities of each image, or what a network says that answers with values; of a bad file the error.

    :param paths: of pictures, ``.npy`` and ``.npz`` arrays of one image or several, folders of such, and ``-`` for
        standard input.
    :param invert: True to turn light into dark, None to do so with pictures on a page of the other kind than that of
        the training images.
    :param target: as of :func:`evaluate_model`.
    :raises ConfigError: when the network does not take such images.
    """
    target, use = target if target is not None else open_network(model), model.use
    with plain_torch():
        count_classes(target, torch.zeros(2, *use.shape), logits=not use.values)
    rows: list[dict[str, Any]] = []
    for path in _files(paths):
        try:
            rows += _classified(model, target, use, path, invert)
        except DataError as error:  # the others may be fine
            rows.append({"image": str(path), "error": str(error)})
    return rows


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """The files in folders in their order, and what is no folder as it is."""
    for path in paths:
        endings = PICTURE_ENDINGS | _ARRAYS
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in endings) if path.is_dir() else []
        yield from inside or [path]


def _classified(model: Model, target: Target, use: Use, path: Path, invert: bool | None) -> Iterator[dict[str, Any]]:
    scale = model.data.scale if "data" in model.metadata else None
    piped = sys.stdin.buffer.read() if str(path) == "-" else b""
    source = io.BytesIO(piped) if str(path) == "-" else path
    whole = use.scale if use.scale != BYTE else None  # few levels of grey may be meant where bytes were learnt
    images = read_images(source, shape=use.shape, scale=scale, whole=whole, as_is=use.as_is)
    turned = bool(invert)
    if invert is None and use.page is not None:  # an array is as its maker wants it
        array = path.suffix.lower() in _ARRAYS or piped.startswith((NPY_BEGINNING, NPZ_BEGINNING))
        turned = not array and is_light(images[0]) != bool(use.page)
    images = 1.0 - images if turned else images
    weights = target.flat(model.tensors)
    with plain_torch(), torch.no_grad():
        batches = torch.split(torch.from_numpy(images), EVALUATION_BATCH)
        outputs = torch.cat([target.logits(weights, batch) for batch in batches])
    for index, (image, output) in enumerate(zip(images, outputs, strict=True)):
        yield {
            "image": f"{path}[{index}]" if len(images) > 1 else str(path),
            **({"values": output.reshape(-1).tolist()} if use.values else _of_classes(output.softmax(dim=0))),
            "inverted": turned,
            "blank": image.ndim == 3 and bool(np.ptp(image) < BLANK),
        }


def _of_classes(p: torch.Tensor) -> dict[str, Any]:
    best = int(p.argmax())
    return {"label": best, "probability": float(p[best]), "probabilities": p.tolist()}
