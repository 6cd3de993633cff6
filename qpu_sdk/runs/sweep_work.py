"""Have the cells of a sweep done by workers that may die: what waits for what, second tries, and how far all is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, final

from ..errors import QPUError
from ..training.config import RunConfig
from ..training.schedule import Schedule
from ..versions import versions
from ..words import one_line
from .cell_work import Task, pack_folder, unpack_folder
from .cells import Cell
from .folder import RunFolder, finished_controls
from .sweep_folder import SweepFolder
from .warm_start import warm_config

#: A cell that failed is tried once more: the machine may have been at fault.
TRIES = 2
#: Seconds between two looks at how far cells are.
LOOK_S = 0.5


@final
@dataclass
class WorkItem:
    """A cell that is to be done, or a warm start that several of them have in common.

    :param warm: the part that has to be done before.
    """

    name: str
    config: RunConfig
    folder: RunFolder
    warm: WorkItem | None = None
    warm_only: bool = False
    tries: int = 0
    error: str = ""
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    done_before: int = 0
    units: int = field(init=False)

    def __post_init__(self) -> None:
        schedule = Schedule.of(self.config)
        self.units = schedule.exact_epochs if self.warm_only else len(schedule.units)

    @property
    def ended(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.state in ("done", "failed")

    @cached_property
    def files(self) -> bytes:
        """Of its folder, once it is done: one archive for all that begin there."""
        return pack_folder(self.folder.path)

    @property
    def progress(self) -> tuple[int, int]:
        """Units that are done, as far as they are on the disk here, and their number; the controls' are not counted."""
        if self.ended:
            return self.units, self.units
        try:
            return min(self.folder.metrics.read_bytes().count(b"\n"), self.units), self.units
        except OSError:
            return 0, self.units

    @property
    def stage(self) -> str:
        """What it is at: its training, or how many controls are done."""
        done, units = self.progress
        if done < units or self.warm_only or self.ended:
            return "warm start" if self.warm_only else "training"
        try:
            return f"{len(finished_controls(self.folder.controls))} controls done"
        except QPUError:
            return "controls"


@final
@dataclass(frozen=True)
class Advance:
    """How far a sweep is.

    :param running: the parts at work, as far as the executor tells.
    :param settled: parts that are done or given up since the last look.
    """

    parts: Sequence[WorkItem]
    running: Sequence[WorkItem]
    settled: Sequence[WorkItem]

    @property
    def cells(self) -> tuple[int, int]:
        """Cells that are done or given up, and all."""
        cells = [part for part in self.parts if not part.warm_only]
        return sum(part.ended for part in cells), len(cells)

    @property
    def share(self) -> float:
        """Of the units that were left, those that are done."""
        done = sum(max(0, part.progress[0] - part.done_before) for part in self.parts)
        return done / max(1, sum(part.units - part.done_before for part in self.parts))


def parts_of(cells: Sequence[Cell], folder: SweepFolder) -> list[WorkItem]:
    """What is to be done for the cells that are left: warm starts that two or more have in common, then the cells."""
    warm: dict[str, WorkItem] = {}
    wanted: dict[str, list[Cell]] = {}
    for cell in cells:
        if Schedule.of(cell.config).exact_epochs and not folder.run(cell.name).config.is_file():
            wanted.setdefault(warm_config(cell.config).fingerprint, []).append(cell)
    for identity, sharing in wanted.items():
        path = folder.warm(identity)
        if len(sharing) > 1 or path.is_dir():
            name = f"warm start of {sharing[0].name}"
            name += f" and {len(sharing) - 1} more" if len(sharing) > 1 else ""
            warm |= dict.fromkeys(
                (cell.name for cell in sharing),
                WorkItem(name, warm_config(sharing[0].config), RunFolder(path), None, True),
            )
    parts = list({id(part): part for part in warm.values()}.values())
    parts += [WorkItem(cell.name, cell.config, folder.run(cell.name), warm.get(cell.name)) for cell in cells]
    for part in parts:
        if part.warm is not None:  # what the warm start has done is not done again
            part.done_before = Schedule.of(part.config).exact_epochs
        part.done_before = max(part.done_before, part.progress[0])
    return parts


def worked(
    parts: Sequence[WorkItem],
    submit: Callable[[Task], Future[bytes]],
    *,
    elsewhere: bool,
    force: bool,
    settled: Callable[[WorkItem], None],
    observer: Callable[[Advance], None] | None,
) -> None:
    """Do all parts, each when what it waits for is done.

    :param submit: hands a task to a worker.
    :param elsewhere: whether the workers have other disks.
    :param settled: is called when a cell is done, or given up.
    :raises QPUError: when the executor itself is broken; what was done stays done.
    """
    at_work: dict[Future[bytes], WorkItem] = {}
    try:
        while not all(part.ended for part in parts):
            ended = [part for part in parts if _is_lost(part)]
            for part in parts:
                if part.state == "waiting" and (part.warm is None or part.warm.state == "done"):
                    future = _submitted(submit, _task(part, elsewhere=elsewhere, force=force))
                    at_work[future], part.state = part, "running"
            done, _ = wait(at_work, timeout=LOOK_S, return_when=FIRST_COMPLETED)
            # What has arrived is kept before anything is said of an executor that broke.
            for future in sorted(done, key=_is_broken):
                part = at_work.pop(future)
                ended += [part] if _settle(part, future, elsewhere=elsewhere) else []
            for part in ended:
                if not part.warm_only:
                    settled(part)
            if observer is not None:
                running = [part for future, part in at_work.items() if future.running()]
                observer(Advance(parts, running, ended))
            _raise_broken(done)
    finally:
        for future in at_work:
            future.cancel()  # an executor of the caller's would go on with what nobody waits for


def _is_lost(part: WorkItem) -> bool:
    """Whether a part waited for a warm start that is given up now, and is given up with it."""
    if part.state != "waiting" or part.warm is None or part.warm.state != "failed":
        return False
    part.state, part.error = "failed", f"its {part.warm.name} failed: {part.warm.error}"
    return True


def _submitted(submit: Callable[[Task], Future[bytes]], task: Task) -> Future[bytes]:
    try:
        return submit(task)
    except (BrokenExecutor, RuntimeError) as error:  # broken, shut down, or closed
        raise _broken(error) from error


def _is_broken(future: Future[bytes]) -> bool:
    """Whether its executor is: a scheduler that is gone has cancelled what it had."""
    return future.cancelled() or isinstance(future.exception(), BrokenExecutor | CancelledError)


def _raise_broken(futures: Iterable[Future[bytes]]) -> None:
    for future in futures:
        if _is_broken(future):
            error = CancelledError() if future.cancelled() else future.exception() or CancelledError()
            raise _broken(error) from error


def _broken(error: BaseException) -> QPUError:
    told = one_line(f"{type(error).__name__}: {error}".removesuffix(": "))
    return QPUError(
        f"the scheduler or executor takes no more work ({told}). What is done stays done; do the same with another to "
        "go on."
    )


def _task(part: WorkItem, *, elsewhere: bool, force: bool) -> Task:
    here, warm = part.folder.path.absolute(), part.warm
    task = Task(part.folder.path.name, part.config.to_toml(), versions(), warm_only=part.warm_only, force=force)
    if not elsewhere:
        return replace(task, folder=str(here), warm="" if warm is None else str(warm.folder.path.absolute()))
    begun = pack_folder(here) if part.folder.config.is_file() else b""
    return replace(task, files=begun, warm_files=b"" if warm is None or begun else warm.files)


def _settle(part: WorkItem, future: Future[bytes], *, elsewhere: bool) -> bool:
    """Take what a worker gave; False to have it tried once more, or by another executor."""
    try:
        files = future.result()
        if elsewhere:
            _arrived(files, part.folder.path)
        part.state, part.error = "done", ""
    except (BrokenExecutor, CancelledError):
        part.state = "waiting"
    except Exception as error:  # of another machine: whatever it is, the other cells go on
        part.tries += 1
        part.error = one_line(error if isinstance(error, QPUError) else f"{type(error).__name__}: {error}", 500)
        part.state = "failed" if part.tries >= TRIES else "waiting"
    return part.ended


def _arrived(files: bytes, folder: Path) -> None:
    """A whole folder or none: what a killed sweep had begun to write is written again."""
    arriving = folder.with_name(f".{folder.name}.arriving")
    shutil.rmtree(arriving, ignore_errors=True)
    unpack_folder(files, arriving)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    arriving.replace(folder)
