"""What a model file says of the images that its network takes, and of how it answers."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

#: Numbers of one image, beyond which a file's word for it is not taken.
LARGEST_IMAGE = 10_000_000
#: The one metadata entry of a model's file, a JSON object: several entries would be written in no fixed order.
METADATA_KEY = "qpu_sdk"


@final
@dataclass(frozen=True)
class Use:
    """Which images a network takes, and how it answers.

    :param shape: of one image, ``(C, H, W)``, or ``(features,)``.
    :param scale: what whole numbers are divided by.
    :param page: brightness of the page that the training images were drawn on, None when they were not.
    :param answers: logits of the trained network on seeded images: another network with the same tensors has others.
    :param as_is: whether it takes numbers of any range.
    :param values: whether it answers with values, and not with a logit a class.
    """

    shape: tuple[int, ...] = (1, 28, 28)
    scale: float | None = None
    page: float | None = None
    answers: Sequence[Sequence[float]] | None = None
    as_is: bool = False
    values: bool = False

    def to_metadata(self) -> dict[str, Any]:
        """As JSON has it, the answers to six digits."""
        answers = None if self.answers is None else [[float(f"{x:.6g}") for x in row] for row in self.answers]
        told = {"shape": list(self.shape), "scale": self.scale, "page": self.page, "answers": answers}
        return told | {key: True for key in ("as_is", "values") if getattr(self, key)}

    @classmethod
    def from_metadata(cls, text: str) -> Use:
        """What a file says; raises :class:`ValueError`, :class:`KeyError` or :class:`TypeError` for anything else."""
        values = json.loads(text)
        shape = tuple(operator.index(size) for size in values["shape"])
        numbers = [None if values[key] is None else float(values[key]) for key in ("scale", "page")]
        answers = values["answers"] and [[float(x) for x in row] for row in values["answers"]]
        if len(shape) not in (1, 3) or min(shape) < 1 or math.prod(shape) > LARGEST_IMAGE:
            raise ValueError(f"images of shape {shape}")
        if numbers[0] is not None and not 0 < numbers[0] < math.inf:
            raise ValueError(f"scale {numbers[0]}")
        said = {key: bool(values.get(key, False)) for key in ("as_is", "values")}
        return cls(shape, numbers[0], numbers[1], answers or None, **said)
