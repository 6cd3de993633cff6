"""A run folder from the first file to the last: start, resume, finish.

::

    config.toml  given.json  target.safetensors  records/  metrics.jsonl  journal.sqlite  checkpoint/  controls.json
    model.safetensors  summary.json  report.html
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import CheckpointError, ConfigError, DataError, QPUError
from ..files import write_atomic
from ..training.config import RunConfig, checked_config
from ..training.config_file import load_config
from ..training.controls import CONTROLS, Control, open_control, train_control
from ..training.data import Dataset
from ..training.evaluation import evaluate
from ..training.fit import Diverged
from ..training.loop import TrainingState
from ..words import command
from .checkpoint import RunOrigin, load_checkpoint, save_checkpoint
from .finish import finish
from .folder import RunFolder, drop_rows_after, finished_controls
from .given import Given
from .observer import Observer, watched
from .opened import Opened, open_run, torch_threads
from .paths import with_absolute_paths
from .plan import refuse_what_cannot_work
from .records import load_records, save_records
from .run import Run

log = logging.getLogger(__name__)


def train(
    config: RunConfig,
    out: str | Path,
    *,
    target: nn.Module | None = None,
    data: Dataset | None = None,
    on_progress: Callable[[Mapping[str, Any]], None] | None = None,
    observer: Observer | None = None,
    wait: bool = True,
    force: bool = False,
) -> Run:
    """Train from the beginning in a new folder.

    Everything that can be wrong with the input is checked before the folder is made.

    :param target: the network whose weights are generated, in place of the configuration's; it is left as it was.
    :param data: images, in place of the configuration's.
    :param on_progress: called with the row of every unit, which also says how many are ``done`` of the ``total``.
    :param observer: the same with the stages of a run, for a progress bar.
    :param wait: False to stop, resumable, as soon as everything hangs on jobs that go on without this process.
    :param force: True to begin though :func:`qpu_sdk.plan` expects too few events, or more cost than the budget allows.
    :raises CheckpointError: when ``out`` already holds a run; nothing in it is changed.
    :raises ConfigError: when the target has no weights to generate, or does not take the images; when ``config`` is no
        :class:`~qpu_sdk.training.config.RunConfig`, or ``out`` no path.
    :raises DataError: when ``data`` is no :class:`~qpu_sdk.training.data.Dataset`.
    :raises JobTimeout: with ``wait=False``, when jobs are not done.

    ::

        run = train(RunConfig(seed=1), "runs/first")
        print(run)
    """
    config, folder = checked_config(config), RunFolder.of(out)
    given = Given.of(target, _checked_data(data))
    config = given.named(with_absolute_paths(config))
    _check_new(folder)
    with torch_threads(config.training.threads):
        run = open_run(folder, config, wait=wait, given=given)
        specs = {name: device.spec for name, device in run.devices.items()}
        refuse_what_cannot_work(config, specs, run.mitigation, force)
        try:
            folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot write to {folder.path} ({error}). Choose another folder.") from error
        return _go(run, watched(observer, on_progress), new=given)


def _check_new(folder: RunFolder) -> None:
    if folder.config.exists():
        raise CheckpointError(
            f"{folder.path} already holds a run. Go on with: {folder.way_on}, or choose another folder."
        )


def _checked_data(data: object) -> Dataset | None:
    if data is None or isinstance(data, Dataset):
        return data
    raise DataError(
        f"data is a {type(data).__name__}; a Dataset is needed. Make one with qpu_sdk.Dataset.of(x_train, y_train, "
        "x_test, y_test), or of two datasets of torch."
    )


def resume(
    out: str | Path,
    *,
    target: nn.Module | None = None,
    data: Dataset | None = None,
    on_progress: Callable[[Mapping[str, Any]], None] | None = None,
    observer: Observer | None = None,
    wait: bool = True,
    budget: Sequence[str] = (),
) -> Run:
    """Go on where a run stopped; a finished run is only finished again from its files.

    :param out: folder of the run.
    :param target: what :func:`train` was given, if it was; with other weights, but of the same layers.
    :param data: likewise.
    :param on_progress: as of :func:`train`, and so are ``observer`` and ``wait``.
    :param budget: ``budget.key=value`` overrides, written to the run's configuration.
    :raises CheckpointError: when the folder holds no run, a damaged one, or one of another target or other images.
    :raises ConfigError: when ``budget`` names something else, or ``out`` is no path.
    :raises DataError: when ``data`` is no :class:`~qpu_sdk.training.data.Dataset`.
    """
    folder, data = RunFolder.of(out), _checked_data(data)
    if not folder.config.is_file():
        raise CheckpointError(
            f"{folder.path} holds no run (no config.toml). Start one with qpu_sdk.train, or: "
            f"{command('train', '--out', folder.path)}"
        )
    config = _with_budget(folder, budget)
    given = Given.of(target, data).restored(folder, config)
    mitigation = load_records(folder.records, config)
    state, origin = load_checkpoint(folder.checkpoints, config=mitigation.fingerprint(config)) or (None, None)
    # The number of threads decides in which order sums are taken, and so the last bits.
    with torch_threads(origin.threads if origin is not None else config.training.threads):
        run = open_run(folder, config, wait=wait, given=given, mitigation=mitigation, state=state)
        if origin is not None and origin.data != run.dataset.fingerprint:
            raise CheckpointError(f"the images of {config.data.source} are not those the run began with. Restore them.")
        return _go(run, watched(observer, on_progress))


def _with_budget(folder: RunFolder, overrides: Sequence[str]) -> RunConfig:
    """The run's configuration with another budget; nothing else can be changed once a run has begun."""
    overrides = [overrides] if isinstance(overrides, str) else overrides  # one, not its letters
    for override in overrides:
        if not override.startswith("budget."):
            raise ConfigError(f"--set {override}: only budget.* can be changed in mid-run. Start a new run instead.")
    return load_config(folder.config, overrides=overrides)


def _go(run: Opened, observer: Observer | None, *, new: Given | None = None) -> Run:
    """Train, control and finish; ``new``: what a run that begins was given, None for one that goes on."""
    folder = run.folder
    with run.journal as journal:
        if new is not None:  # another process may have begun here while the images were loaded
            _check_new(folder)
            # Before config.toml, which is what makes a folder a run: one that has it has the rest.
            save_records(folder.records, run.mitigation)
            new.save(folder, run.dataset)
        write_atomic(folder.config, run.config.to_toml())  # the budget may be another; now that the run is ours
        try:
            state = _train(run, observer)
        finally:
            if not any(job.durable and job.state.open for job in journal.jobs()):  # closing a session would end them
                for device in run.devices.values():
                    device.close()
        controls = _train_controls(run, observer) if run.config.controls else {}
        return Run(folder.path, finish(run, state, controls))


def _train(run: Opened, observer: Observer | None) -> TrainingState:
    """Do the remaining units; when stopped, by Ctrl-C or a device, save the state after the last finished one."""
    folder, units, state = run.folder, run.training.schedule.units, run.state
    origin = RunOrigin(run.mitigation.fingerprint(run.config), run.dataset.fingerprint, torch.get_num_threads())
    drop_rows_after(folder.metrics, state.done)  # units after the last checkpoint are done again
    with folder.metrics.open("a", encoding="utf-8") as metrics:
        try:
            for after, row in run.training.run(state):
                metrics.write(json.dumps(row) + "\n")
                metrics.flush()
                state = after  # only now: a state on disk has its row
                if units[state.done - 1].ends_round:
                    save_checkpoint(folder.checkpoints, state, origin)
                if observer is not None:
                    observer.advanced(row, done=state.done, total=len(units))
        except (KeyboardInterrupt, QPUError):
            save_checkpoint(folder.checkpoints, state, origin)
            raise
    return state


def _train_controls(run: Opened, observer: Observer | None) -> dict[str, Any]:
    """Train each control that has no result yet; each is one unit for resuming."""
    done = finished_controls(run.folder.controls)
    for name in CONTROLS:
        if name not in done:
            if observer is not None:
                observer.stage(name)
            try:
                done[name] = _trained(open_control(name, run.training), run, observer)
            except Diverged as error:  # the run itself is done and paid
                log.warning("control %s is left out: %s", name, error)
                continue
            write_atomic(run.folder.controls, json.dumps(done, indent=1))
    return done


def _trained(control: Control, run: Opened, observer: Observer | None) -> dict[str, Any]:
    """Test accuracy of a control, and how many numbers it trains."""
    fitter, epochs = control.fitter, run.training.schedule.total_epochs
    for epoch, (state, result) in enumerate(train_control(control, run.training), start=1):
        trained = state
        if observer is not None:
            observer.advanced({"loss": result.loss, "accuracy": result.accuracy}, done=epoch, total=epochs)
    weights = fitter.weights(trained, control.p)
    accuracy = evaluate(fitter.target, weights, *run.dataset.test.tensors()).accuracy
    return {"accuracy": accuracy, "parameters": fitter.generator.parameter_count}
