"""A run folder from the first file to the last: start, resume, finish.

::

    config.toml  records/  metrics.jsonl  journal.sqlite  checkpoint/  controls.json
    model.safetensors  summary.json  report.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, final

import torch

from ..errors import CheckpointError, ConfigError, QPUError
from ..files import write_atomic
from ..training.config import RunConfig
from ..training.config_file import load_config
from ..training.controls import CONTROLS, open_control, train_control
from ..training.data import absolute_source
from ..training.fit import evaluate
from ..training.loop import Checkpoint
from ..training.schedule import schedule, total_epochs
from .checkpoint import load_checkpoint, save_checkpoint
from .finish import finish, tensors_of
from .folder import RunFolder, drop_rows_after, finished_controls
from .opened import Opened, open_generator, open_run, torch_threads
from .records import load_records, save_records
from .summary import RunSummary


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


def train(config: RunConfig, out: str | Path, *, observer: Observer, wait: bool = True) -> RunSummary:
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
    with torch_threads(config.training.threads):
        prepared = open_run(folder, config, wait=wait)
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
    with torch_threads(checkpoint.values.get("threads") if checkpoint else config.training.threads):
        finished = checkpoint is not None and checkpoint.unit == len(schedule(config))
        prepared = open_run(folder, config, wait=wait, measure=not finished, mitigation=mitigation)
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


def _go(folder: RunFolder, config: RunConfig, prepared: Opened, observer: Observer, *, new: bool = False) -> RunSummary:
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
        return finish(folder, config, prepared, controls)


def _train(folder: RunFolder, config: RunConfig, prepared: Opened, observer: Observer) -> None:
    """Do the remaining units; when stopped, by Ctrl-C or a device, save the state after the last finished one."""
    training = prepared.training
    drop_rows_after(folder.metrics, training.done)

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


def _run_controls(folder: RunFolder, config: RunConfig, prepared: Opened, observer: Observer) -> dict[str, Any]:
    """Train each control that has no result yet; each is one unit for resuming."""
    done = finished_controls(folder.controls)
    target, training = prepared.target, prepared.training
    test = tensors_of(prepared.dataset.x_test, prepared.dataset.y_test)
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
