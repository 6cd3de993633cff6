"""Use a trained model: test it on a dataset, or classify images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import ConfigError
from ..training.config import GIVEN, DataConfig, TargetConfig, TrainingConfig
from ..training.config_file import load_config
from ..training.data import load_dataset
from ..training.evaluation import EVALUATION_BATCH, Evaluation, as_taken, check_fit, count_classes, evaluate
from ..training.factories import open_factory, plain_torch
from ..training.losses import CROSS_ENTROPY, Loss, open_loss
from ..training.own_images import names_code
from ..training.pixels import Pixels
from ..training.targets import BUILT_IN, Target
from .classified import classified
from .weights import Model


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
    model: Model,
    *,
    source: str | None,
    target: Target | None = None,
    loss: Loss | None = None,
    run: Path | None = None,
) -> Evaluation:
    """Test a model on the test images of its own run, or on those of another source.

    :param source: a data source; ``None`` for the run's own images and split.
    :param target: of :func:`open_network`; None for a network whose code is the SDK's.
    :param loss: of :func:`open_trained_loss`; None for cross-entropy.
    :param run: folder of the run, whose configuration may name a function that gives the images.
    :raises ConfigError: when only the model file names such a function.
    """
    data, as_is = model.data, model.use.as_is
    if source is None:
        _check_said(data.source, run)
    else:
        data = DataConfig(source=source, scale=data.scale, as_is=as_is)
    target = target if target is not None else open_network(model)
    loss = loss if loss is not None else open_trained_loss(model)
    with plain_torch():
        read = load_dataset(data, seed=model.data_seed, classes=loss.function is None)
        dataset = as_taken(read, target)
        images, labels = dataset.test.tensors()
        loss = check_fit(target, images, dataset, loss)
        return evaluate(target, target.flat(model.tensors), images, labels, loss)


def _check_said(source: str, run: Path | None) -> None:
    """Raise unless a function that a model file names as its images is what the user's own configuration names too."""
    if names_code(source) and (run is None or load_config(run / "config.toml").data.source != source):
        raise ConfigError(
            f"the model was trained on images of {source!r:.100}, and nothing that a file names is imported. Say which "
            "they are: --data FILE.py:function."
        )


def predict_images(
    model: Model, paths: Sequence[Path], *, invert: bool | None = None, target: Target | None = None
) -> list[dict[str, Any]]:
    """Label and probabilities of each image, or what a network says that answers with values; of a bad file the error.

    :param paths: of pictures, ``.npy`` and ``.npz`` arrays of one image or several, folders of such, patterns of these
        as a shell has them, ``scans/*.png``, and ``-`` for standard input.
    :param invert: True to turn light into dark, None to do so with pictures on a page of the other kind than that of
        the training images.
    :param target: as of :func:`evaluate_model`.
    :raises ConfigError: when the network does not take such images.
    """
    target, use = target if target is not None else open_network(model), model.use
    with plain_torch():
        count_classes(target, torch.zeros(2, *use.shape), logits=not use.values)
    weights = target.flat(model.tensors)

    def network(images: Pixels) -> npt.NDArray[np.floating[Any]]:
        with plain_torch(), torch.no_grad():
            batches = torch.split(torch.from_numpy(images), EVALUATION_BATCH)
            return np.asarray(torch.cat([target.logits(weights, batch) for batch in batches]))

    scale = model.data.scale if "data" in model.metadata else None
    return classified(network, use, paths, scale=scale, invert=invert)
