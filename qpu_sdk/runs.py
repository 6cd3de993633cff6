"""A run folder from the first file to the last: start, resume, finish.

::

    config.toml  records/  metrics.jsonl  journal.sqlite  checkpoint/  controls.json
    model.safetensors  summary.json  report.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np
import torch

from .devices.base import Device
from .devices.journal import Journal
from .devices.registry import open_device
from .errors import CheckpointError, ConfigError, QPUError
from .export.weights import Model, metadata_of, save_model
from .files import child_seed, write_atomic
from .generator.controls import CONTROLS
from .generator.mps import Generator, LeanMPSGenerator, MPSGenerator, identifiable_parameters
from .photonics.fock import IntArray
from .photonics.program import Program
from .report.page import run_page
from .training.baselines import open_control, train_control, trainable_parameters
from .training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .training.config import RunConfig, load_config
from .training.data import Dataset, Images, absolute_source, load_dataset
from .training.fit import evaluate
from .training.loop import Training
from .training.mitigation import Mitigation, load_records, resolve, save_records
from .training.plan import check_budget
from .training.qnn import QNNBank, qnns_of
from .training.schedule import device_names, exact_epochs, schedule, total_epochs, unit_settings
from .training.summary import MitigationSummary, RunSummary, TrainableParameters, versions
from .training.targets import Target, load_target

#: Above these sizes the rank of the generator's Jacobian is not computed.
IDENTIFIABLE_LIMIT = 40_000_000


class Observer(Protocol):
    """Sees a run advance; it cannot change it."""

    def advanced(self, row: Mapping[str, Any], *, done: int, total: int) -> None:
        """One more unit is done; ``row`` is what metrics.jsonl got."""

    def stage(self, name: str) -> None:
        """Something else than training begins, for example a control."""


@final
class Silent:
    """An observer that shows nothing."""

    def advanced(self, row: Mapping[str, Any], *, done: int, total: int) -> None:
        """Nothing."""

    def stage(self, name: str) -> None:
        """Nothing."""


@final
@dataclass(frozen=True)
class RunFolder:
    """Where the files of a run are."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.toml"

    @property
    def metrics(self) -> Path:
        """One JSON row a unit of work."""
        return self.path / "metrics.jsonl"

    @property
    def records(self) -> Path:
        """Calibration records of the devices, as they were when the run began."""
        return self.path / "records"

    @property
    def journal(self) -> Path:
        """Every intent, job id and count."""
        return self.path / "journal.sqlite"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoint"

    @property
    def controls(self) -> Path:
        """Accuracies of finished controls."""
        return self.path / "controls.json"

    @property
    def model(self) -> Path:
        """The trained network."""
        return self.path / "model.safetensors"

    @property
    def summary(self) -> Path:
        """The result."""
        return self.path / "summary.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"


def start(config: RunConfig, out: str | Path, *, observer: Observer, wait: bool = True) -> RunSummary:
    """Train from the beginning in a new folder.

    Everything that can be wrong with the input is checked before the folder is made.

    :param wait: False to stop, resumable, as soon as everything hangs on jobs that go on without this process.
    :raises CheckpointError: when ``out`` already holds a run; nothing in it is changed.
    :raises JobTimeout: with ``wait=False``, when jobs are not done.
    """
    folder = RunFolder(Path(out))
    data = config.data.model_copy(update={"source": absolute_source(config.data.source)})
    config = config.model_copy(update={"data": data, "mitigation": config.mitigation.absolute()})
    _check_new(folder)
    with _threads(config.training.threads):
        prepared = _prepare(folder, config, wait=wait)
        try:
            folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot write to {folder.path} ({error}). Choose another --out.") from error
        return _go(folder, config, prepared, observer, new=True)


def _check_new(folder: RunFolder) -> None:
    if folder.config.exists():
        raise CheckpointError(
            f"{folder.path} already holds a run. Go on with: qpu-sdk resume {folder.path}, or choose another --out."
        )


def resume(path: str | Path, *, observer: Observer, wait: bool = True, budget: Sequence[str] = ()) -> RunSummary:
    """Go on where a run stopped; a finished run is only finished again from its files.

    :param wait: as in :func:`start`.
    :param budget: ``budget.key=value`` overrides, written to the run's configuration.
    :raises CheckpointError: when the folder holds no run, or a damaged one.
    """
    folder = RunFolder(Path(path))
    if not folder.config.is_file():
        raise CheckpointError(f"{folder.path} holds no run (no config.toml). Start one with: qpu-sdk train --out DIR.")
    config = _with_budget(folder, budget)
    mitigation = load_records(folder.records, config)
    checkpoint = load_checkpoint(folder.checkpoints, config=mitigation.fingerprint(config))
    with _threads(checkpoint.values.get("threads") if checkpoint else config.training.threads):
        finished = checkpoint is not None and checkpoint.unit == len(schedule(config))
        prepared = _prepare(folder, config, wait=wait, measure=not finished, mitigation=mitigation)
        if checkpoint is not None:
            if checkpoint.values.get("data_sha256") != prepared.dataset.fingerprint:
                raise CheckpointError(
                    f"the images of {config.data.source} are not those the run began with. Restore them."
                )
            prepared.training.restore(checkpoint)
        return _go(folder, config, prepared, observer)


def _with_budget(folder: RunFolder, overrides: Sequence[str]) -> RunConfig:
    """The run's configuration with another budget; nothing else can be changed once a run has begun."""
    for override in overrides:
        if not override.startswith("budget."):
            raise ConfigError(f"--set {override}: only budget.* can be changed in mid-run. Start a new run instead.")
    return load_config(folder.config, overrides=overrides)


@final
@dataclass(frozen=True, eq=False)
class _Prepared:
    dataset: Dataset
    target: Target
    training: Training
    journal: Journal
    devices: Mapping[str, Device]


def _prepare(
    folder: RunFolder, config: RunConfig, *, wait: bool, measure: bool = True, mitigation: Mitigation | None = None
) -> _Prepared:
    """Open everything; ``mitigation`` is that of a run that goes on, None for a new one."""
    check_budget(config)
    target = load_target(config.target.factory, seed=child_seed(config.seed, "target"))
    dataset = load_dataset(config.data, seed=config.data_seed)
    journal, devices = Journal(folder.journal), open_devices(config) if measure else {}
    _check_devices(config, devices)
    label, timeout_s = folder.path.resolve().name, None if wait else 0.0
    mitigation = mitigation if mitigation is not None else resolve(config, devices)
    bank = QNNBank.of(config, devices, journal=journal, label=label, mitigation=mitigation, timeout_s=timeout_s)
    training = Training(config, dataset=dataset, target=target, generator=open_generator(config, target), bank=bank)
    return _Prepared(dataset, target, training, journal, devices)


def _check_devices(config: RunConfig, devices: Mapping[str, Device]) -> None:
    """Raise :class:`ProgramError` when a device cannot run its circuits with the shots of some unit."""
    shots = max(shots for _, shots in (unit_settings(config, unit) for unit in schedule(config)))
    for qnn in qnns_of(config):
        if qnn.device in devices:
            program = Program(qnn.mesh, np.zeros(qnn.mesh.declared), qnn.input_modes)
            devices[qnn.device].spec.check([program], shots=shots)


def open_devices(config: RunConfig) -> dict[str, Device]:
    """The devices that a configuration names, by their strings."""
    return {name: open_device(name, seed=child_seed(config.seed, "device", name)) for name in device_names(config)}


def open_generator(config: RunConfig, target: Target) -> Generator:
    """The untrained generator of a run."""
    g = config.generator
    seed = child_seed(config.seed, "generator")
    if g.kind == "paper":
        std = 1e-9 if g.init_std is None else g.init_std
        return MPSGenerator(target.size, g.bond_dim, seed=seed, init_std=std)
    return LeanMPSGenerator(target.size, g.bond_dim, seed=seed, init_std=0.01 if g.init_std is None else g.init_std)


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Use that many torch threads, ``None``: as many as now; sums are only bit-identical at equal numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _go(
    folder: RunFolder, config: RunConfig, prepared: _Prepared, observer: Observer, *, new: bool = False
) -> RunSummary:
    with prepared.journal as journal:
        if new:  # another process may have begun here while the images were loaded
            _check_new(folder)
            save_records(folder.records, prepared.training.bank.mitigation)
        write_atomic(folder.config, config.to_toml())  # the budget may be another; now that the run is ours
        try:
            _train(folder, config, prepared, observer)
        finally:
            if not any(job.durable and job.state.open for job in journal.jobs()):
                for device in prepared.devices.values():
                    device.close()
        controls = _run_controls(folder, config, prepared, observer) if config.controls else {}
        return _finish(folder, config, prepared, controls)


def _train(folder: RunFolder, config: RunConfig, prepared: _Prepared, observer: Observer) -> None:
    """Do the remaining units; when stopped, by Ctrl-C or a device, save the state after the last finished one."""
    training = prepared.training
    _drop_rows_after(folder.metrics, training.done)

    def commit(state: Checkpoint) -> None:
        values = {**state.values, "data_sha256": prepared.dataset.fingerprint, "threads": torch.get_num_threads()}
        owner = training.bank.mitigation.fingerprint(config)
        save_checkpoint(folder.checkpoints, Checkpoint(state.unit, state.tensors, values), config=owner)

    state = training.checkpoint()
    with folder.metrics.open("a", encoding="utf-8") as metrics:
        try:
            for unit, row in training.run():
                metrics.write(json.dumps(row) + "\n")
                metrics.flush()
                state = training.checkpoint()
                if unit.ends_round:
                    commit(state)
                observer.advanced(row, done=training.done, total=len(training.units))
        except (KeyboardInterrupt, QPUError):
            commit(state)
            raise


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of ``metrics.jsonl``; a last line that a killed process left unfinished is ignored."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _drop_rows_after(path: Path, done: int) -> None:
    """Forget rows of units that will be done again."""
    kept = [row for row in read_metrics(path) if row["unit"] <= done]
    write_atomic(path, "".join(json.dumps(row) + "\n" for row in kept))


def _run_controls(folder: RunFolder, config: RunConfig, prepared: _Prepared, observer: Observer) -> dict[str, Any]:
    """Train each control that has no result yet; each is one unit for resuming."""
    done = _finished_controls(folder.controls)
    target, training = prepared.target, prepared.training
    test = _tensors(prepared.dataset.x_test, prepared.dataset.y_test)
    for name in CONTROLS:
        if name in done:
            continue
        observer.stage(name)
        control = open_control(
            name,
            config,
            target=target,
            sizes=training.bank.sizes,
            new_generator=lambda: open_generator(config, target),
        )
        epochs = total_epochs(config)
        for epoch, result in enumerate(
            train_control(control, config, batches=training.batches, target=target), start=1
        ):
            observer.advanced({"loss": result.loss, "accuracy": result.accuracy}, done=epoch, total=epochs)
        with torch.no_grad():
            weights = control.generator(control.p)
        accuracy = evaluate(target, weights, *test).accuracy
        done[name] = {"accuracy": accuracy, "parameters": control.generator.parameter_count}
        write_atomic(folder.controls, json.dumps(done, indent=1))
    return done


def _finished_controls(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except (OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Delete it to train the controls again.") from error


def _finish(folder: RunFolder, config: RunConfig, prepared: _Prepared, controls: Mapping[str, Any]) -> RunSummary:
    """Evaluate, and write the model, the summary and the page; the test images are looked at only here."""
    training, target, data = prepared.training, prepared.target, prepared.dataset
    weights = training.fitter.weights(training.p)
    test = evaluate(target, weights, *_tensors(data.x_test, data.y_test))
    validation, spent = len(data.y_validation), training.bank.spent
    mitigation, before = _mitigated(config, training), None
    if mitigation is not None and mitigation.record_ids:
        plain = training.fitter.weights(training.p_before)
        before = evaluate(target, plain, *_tensors(data.x_test, data.y_test)).accuracy
    summary = RunSummary(
        test_accuracy=test.accuracy,
        test_standard_error=(test.accuracy * (1 - test.accuracy) / test.size) ** 0.5,
        train_accuracy=evaluate(target, weights, *_tensors(data.x_train, data.y_train)).accuracy,
        validation_accuracy=(
            evaluate(target, weights, *_tensors(data.x_validation, data.y_validation)).accuracy if validation else None
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
    if (not known.records and not known.notes) or "steps" not in measured:
        return None
    steps: dict[str, list[str]] = {name: [] for name in device_names(config)}
    for index, used in enumerate(measured["steps"]):
        own = steps[config.device_of(index)]
        own += [name for name in used if name not in own]
    return MitigationSummary(
        steps=steps,
        record_ids=known.record_ids,
        p_shift=measured["shift"],
        effective_samples=measured["effective_samples"],
        notes=dict(known.notes),
    )


def _parameters(config: RunConfig, prepared: _Prepared) -> TrainableParameters:
    generator, bank = prepared.training.generator, prepared.training.bank
    total = trainable_parameters(config, generator)
    identifiable = None
    if generator.parameter_count * generator.target_size <= IDENTIFIABLE_LIMIT:
        seed = child_seed(config.seed, "rank")
        identifiable = identifiable_parameters(generator, seed=seed) + bank.identifiable(seed=seed)
    return TrainableParameters(
        phases=bank.declared, generator=generator.parameter_count, total=total, identifiable=identifiable
    )


def _tensors(images: Images, labels: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(images), torch.from_numpy(labels)
