"""Images that decide whether a file answers as the trained network does, and the logits that it has to give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DataError
from ..training.data import load_dataset
from ..training.evaluation import EVALUATION_BATCH, as_taken
from ..training.factories import plain_torch
from ..training.own_images import names_code
from ..training.targets import Target
from .weights import Model

#: Largest difference of a logit, a part of the largest logit, or of 1 where all are smaller.
TOLERANCE = 1e-5
#: Of networks with numbers of 16 bits: so many roundings of such a number.
_ROUNDINGS = 4
#: Images that are drawn where those of the run are not at hand, and their seed.
_DRAWN, _SEED = 100, 20_250_508


@final
@dataclass(frozen=True, eq=False)
class Sample:
    """Images and what the trained network answers.

    :param images: float32, ``(n, *shape)``.
    :param logits: float32, ``(n, classes)``.
    :param tolerance: largest difference of a logit, a part of :attr:`scale`.
    :param what: they are.
    :param values: whether the network answers with values, of which the largest is no prediction.
    """

    images: Tensor
    logits: Tensor
    tolerance: float
    what: str
    values: bool = False

    @property
    def scale(self) -> float:
        """The largest logit, or 1 where all are smaller."""
        return max(1.0, float(self.logits.abs().max()))

    def difference(self, answer: Callable[[Tensor], Tensor], file: str) -> float:
        """Largest difference of a logit, a part of :attr:`scale`, once it is sure that the file answers as the network.

        :param answer: of the file, for float32 images ``(n, *shape)``.
        :param file: what it is called.
        :raises DataError: when a logit differs by more than the tolerance, a prediction at all, or it refuses a batch.
        """
        # One alone and the rest: files that were made for one size of batch refuse the other.
        parts = [self.images[:1], *torch.split(self.images[1:], EVALUATION_BATCH)]
        found = torch.cat([_rows(answer(part)) for part in parts if len(part)])
        if found.shape != self.logits.shape:
            shapes = f"{tuple(found.shape)}, the network with {tuple(self.logits.shape)}"
            raise DataError(f"{file} answers with shape {shapes}. Use --format safetensors.")
        largest = float((found - self.logits).abs().max()) / self.scale
        others = 0 if self.values else int((found.argmax(dim=1) != self.logits.argmax(dim=1)).sum())
        if not largest <= self.tolerance or others:  # NaN is not below anything
            raise DataError(
                f"{file} does not answer as the network does on {self.what}: logits differ by {largest:.2g} of the "
                f"largest, {self.tolerance:.2g} is the limit, and {others} of {len(found)} predictions differ. Use "
                "--format safetensors."
            )
        return largest


def sample_of(model: Model, target: Target, *, own: bool) -> Sample:
    """The test images of the model's run, or drawn ones where these are not at hand.

    :param target: the trained network.
    :param own: False for drawn images: a model file from elsewhere decides nothing of what is read here.
    """
    with plain_torch():
        found = _of_the_run(model, target) if own else None
        images, what = found if found is not None else _drawn(model, target)
        weights = target.flat(model.tensors)
        with torch.no_grad():
            parts = torch.split(images, EVALUATION_BATCH)
            logits = torch.cat([_rows(target.logits(weights, part)) for part in parts])
        return Sample(images, logits, max(TOLERANCE, _ROUNDINGS * _rounding(target.module)), what, model.use.values)


def _rows(answer: Tensor) -> Tensor:
    """Float32, one row an image."""
    return answer.float().reshape(len(answer), -1)


def kind_of(network: nn.Module) -> torch.dtype:
    """The type in which a network takes images: of its parameters where all have one, else float32."""
    kinds = {p.dtype for p in network.parameters() if p.is_floating_point()}
    return kinds.pop() if len(kinds) == 1 else torch.float32


def _rounding(network: nn.Module) -> float:
    """Of the coarsest numbers in it, where a layer or a buffer has fewer bits than the others."""
    return max((torch.finfo(t.dtype).eps for t in network.state_dict().values() if t.is_floating_point()), default=0.0)


def _of_the_run(model: Model, target: Target) -> tuple[Tensor, str] | None:
    try:
        if names_code(model.data.source):  # which a file may name, and nothing that a file names is imported
            return None
        images = as_taken(
            load_dataset(model.data, seed=model.data_seed, classes="loss" not in model.metadata), target
        ).test.tensors()[0]
    except (ConfigError, DataError):  # passed from Python, or moved
        return None
    fitting = images.shape[1:] == model.use.shape  # else they changed since
    return (images, f"{len(images):,} test images") if fitting else None


def _drawn(model: Model, target: Target) -> tuple[Tensor, str]:
    rng = torch.Generator().manual_seed(_SEED)
    return target.some_images(_DRAWN, model.use.shape, rng), f"{_DRAWN} random images"
