"""A run folder from the first file to the last: start, resume, finish.

::

    config.toml  given.json  target.safetensors  answers.json  records/  metrics.jsonl  journal.sqlite  checkpoint/
    controls.json  model.safetensors  summary.json  report.html
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..devices.journal_known import Known
from ..errors import CheckpointError, ConfigError, MitigationError
from ..files import write_atomic
from ..layer.records import save_records
from ..training.config import CHANGEABLE, OF_SHOTS, RunConfig, checked_config
from ..training.config_file import read_config
from ..training.data import Dataset
from ..training.fit import Diverged
from ..training.loop import TrainingState
from ..training.schedule import Unit
from ..training.targets import BUILT_IN
from ..words import command
from .checkpoint import RunOrigin, load_checkpoint, save_checkpoint
from .controlled import train_controls
from .finish import finish
from .folder import RunFolder, drop_rows_after
from .given import Given, check_answers, check_data, save_answers
from .lost import check_journal
from .observer import Observer, watched
from .opened import NOTHING_GIVEN, Opened, open_run, torch_threads
from .paths import with_absolute_paths
from .plan import refuse_what_cannot_work
from .records import load_records
from .run import Run
from .trackers import Tracked, Tracker
from .warm_start import WarmStart, warm_config


def train(
    config: RunConfig,
    out: str | Path,
    *,
    target: nn.Module | None = None,
    data: Dataset | tuple[Any, Any] | None = None,
    on_progress: Callable[[Mapping[str, Any]], None] | None = None,
    observer: Observer | None = None,
    trackers: Sequence[Tracker] = (),
    tensorboard: str | Path | None = None,
    wait: bool = True,
    force: bool = False,
    warm: str | Path | None = None,
) -> Run:
    """Train from the beginning in a new folder.

    Everything that can be wrong with the input is checked before the folder is made.

    :param target: the network whose weights are generated, in place of the configuration's; it is left as it was.
    :param data: images, in place of the configuration's: a dataset, or a training and a test set of torch, each a
        ``DataLoader`` or a ``torch.utils.data.Dataset`` (:meth:`~qpu_sdk.training.data.Dataset.of`).
    :param on_progress: called with the row of every unit, which also says how many are ``done`` of the ``total``.
    :param observer: the same with the stages of a run, for a progress bar.
    :param trackers: objects with the methods of :class:`~qpu_sdk.runs.trackers.Tracker`, told of start, rows and end.
    :param tensorboard: folder for TensorBoard's files.
    :param wait: False to stop, resumable, as soon as everything hangs on jobs that go on without this process.
    :param force: True to begin though :func:`qpu_sdk.plan` expects too few events, or more cost than the budget allows.
    :param warm: folder in which :func:`warm_up` left the warm start of this run, which is then not computed again.
    :raises CheckpointError: when ``out`` holds a run, of which nothing is changed, or ``warm`` is of another run.
    :raises ConfigError: when the target has no weights to generate, or does not take the images; when ``config`` is no
        :class:`~qpu_sdk.training.config.RunConfig`, or ``out`` no path.
    :raises DataError: when ``data`` is no :class:`~qpu_sdk.training.data.Dataset`.
    :raises JobTimeout: with ``wait=False``, when jobs are not done.

    ::

        run = train(RunConfig(seed=1), "runs/first")
        print(run)
    """
    config, folder = checked_config(config), RunFolder.of(out)
    seen = Tracked.by(watched(observer, on_progress), trackers, tensorboard)
    given = Given.of(target, data, config)
    config = given.named(with_absolute_paths(config))
    with _begun(config, folder, given, wait=wait, force=force) as run:
        start = None if warm is None else WarmStart.load(RunFolder.of(warm), run)
        return _go(run, seen, new=given, start=start)


def warm_up(config: RunConfig, out: str | Path, *, observer: Observer | None = None) -> None:
    """Do the warm start of a run alone, in a folder from which :func:`train` goes on; goes on itself where it stopped.

    Runs that differ in devices, noise, shots, mitigation, SPSA or controls alone have it in common, bit for bit.

    :raises ConfigError: when the run has none.
    """
    folder, config = RunFolder.of(out), warm_config(with_absolute_paths(checked_config(config)))
    if folder.config.is_file():
        with _reopened(folder, _written(folder, ())) as (run, known), _held(run, None, known):
            _train(run, observer, units=run.training.schedule.exact_epochs)
        return
    with _begun(config, folder, NOTHING_GIVEN, wait=True, force=True) as run, _held(run, NOTHING_GIVEN, None):
        _train(run, observer, units=run.training.schedule.exact_epochs)


@contextmanager
def _begun(config: RunConfig, folder: RunFolder, given: Given, *, wait: bool, force: bool) -> Iterator[Opened]:
    """A run before its first unit, all checked, and its folder made."""
    _check_new(folder)
    with torch_threads(config.training.threads):
        run = open_run(folder, config, wait=wait, given=given)
        specs = {name: device.spec for name, device in run.devices.items()}
        refuse_what_cannot_work(config, specs, run.mitigation, force)
        try:
            folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot write to {folder.path} ({error}). Choose another folder.") from error
        yield run


def _check_new(folder: RunFolder) -> None:
    if folder.config.exists():
        raise CheckpointError(
            f"{folder.path} already holds a run. Go on with: {folder.way_on}, or choose another folder."
        )


def resume(
    out: str | Path,
    *,
    target: nn.Module | None = None,
    data: Dataset | tuple[Any, Any] | None = None,
    on_progress: Callable[[Mapping[str, Any]], None] | None = None,
    observer: Observer | None = None,
    trackers: Sequence[Tracker] = (),
    tensorboard: str | Path | None = None,
    wait: bool = True,
    budget: Sequence[str] = (),
) -> Run:
    """Go on where a run stopped; a finished run is only finished again from its files.

    :param out: folder of the run.
    :param target: what :func:`train` was given, if it was; with other weights, but of the same layers.
    :param data: likewise.
    :param on_progress: as of :func:`train`, and so are ``observer``, ``trackers``, ``tensorboard`` and ``wait``.
    :param budget: ``budget.key=value`` overrides, shots of what is not measured yet, such as ``spsa.shots=1000000``,
        ``training.accelerator``, or learning rates of a run that diverged; written to the run's configuration.
    :raises CheckpointError: when the folder holds no run, a damaged one, or one of another target or other images; when
        its journal knows less than was done.
    :raises ConfigError: when ``budget`` names something else, or what a finished run has behind it, or ``out`` is no
        path.
    :raises DataError: when ``data`` is no :class:`~qpu_sdk.training.data.Dataset`.
    """
    folder = RunFolder.of(out)
    check_data(data)
    seen = Tracked.by(watched(observer, on_progress), trackers, tensorboard)
    if not folder.config.is_file():
        raise CheckpointError(
            f"{folder.path} holds no run (no config.toml). Start one with qpu_sdk.train, or: "
            f"{command('train', '--out', folder.path)}"
        )
    begun = _written(folder, ())
    with _reopened(folder, begun, Given.of(target, data, begun), wait=wait, budget=budget) as (run, known):
        return _go(run, seen, known=known)


@contextmanager
def _reopened(
    folder: RunFolder, begun: RunConfig, given: Given = NOTHING_GIVEN, *, wait: bool = True, budget: Sequence[str] = ()
) -> Iterator[tuple[Opened, Known | None]]:
    """A run where it stopped, all checked, and what its journal held then.

    :param begun: its configuration as it was written.
    """
    config = _written(folder, budget) if budget else begun
    given = given.restored(folder, config)
    mitigation = load_records(folder.records, config)
    wanted = mitigation.fingerprint(begun, leaving_out=CHANGEABLE)
    older = [mitigation.fingerprint(begun, leaving_out=OF_SHOTS), mitigation.fingerprint(begun)]
    state, origin = load_checkpoint(folder.checkpoints, config=wanted, older=older) or (None, None)
    # The number of threads decides in which order sums are taken, and so the last bits.
    with torch_threads(origin.threads if origin is not None else config.training.threads):
        run = open_run(folder, config, wait=wait, given=given, mitigation=mitigation, state=state)
        if origin is not None and origin.data != run.dataset.fingerprint:
            raise CheckpointError(f"the images of {config.data.source} are not those the run began with. Restore them.")
        if begun.fingerprint != config.fingerprint and not run.devices:
            raise ConfigError(f"{folder.path} has measured all that it will. Leave its configuration as it is.")
        check_answers(folder, run.training.target)
        yield run, None if origin is None else origin.journal


def _written(folder: RunFolder, overrides: Sequence[str]) -> RunConfig:
    """The configuration of a run that has begun, as it was written by the release that began it.

    :param overrides: of what may change in mid-run.
    """
    overrides = [overrides] if isinstance(overrides, str) else list(overrides)  # one, not its letters
    allowed = tuple(f"{table}.{key}" for table, keys in CHANGEABLE.items() for key in sorted(keys))
    for override in overrides:
        key = override.partition("=")[0].strip()
        if not key.startswith("budget.") and key not in allowed:
            raise ConfigError(
                f"--set {override}: only budget.* can be changed in mid-run, and {', '.join(allowed)}. Start a new run "
                "instead."
            )
    return read_config(folder.config, overrides=overrides).of_a_run()


def _go(
    run: Opened,
    seen: Tracked,
    *,
    new: Given | None = None,
    known: Known | None = None,
    start: WarmStart | None = None,
) -> Run:
    """Train, control and finish.

    :param new: what a run that begins was given, None for one that goes on.
    :param known: what the journal of one that goes on held.
    :param start: where one that begins goes on.
    """
    with _held(run, new, known), seen.telling(run.config.model_dump(mode="json")):
        if start is not None:
            run = replace(run, state=start.state)
            write_atomic(run.folder.metrics, start.rows)
            save_checkpoint(run.folder.checkpoints, run.state, _origin(run))
        state = _train(run, seen, units=len(run.training.schedule.units))
        summary = finish(run, state, train_controls(run, seen))
        seen.summary = summary.model_dump(mode="json")
        return Run(run.folder.path, summary)


@contextmanager
def _held(run: Opened, new: Given | None, known: Known | None) -> Iterator[None]:
    """The folder is this process's, with all that a run begins with.

    :raises CheckpointError: when the disk does not take a file, or another process has the run.
    """
    folder = run.folder
    with run.journal as journal, _one_line_disk(folder):
        if new is not None:  # another process may have begun here while the images were loaded
            _check_new(folder)
            # Before config.toml, which is what makes a folder a run: one that has it has the rest.
            save_records(folder.records, run.mitigation)
            new.save(folder, run.dataset)
            if new.target is None and run.config.target.factory not in BUILT_IN:
                save_answers(folder, run.training.target, run.dataset.train.x.shape[1:])
        else:
            check_journal(folder, journal, known)
            if run.state.done and known is None:  # of the first release, whose checkpoints take no other shots
                save_checkpoint(folder.checkpoints, run.state, _origin(run))
        write_atomic(folder.config, run.config.to_toml())  # the budget may be another; now that the run is ours
        yield


#: What a disk answers that is full, broken or not ours.
_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT}
)


@contextmanager
def _one_line_disk(folder: RunFolder) -> Iterator[None]:
    """What the disk did not take is told with the way on; the journal has what was paid for."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raised = CheckpointError.unwritten(folder.path, error)
        raise raised.saying(f"{str(raised).rstrip('.')}: {folder.way_on}.") from error


def _origin(run: Opened) -> RunOrigin:
    config = run.mitigation.fingerprint(run.config, leaving_out=CHANGEABLE)
    exact = run.mitigation.fingerprint(run.config, leaving_out=OF_SHOTS)
    return RunOrigin(config, run.dataset.fingerprint, torch.get_num_threads(), run.journal.known(), exact)


def _train(run: Opened, observer: Observer | None, *, units: int) -> TrainingState:
    """:func:`_advance`, after which devices are let go, unless jobs of theirs go on."""
    try:
        return _advance(run, observer, units)
    finally:
        if not any(job.durable and job.state.open for job in run.journal.jobs()):  # closing a session would end them
            for device in run.devices.values():
                device.close()


def _advance(run: Opened, observer: Observer | None, until: int) -> TrainingState:
    """Do the units up to one; when stopped, by whatever it is, save the state after the last finished one."""
    folder, schedule, state = run.folder, run.training.schedule, run.state
    units = schedule.units
    if observer is not None:
        observer.phase(schedule.phase(state.done))
    drop_rows_after(folder.metrics, state.done)  # units after the last checkpoint are done again
    with folder.metrics.open("a", encoding="utf-8") as metrics:
        try:
            for after, row in run.training.run(state, until=until):
                metrics.write(json.dumps(row) + "\n")
                metrics.flush()
                state = after  # only now: a state on disk has its row
                if units[state.done - 1].ends_round:
                    save_checkpoint(folder.checkpoints, state, _origin(run))
                if observer is not None:
                    observer.advanced(row, done=state.done, total=until)
                    observer.phase(schedule.phase(state.done) if state.done < until else "")
        except BaseException as error:  # Ctrl-C, a device, or whatever watches: the state is good
            if isinstance(error, OSError):  # the disk takes nothing
                raise
            if folder.config.is_file():  # else the folder is gone, and nobody wants another
                save_checkpoint(folder.checkpoints, state, _origin(run))
            if isinstance(error, MitigationError):
                last = run.training.schedule.last_measurement
                raise _with_more_shots(error, folder, units[state.done], last=last) from error
            if isinstance(error, Diverged) and units[state.done].kind != "spsa":  # which no learning rate mends
                raise _with_a_lower_rate(error, run, state.done) from error
            raise
    return state


def _with_a_lower_rate(error: Diverged, run: Opened, done: int) -> Diverged:
    """Where it diverged, and how the run goes on from the last good state with shorter steps."""
    way = run.folder.way_on_with(f"training.lr={run.config.training.lr / 10:.3g}")
    total = len(run.training.schedule.units)
    return error.saying(f"{error} The state before, {done} of {total} units, is kept; go on from it with: {way}")


def _with_more_shots(error: MitigationError, folder: RunFolder, unit: Unit, *, last: Unit) -> MitigationError:
    """The error of a measurement with too few events, and how the run goes on: what it measured is not used again."""
    key = "spsa.shots" if unit.kind == "spsa" else "training.final_shots" if unit is last else "training.shots"
    return error.saying(f"{error} Or go on with more: {folder.way_on_with(f'{key}={10 * unit.shots}')}.")
