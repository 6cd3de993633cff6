"""The end of a run: evaluate, and write model, summary and page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from ..arrays import IntArray
from ..devices.registry import DeviceAddress
from ..export.weights import SCHEMA_VERSION, Model, save_model
from ..files import write_atomic
from ..generator.mps import identifiable_parameters
from ..seeds import child_seed
from ..training.config import RunConfig
from ..training.controls import trainable_parameters
from ..training.fit import evaluate
from ..training.loop import Training
from ..training.schedule import device_names, exact_epochs, total_epochs
from ..training.sources import Images
from ..versions import versions
from .folder import RunFolder, read_metrics
from .opened import Opened
from .page import run_page
from .summary import MitigationSummary, RunSummary, TrainableParameters


def metadata_of(
    config: RunConfig, *, test_accuracy: float, versions: Mapping[str, str], mitigation: MitigationSummary | None = None
) -> dict[str, str]:
    """Provenance of a run's model, without times, so that equal runs give equal files."""
    values = {
        "format": "qpu_sdk",
        "schema_version": str(SCHEMA_VERSION),
        "target": config.target.factory,
        "config_sha256": config.fingerprint,
        "seed": str(config.seed),
        "data": config.data.model_dump_json(exclude_none=True),
        "data_seed": str(config.data_seed),
        "test_accuracy": f"{test_accuracy:.6f}",
        "versions": json.dumps(dict(versions), sort_keys=True),
    }
    if mitigation is None:
        return values
    told = mitigation.model_dump(mode="json", exclude={"notes"})
    for key in ("methods", "record_ids"):
        told[key] = {_without_places(name): entry for name, entry in told[key].items()}
    return values | {"mitigation": json.dumps(told)}


def _without_places(device: str) -> str:
    """A device string without paths and addresses, which are nobody's business who gets the model.

    >>> _without_places("local:twin?record=/home/me/r.json"), _without_places("local:slos?noise=ascella")
    ('local:twin', 'local:slos?noise=ascella')
    """
    address = DeviceAddress.parse(device)
    options = {key: value for key, value in address.options.items() if key not in ("record", "url")}
    name = "counts" if address.kind == "replay" else address.name
    return str(DeviceAddress(address.kind, name, options))


#: Above these sizes the rank of the generator's Jacobian is not computed.
IDENTIFIABLE_LIMIT = 40_000_000


def finish(folder: RunFolder, config: RunConfig, prepared: Opened, controls: Mapping[str, Any]) -> RunSummary:
    """Evaluate, and write the model, the summary and the page; the test images are looked at only here."""
    training, target, data = prepared.training, prepared.target, prepared.dataset
    weights = training.fitter.weights(training.p)
    test = evaluate(target, weights, *tensors_of(data.x_test, data.y_test))
    validation, spent = len(data.y_validation), training.bank.spent
    mitigation, before = _mitigated(config, training), None
    if mitigation is not None and mitigation.record_ids:
        plain = training.fitter.weights(training.p_before)
        before = evaluate(target, plain, *tensors_of(data.x_test, data.y_test)).accuracy
    summary = RunSummary(
        test_accuracy=test.accuracy,
        test_standard_error=(test.accuracy * (1 - test.accuracy) / test.size) ** 0.5,
        train_accuracy=evaluate(target, weights, *tensors_of(data.x_train, data.y_train)).accuracy,
        validation_accuracy=(
            evaluate(target, weights, *tensors_of(data.x_validation, data.y_validation)).accuracy
            if validation
            else None
        ),
        test_size=test.size,
        train_size=len(data.y_train),
        validation_size=validation,
        data=data.name,
        data_sha256=data.fingerprint,
        trainable_parameters=_parameters(config, prepared),
        target_parameters=target.size,
        circuit_settings=spent.settings,
        jobs=spent.jobs,
        shots=spent.shots,
        credits=spent.credits,
        machine_s=spent.seconds,
        events=training.measured["samples"],
        epochs=total_epochs(config),
        exact_gradient_epochs=exact_epochs(config),
        wall_s=round(training.wall_s, 3),
        seed=config.seed,
        devices=list(device_names(config)),
        record_ids=list(dict.fromkeys(training.bank.mitigation.record_ids.values())),
        mitigation=mitigation,
        test_accuracy_before_mitigation=before,
        controls={name: entry["accuracy"] for name, entry in controls.items()},
        control_parameters={name: entry["parameters"] for name, entry in controls.items()},
        versions=versions(),
    )
    metadata = metadata_of(
        config, test_accuracy=test.accuracy, versions=summary.versions, mitigation=summary.mitigation
    )
    save_model(folder.model, Model(target.tensors(weights), metadata))
    page = run_page(folder.path.resolve().name, summary, read_metrics(folder.metrics), config.to_toml())
    write_atomic(folder.report, page)
    write_atomic(folder.summary, summary.model_dump_json(indent=1) + "\n")
    return summary


def _mitigated(config: RunConfig, training: Training) -> MitigationSummary | None:
    """What was done to the final p; None where all of it is post-selected, as it should be."""
    known, measured = training.bank.mitigation, training.measured
    if (not known.records and not known.notes) or "methods" not in measured:
        return None
    methods: dict[str, list[str]] = {name: [] for name in device_names(config)}
    for index, method in enumerate(measured["methods"]):
        own = methods[config.device_of(index)]
        own += [method] if method not in own else []
    return MitigationSummary(
        methods=methods,
        record_ids=known.record_ids,
        p_shift=measured["shift"],
        effective_samples=measured["effective_samples"],
        notes=dict(known.notes),
    )


def _parameters(config: RunConfig, prepared: Opened) -> TrainableParameters:
    generator, bank = prepared.training.generator, prepared.training.bank
    total = trainable_parameters(config, generator)
    identifiable = None
    if generator.parameter_count * generator.target_size <= IDENTIFIABLE_LIMIT:
        seed = child_seed(config.seed, "rank")
        identifiable = identifiable_parameters(generator, seed=seed) + bank.identifiable(seed=seed)
    return TrainableParameters(
        phases=bank.declared, generator=generator.parameter_count, total=total, identifiable=identifiable
    )


def tensors_of(images: Images, labels: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels as tensors, sharing memory."""
    return torch.from_numpy(images), torch.from_numpy(labels)
