"""The end of a run: evaluate, and write model, summary and page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, TypedDict

import numpy as np
from torch import Tensor

from ..devices.address import DeviceAddress
from ..errors import ConfigError, DataError
from ..export.structure import Structure
from ..export.weights import SCHEMA_VERSION, Model, Use, save_model
from ..files import write_atomic
from ..generator.mps import identifiable_parameters
from ..seeds import child_seed
from ..training.acceptable import tied_names
from ..training.config import RunConfig
from ..training.controls import trainable_parameters
from ..training.evaluation import evaluate
from ..training.loop import TrainingState
from ..training.ordinary import without_ordinary
from ..training.pictures import page_of
from ..training.targets import Target
from ..versions import versions
from ..words import one_line
from .mistakes import mistakes_of
from .opened import Opened
from .page import run_page
from .summary import MitigationSummary, RunSummary, TrainableParameters


def metadata_of(
    config: RunConfig,
    *,
    test_accuracy: float,
    versions: Mapping[str, str],
    mitigation: MitigationSummary | None = None,
    structure: Structure | None = None,
    used: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Provenance of a run's model, without times, so that equal runs give equal files.

    :param structure: of a network that was passed as an object, as far as it is made of ``torch.nn``'s layers.
    :param used: which images it takes and how it answers, see :class:`qpu_sdk.export.weights.Use`.
    """
    values = {
        "format": "qpu_sdk",
        "schema_version": str(SCHEMA_VERSION),
        "target": config.target.factory,
        "config_sha256": config.fingerprint,
        "seed": str(config.seed),
        "data": config.data.model_dump_json(exclude_none=True),
        "data_seed": str(config.data_seed),
        **({} if math.isnan(test_accuracy) else {"test_accuracy": f"{test_accuracy:.6f}"}),
        **({} if config.training.loss is None else {"loss": config.training.loss}),
        "versions": json.dumps(dict(versions), sort_keys=True),
    }
    if structure is not None:
        values["structure"] = json.dumps(structure)
    if used is not None:
        values["used"] = json.dumps(used)
    if mitigation is None:
        return values
    told = mitigation.model_dump(mode="json", exclude={"notes"})
    for key in ("methods", "record_ids"):
        # Paths and addresses are nobody's business who gets the model.
        told[key] = {DeviceAddress.parse(name).without_places: entry for name, entry in told[key].items()}
    return values | {"mitigation": json.dumps(told)}


#: Above these sizes the rank of the generator's Jacobian is not computed.
IDENTIFIABLE_LIMIT = 40_000_000


def finish(run: Opened, state: TrainingState, controls: Mapping[str, Any]) -> RunSummary:
    """Evaluate, and write the model, the summary and the page; the test images are looked at only here.

    :param state: after the last unit.
    :param controls: accuracies and parameters of each control that was trained, by name.
    """
    config, schedule, folder = run.config, run.training.schedule, run.folder
    mitigation = _mitigated(run, state)
    weights = run.training.weights(state, state.p)
    target = run.training.settled(weights)
    summary = RunSummary(
        **_accuracies(run, target, weights),
        **_spent(run, state),
        test_accuracy_before_mitigation=_before(run, state, mitigation),
        data=run.dataset.name,
        data_sha256=run.dataset.fingerprint,
        trainable_parameters=_parameters(run),
        target_parameters=target.generated,
        frozen_parameters=target.frozen,
        epochs=schedule.total_epochs,
        exact_gradient_epochs=schedule.exact_epochs,
        seed=config.seed,
        devices=list(config.device_names),
        record_ids=list(dict.fromkeys(run.mitigation.record_ids.values())),
        mitigation=mitigation,
        loss=config.training.loss,
        controls=_of_each(controls, "accuracy"),
        control_parameters=_of_each(controls, "parameters"),
        controls_again=_of_each(controls, "again"),
        second_controls=_of_each(controls, "second_accuracy"),
        versions=versions(),
    )
    save_model(folder.model, _model(run, target, weights, summary))
    found = mistakes_of(target, weights, run.dataset.test) if summary.metric == "accuracy" else None
    if found is not None:
        write_atomic(folder.mistakes, found.model_dump_json() + "\n")
    name = one_line(folder.path.resolve().name)  # which need not be text
    page = run_page(name, folder, summary)
    write_atomic(folder.report, page)
    write_atomic(folder.summary, summary.model_dump_json(indent=1) + "\n")  # last: what it tells of is there
    return summary


def _of_each(controls: Mapping[str, Any], key: str) -> dict[str, Any]:
    """One figure of the controls that have it."""
    return {name: entry[key] for name, entry in controls.items() if key in entry}


def _model(run: Opened, target: Target, weights: Tensor, summary: RunSummary) -> Model:
    """The model, with the network's structure only if that gives the same network again."""
    data, state = run.dataset, target.state(weights)
    shape = data.train.x.shape[1:]
    page = page_of(data.train.x) if len(shape) == 3 and not data.as_is else None
    answers, values = target.probe(shape, weights).tolist(), not run.training.fitter.loss.classes
    used = Use(shape, data.scale, page, answers, as_is=data.as_is, values=values).to_metadata()
    tied = tied_names(target.module)

    def told(structure: Structure | None) -> Model:
        known: dict[str, Any] = {"versions": summary.versions, "mitigation": summary.mitigation, "structure": structure}
        values = metadata_of(run.config, test_accuracy=summary.test_accuracy, used=used, **known)
        return Model(state, values | ({"tied": json.dumps(tied)} if tied else {}))

    try:
        told(run.structure).module()
    except (ConfigError, DataError):
        return told(None)
    return told(run.structure)


class _Accuracies(TypedDict):
    """Fractions of the images, and how many these are."""

    metric: Literal["accuracy", "loss"]
    test_accuracy: float
    test_standard_error: float
    train_accuracy: float
    validation_accuracy: float | None
    test_loss: float
    train_loss: float
    validation_loss: float | None
    second_test_loss: float | None
    chance: float | None
    test_size: int
    train_size: int
    validation_size: int
    second_test_accuracy: float | None
    second_test_size: int | None


def _accuracies(run: Opened, target: Target, weights: Tensor) -> _Accuracies:
    data, right = run.dataset, run.training.fitter.loss.classes
    asked = partial(evaluate, target, weights, loss=run.training.fitter.loss)
    test, train = (asked(*part.tensors()) for part in (data.test, data.train))
    held = asked(*data.validation.tensors()) if len(data.validation) else None
    second = None if data.second is None else asked(*data.second.tensors())
    return {
        "metric": "accuracy" if right else "loss",
        "test_accuracy": _or_nan(test.accuracy),
        "test_standard_error": _or_nan(test.standard_error),
        "train_accuracy": _or_nan(train.accuracy),
        "validation_accuracy": None if held is None else held.accuracy,
        "test_loss": test.loss,
        "train_loss": train.loss,
        "validation_loss": None if held is None else held.loss,
        "second_test_loss": None if second is None else second.loss,
        "chance": float(np.bincount(data.test.y).max()) / test.size if right else None,
        "test_size": test.size,
        "train_size": train.size,
        "validation_size": len(data.validation),
        "second_test_accuracy": None if second is None else second.accuracy,
        "second_test_size": None if second is None else second.size,
    }


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _before(run: Opened, state: TrainingState, mitigation: MitigationSummary | None) -> float | None:
    """Test accuracy of the same generator on the p without mitigation; None where no record changed it."""
    if mitigation is None or not mitigation.record_ids:
        return None
    plain = run.training.weights(state, state.p_before)
    images, labels = run.dataset.test.tensors()
    return evaluate(run.training.settled(plain), plain, images, labels, run.training.fitter.loss).accuracy


class _Spent(TypedDict):
    """What the run took, over all its sessions."""

    circuit_settings: int
    jobs: int
    shots: int
    credits: float
    machine_s: float
    events: list[int]
    wall_s: float


def _spent(run: Opened, state: TrainingState) -> _Spent:
    spent = run.training.bank.spent
    return {
        "circuit_settings": spent.settings,
        "jobs": spent.jobs,
        "shots": spent.shots,
        "credits": spent.credits,
        "machine_s": spent.seconds,
        "events": state.measured["samples"],
        "wall_s": round(state.wall_s, 3),
    }


def _mitigated(run: Opened, state: TrainingState) -> MitigationSummary | None:
    """What was done to the final p; None where all of it is post-selected, as it should be."""
    known, measured = run.mitigation, state.measured
    if (not known.records and not known.notes) or "methods" not in measured:
        return None
    methods: dict[str, list[str]] = {name: [] for name in run.config.device_names}
    for index, method in enumerate(measured["methods"]):
        own = methods[run.config.device_of(index)]
        own += [method] if method not in own else []
    return MitigationSummary(
        methods=methods,
        record_ids=known.record_ids,
        p_shift=measured["shift"],
        effective_samples=measured["effective_samples"],
        notes=dict(known.notes),
    )


def _parameters(run: Opened) -> TrainableParameters:
    generator, bank = without_ordinary(run.training.fitter.generator), run.training.bank
    ordinary = run.training.target.ordinary
    identifiable = None
    if generator.parameter_count * generator.target_size <= IDENTIFIABLE_LIMIT:
        seed = child_seed(run.config.seed, "rank")
        identifiable = identifiable_parameters(generator, seed=seed) + bank.identifiable(seed=seed) + ordinary
    return TrainableParameters(
        phases=bank.declared,
        generator=generator.parameter_count,
        ordinary=ordinary,
        total=trainable_parameters(run.training),
        identifiable=identifiable,
    )
