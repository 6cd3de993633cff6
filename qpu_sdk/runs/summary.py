"""What a run reports, ``summary.json``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError, model_validator

from ..errors import CheckpointError
from ..files import check_schema, first_problem, regular

#: A figure, NaN where there is none, which JSON writes as null.
Figure = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    PlainSerializer(lambda value: None if math.isnan(value) else value, return_type=float | None),
]


class TrainableParameters(BaseModel):
    """Numbers that training can change; ``identifiable`` counts those that change the result independently.

    ``ordinary`` are weights of the network that are not generated but trained as they are.
    """

    model_config = ConfigDict(extra="forbid")

    phases: int
    generator: int
    ordinary: int = 0
    total: int
    identifiable: int | None = None


class MitigationSummary(BaseModel):
    """What mitigation did to the final p.

    :param methods: used for any QNN of a device, by device string.
    :param record_ids: by device string.
    :param p_shift: total variation distance from the post-selected distribution, of each QNN.
    :param effective_samples: events of a perfect device with the same variance, of each QNN.
    :param notes: why a device was only post-selected, by device string.
    """

    model_config = ConfigDict(extra="forbid")

    methods: dict[str, list[str]]
    record_ids: dict[str, str]
    p_shift: list[float]
    effective_samples: list[float | None]
    notes: dict[str, str] = {}


class RunSummary(BaseModel):
    """Results of a run; accuracies are fractions of the images named beside them.

    Where labels are no classes there is no accuracy: ``metric`` is then ``loss``, accuracies are NaN, in files null.
    Losses are means of what ``loss`` names, or of the cross-entropy.
    ``controls`` holds what ``metric`` names, test accuracies or test losses, of controls on the same images,
    ``control_parameters`` how many numbers each of them trained; ``controls_again`` has a second evaluation of those
    that draw their weights anew at every call.
    ``second_test_accuracy`` and ``second_controls`` are of the second test set, which is the same for every seed.
    ``target_parameters`` are generated; ``frozen_parameters`` of the target keep their values.
    ``chance`` is what one reaches who always says the commonest class of the test images.
    ``machine_s`` is the time of the devices, without queues.
    ``test_accuracy_before_mitigation`` is that of the final generator on the post-selected p.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = 1
    metric: Literal["accuracy", "loss"] = "accuracy"
    loss: str | None = None
    test_accuracy: Figure
    test_standard_error: Figure
    train_accuracy: Figure
    test_loss: Figure = math.nan
    train_loss: Figure = math.nan
    validation_loss: float | None = None
    second_test_loss: float | None = None
    validation_accuracy: float | None = None
    chance: float | None = None
    test_size: int
    train_size: int
    validation_size: int = 0
    second_test_accuracy: float | None = None
    second_test_size: int | None = None
    data: str
    data_sha256: str
    trainable_parameters: TrainableParameters
    target_parameters: int
    frozen_parameters: int = 0
    circuit_settings: int
    jobs: int
    shots: int
    credits: float = 0.0
    machine_s: float = 0.0
    events: list[int]
    epochs: int
    exact_gradient_epochs: int
    wall_s: float
    seed: int
    devices: list[str]
    record_ids: list[str] = []
    mitigation: MitigationSummary | None = None
    test_accuracy_before_mitigation: float | None = None
    controls: dict[str, float] = {}
    control_parameters: dict[str, int] = {}
    controls_again: dict[str, float] = {}
    second_controls: dict[str, float] = {}
    versions: dict[str, str]

    @model_validator(mode="after")
    def _has_its_metric(self) -> RunSummary:
        if math.isnan(self.figure):
            raise ValueError(f"it has no test_{self.metric}")
        return self

    @property
    def figure(self) -> float:
        """What ``metric`` names, on the test images."""
        return self.test_accuracy if self.metric == "accuracy" else self.test_loss

    @property
    def second_figure(self) -> float | None:
        """The same on the second test set."""
        return self.second_test_accuracy if self.metric == "accuracy" else self.second_test_loss


def read_summary(path: Path) -> RunSummary:
    """Of a run; raises :class:`CheckpointError` when it is damaged."""
    try:
        text = regular(path).read_text(encoding="utf-8")
        check_schema(text, path, known=1)
        return RunSummary.model_validate_json(text)
    except (OSError, ValidationError, ValueError) as error:
        why = first_problem(error) if isinstance(error, ValueError) else str(error)
        raise CheckpointError(f"{path} is damaged ({why}). Delete it and resume the run to write it again.") from error
