"""Configuration of what a run is about and its file can only name: the images, and the network."""

from __future__ import annotations

from typing import Any, Literal, final

from pydantic import SerializerFunctionWrapHandler, model_serializer

from .allowed import Positive, PositiveOrZero, Rate, SeedNumber
from .section import Section

#: What a configuration says of a network or images that were passed as objects, which no file can name.
GIVEN = "(given)"


@final
class DataConfig(Section):
    """Which images. ``draw="training"`` draws both sets by seed from the source's training images.

    :param source: ``mnist-5k``, which ships, ``mnist``, a folder, ``FILE.npz`` or ``TRAIN.csv,TEST.csv``.
    :param draw: whether the source's parts are taken, or both sets drawn by seed from its training images.
    :param train_size: how many of the training images; none: all.
    :param test_size: how many of the test images; none: all.
    :param validation_size: training images held out, for choosing anything.
    :param seed: of the draw; none: the run's.
    :param scale: what all pixels are divided by; none: integers beyond 127 are bytes, the rest is as it is.
    :param second_test: a source whose whole test part is a second test set, the same for every seed.
    :param as_is: whether numbers are of any range, such as normalised ones, and nothing is divided.
    """

    source: str = "mnist-5k"
    draw: Literal["given", "training"] = "given"
    train_size: Positive | None = None
    test_size: Positive | None = None
    validation_size: PositiveOrZero = 0
    seed: SeedNumber | None = None
    scale: Rate | None = None
    second_test: str | None = None
    as_is: bool = False

    @model_serializer(mode="wrap")
    def _without_later_keys(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave keys out that came later and are not set: fingerprints and models are the same as before."""
        later = {"scale", "second_test", "as_is"}
        return {key: value for key, value in inner(self).items() if key not in later or value not in (None, False)}


@final
class TargetConfig(Section):
    """The network whose weights are generated: ``module:function`` or ``FILE.py:function`` returning a ``nn.Module``.

    :data:`GIVEN` stands for one that was passed to :func:`qpu_sdk.runs.train.train`; so it does for images.

    :param factory: the function that returns the network.
    :param folder: where the module is, unless it is installed; a run writes it down.
    :param include: patterns, as of file names, of the parameters that are generated; none: all.
    :param exclude: patterns of those that are not.
    :param rest: whether what is not generated is trained as it is, or keeps its values.
    """

    factory: str = "qpu_sdk.training.targets:paper_cnn"
    folder: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    rest: Literal["train", "freeze"] = "train"

    @model_serializer(mode="wrap")
    def _without_later_keys(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave ``folder`` out where it is not set, and the choice where all is generated."""
        values = inner(self)
        chosen = bool(self.include or self.exclude)
        out = {key for key in ("folder", "include", "exclude") if not values.get(key)} | (
            {"rest"} if not chosen else set()
        )
        return {key: value for key, value in values.items() if key not in out}
