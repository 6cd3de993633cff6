"""The folder of a sweep: which cells it has, what became of each, and who works in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from pydantic import BaseModel, ConfigDict, ValidationError

from ..devices.journal_file import exclusive
from ..errors import CheckpointError, ConfigError
from ..files import check_schema, first_problem, pretty_json, regular, user_path, write_atomic
from ..training.config_file import read_config
from ..words import command
from .cells import Cell
from .folder import RunFolder

State = Literal["waiting", "done", "failed"]


class CellEntry(BaseModel):
    """A cell in ``sweep.json``.

    :param identity: hash of what decides its result.
    :param same_as: name of the cell with an equal configuration, whose run is this one's too; "" for none.
    :param error: of its last try.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    values: dict[str, Any]
    identity: str
    same_as: str = ""
    state: State = "waiting"
    error: str = ""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    cells: list[CellEntry]


@final
@dataclass(frozen=True)
class SweepFolder:
    """Where the runs of a sweep are."""

    path: Path

    @classmethod
    def of(cls, out: object) -> SweepFolder:
        """The folder that a caller names; raises :class:`ConfigError` when it is no path."""
        return cls(user_path(out, "out, the folder of the sweep,"))

    @property
    def file(self) -> Path:
        """What the sweep consists of."""
        return self.path / "sweep.json"

    @property
    def log(self) -> Path:
        """What workers write to standard error."""
        return self.path / "workers.log"

    def run(self, name: str) -> RunFolder:
        """Folder of a cell."""
        return RunFolder(self.path / name)

    def warm(self, identity: str) -> Path:
        """Folder of a warm start."""
        return self.path / ".warm" / identity[:16]

    @contextmanager
    def held(self) -> Iterator[None]:
        """For this process alone; raises :class:`CheckpointError` when another one has it."""
        self._check_no_run()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot write to {self.path} ({error}). Choose another folder.") from error
        try:
            lock = exclusive(self.file)
        except CheckpointError as error:
            if "another process" not in str(error):
                raise
            raise CheckpointError(
                f"another process works on the sweep in {self.path}. Wait for it, stop it, or choose another folder."
            ) from error
        try:
            yield
        finally:
            lock.close()

    def begin(self, cells: Sequence[Cell]) -> list[CellEntry]:
        """The cells as they stand, written down: as of :meth:`asked`."""
        entries = self.asked(cells)
        self.save(entries)
        return entries

    def asked(self, cells: Sequence[Cell]) -> list[CellEntry]:
        """The cells as they stand: those of a sweep that goes on, or is extended, as they were left.

        :raises CheckpointError: when another sweep, or other runs, are there.
        """
        self._check_no_run()
        first = {cell.identity: cell.name for cell in reversed(cells)}
        entries = [
            CellEntry(
                name=cell.name,
                values=dict(cell.values),
                identity=cell.identity,
                same_as="" if first[cell.identity] == cell.name else first[cell.identity],
            )
            for cell in cells
        ]
        known = {entry.name: entry.identity for entry in self.entries()} if self.file.exists() else {}
        new = {entry.name: entry.identity for entry in entries}
        if missing := next((name for name in known if new.get(name) != known[name]), None):
            what = "has another configuration there" if missing in new else "is not asked for"
            raise CheckpointError(
                f"{self.path} holds another sweep: its cell {missing} {what}. Choose another folder; a sweep is "
                "extended by asking for all its cells and more."
            )
        for cell in cells:
            self._check_run(cell)
        for entry in entries:
            entry.state = "done" if self.run(entry.same_as or entry.name).summary.is_file() else "waiting"
        return entries

    def _check_no_run(self) -> None:
        if RunFolder(self.path).config.is_file():
            raise CheckpointError(f"{self.path} holds a run. Choose another folder for the sweep.")

    def _check_run(self, cell: Cell) -> None:
        written = self.run(cell.name).config
        if written.is_file() and read_config(written).fingerprint != cell.config.fingerprint:
            raise CheckpointError(f"{written.parent} holds another run than this cell. Choose another folder.")

    def entries(self) -> list[CellEntry]:
        """What ``sweep.json`` says; raises :class:`CheckpointError` when there is none, or it is damaged."""
        try:
            text = regular(self.file).read_text(encoding="utf-8")
            check_schema(text, self.file, known=1)
            return _File.model_validate(json.loads(text)).cells
        except FileNotFoundError:
            raise CheckpointError(
                f"{self.path} holds no sweep (no sweep.json). Begin one with: {command('sweep', '--out', self.path)}"
            ) from None
        except (OSError, ValidationError, ValueError) as error:
            why = first_problem(error) if isinstance(error, ValueError) else str(error)
            raise CheckpointError(
                f"{self.file} is damaged ({why}). Restore it; the runs beside it are whole."
            ) from error

    def save(self, entries: Sequence[CellEntry]) -> None:
        """Write ``sweep.json``; it has no time in it, so that equal sweeps leave equal bytes."""
        values = _File(cells=list(entries)).model_dump(mode="json")
        try:
            write_atomic(self.file, pretty_json(values) + "\n")
        except OSError as error:
            raise CheckpointError.unwritten(self.path, error) from error


def check_here(cells: Sequence[Cell]) -> None:
    """Raise :class:`ConfigError` when a cell asks a device that costs: what a lost worker knew would be paid again."""
    for cell in cells:
        for name in cell.config.device_names:
            if not name.startswith(("local:", "replay:")):
                raise ConfigError(
                    f"{cell.name} asks {name}, whose jobs are written down beside the run. Leave the scheduler or "
                    "executor out: workers of this machine do it."
                )
