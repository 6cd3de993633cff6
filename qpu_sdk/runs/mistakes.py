"""Which test images a trained network takes for which, and those that it is the most wrong about."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Literal, final

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import CheckpointError
from ..files import first_problem, regular
from ..training.data import Images
from ..training.evaluation import EVALUATION_BATCH
from ..training.targets import Target

#: Most classes of a table that a page shows.
MOST_CLASSES = 20
#: Images that are kept, and the longest side of one that is, pixels.
_MOST_IMAGES, _LARGEST = 12, 64
_Natural = Annotated[int, Field(ge=0)]


@final
class WrongImage(BaseModel):
    """A test image that the network takes for another class.

    :param index: among the test images.
    :param probability: that the network gives its answer.
    :param shape: ``(C, H, W)``.
    :param pixels: bytes, 255 for 1, in base64.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    index: _Natural
    label: _Natural
    answer: _Natural
    probability: Annotated[float, Field(ge=0.0, le=1.0)]
    shape: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    pixels: str

    @model_validator(mode="after")
    def _is_whole(self) -> WrongImage:
        self.array()
        return self

    def array(self) -> npt.NDArray[np.uint8]:
        """The picture, ``(C, H, W)``; raises :class:`ValueError` where the pixels are not those of the shape."""
        return np.frombuffer(base64.b64decode(self.pixels, validate=True), dtype=np.uint8).reshape(self.shape)


@final
class Mistakes(BaseModel):
    """What became of the test images of a run.

    :param confusion: test images of each class, a row, by the answer, a column.
    :param worst: wrong ones whose answers the network is surest of, the surest first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    confusion: tuple[tuple[_Natural, ...], ...]
    worst: tuple[WrongImage, ...] = ()

    @model_validator(mode="after")
    def _is_square(self) -> Mistakes:
        if not self.confusion or any(len(row) != len(self.confusion) for row in self.confusion):
            raise ValueError("confusion is no square table")
        return self

    @property
    def commonest(self) -> str:
        """The commonest mistake, in a sentence; "" where there is none."""
        table = np.array(self.confusion)
        np.fill_diagonal(table, 0)
        if not table.any():
            return ""
        label, answer = divmod(int(table.argmax()), len(table))
        return f"Most often class {label} is taken for {answer}: {table.max()} of {sum(self.confusion[label])} images."


def mistakes_of(target: Target, weights: torch.Tensor, images: Images) -> Mistakes | None:
    """The answers of a trained network; None for more classes than a table shows.

    :param images: of classes.
    """
    pixels, labels = images.tensors()
    with torch.no_grad():
        parts = [target.logits(weights, part).softmax(dim=1).cpu() for part in torch.split(pixels, EVALUATION_BATCH)]
    probabilities, found = (part.numpy() for part in torch.cat(parts).max(dim=1))
    classes, wanted = parts[0].shape[1], labels.numpy()
    if classes > MOST_CLASSES:
        return None
    table = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(table, (wanted, found), 1)
    wrong = np.flatnonzero(found != wanted)
    shape = images.x.shape[1:]
    drawable = len(shape) == 3 and shape[0] in (1, 3) and max(shape) <= _LARGEST
    chosen = wrong[np.argsort(-probabilities[wrong], kind="stable")][: _MOST_IMAGES if drawable else 0]
    worst = tuple(
        WrongImage(
            index=int(i),
            label=int(wanted[i]),
            answer=int(found[i]),
            probability=min(1.0, float(probabilities[i])),
            shape=(shape[0], shape[1], shape[2]),
            pixels=base64.b64encode(_bytes_of(images.x[i])).decode(),
        )
        for i in chosen
    )
    return Mistakes(confusion=tuple(map(tuple, table.tolist())), worst=worst)


def _bytes_of(image: npt.NDArray[np.float32]) -> bytes:
    """As bytes; numbers of any range by the image's own."""
    low, high = float(image.min()), float(image.max())
    if low < 0.0 or high > 1.0:
        image = (image - low) / (high - low)
    whole: npt.NDArray[np.uint8] = np.rint(255.0 * image).astype(np.uint8)
    return whole.tobytes()


def read_mistakes(path: Path) -> Mistakes | None:
    """Of a run; None where it has none.

    :raises CheckpointError: when the file is damaged.
    """
    try:
        return Mistakes.model_validate_json(regular(path).read_text(encoding="utf-8")) if path.exists() else None
    except (OSError, ValidationError, ValueError) as error:
        why = first_problem(error) if isinstance(error, ValueError) else str(error)
        raise CheckpointError(f"{path} is damaged ({why}). Delete it: the report alone needs it.") from error
