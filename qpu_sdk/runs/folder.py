"""The folder of a run."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ..errors import CheckpointError
from ..files import regular, user_path, write_atomic
from ..words import command, short


@final
@dataclass(frozen=True)
class RunFolder:
    """Where the files of a run are."""

    path: Path

    @classmethod
    def of(cls, out: object) -> RunFolder:
        """The folder that a caller names; ``~`` is the home folder.

        :raises ConfigError: when it is no path; see :func:`~qpu_sdk.files.user_path`.
        """
        return cls(user_path(out, "out, the folder of the run,"))

    @property
    def way_on(self) -> str:
        """What to write to go on: the command, or Python where a network or images were passed there."""
        if not self.given.is_file():
            return command("resume", self.path)
        try:
            known = json.loads(regular(self.given).read_text(encoding="utf-8"))
            passed = [f"{key}=..." for key in ("target", "data") if known[key] is not None]
        except (OSError, ValueError, TypeError, KeyError):
            passed = ["target=...", "data=..."]
        return f"qpu_sdk.resume({', '.join([repr(str(self.path)), *passed])})"

    def way_on_with(self, setting: str) -> str:
        """:attr:`way_on` with a ``key=value`` that may change in mid-run."""
        way = self.way_on
        return f"{way[:-1]}, budget=['{setting}'])" if way.endswith(")") else f"{way} --set {setting}"

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
    def given(self) -> Path:
        """Fingerprints of a network and of images that were passed as objects."""
        return self.path / "given.json"

    @property
    def target(self) -> Path:
        """First weights of a network that was passed as an object."""
        return self.path / "target.safetensors"

    @property
    def answers(self) -> Path:
        """What the network that the configuration names answered when the run began."""
        return self.path / "answers.json"

    @property
    def model(self) -> Path:
        """The trained network."""
        return self.path / "model.safetensors"

    @property
    def summary(self) -> Path:
        """The result."""
        return self.path / "summary.json"

    @property
    def mistakes(self) -> Path:
        """Which test images are taken for which."""
        return self.path / "mistakes.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"


def free_folder(path: Path) -> Path:
    """The folder when it holds no run, or else the first of ``<name>-2``, ``<name>-3``, ... that holds none."""
    names = itertools.chain([path], (path.with_name(f"{path.name}-{number}") for number in itertools.count(2)))
    return next(folder for folder in names if not RunFolder(folder).config.exists())


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of ``metrics.jsonl``; a last line that a killed process left unfinished is ignored.

    :raises CheckpointError: for any other line that is no row; names it.
    """
    if not path.exists():
        return []
    try:
        lines = regular(path).read_text(encoding="utf-8", errors="backslashreplace").split("\n")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}). Restore it.") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            row["unit"] = int(row["unit"])
            rows.append(row)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if number == len(lines):
                break  # no line break behind it: nothing but the last can be unfinished
            raise CheckpointError(
                f"{path}, line {number}, is no row of a unit ({short(line)}). Restore it, or delete the line: the "
                "report alone needs it."
            ) from error
    return rows


def drop_rows_after(path: Path, done: int) -> None:
    """Forget rows of units that will be done again.

    :raises CheckpointError: for a damaged file.
    """
    kept = [row for row in read_metrics(path) if row["unit"] <= done]
    write_atomic(path, "".join(json.dumps(row) + "\n" for row in kept))


def finished_controls(path: Path) -> dict[str, Any]:
    """Accuracies and sizes of the controls that are done; raises :class:`CheckpointError` for a damaged file."""
    try:
        return dict(json.loads(regular(path).read_text(encoding="utf-8"))) if path.exists() else {}
    except (OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Delete it to train the controls again.") from error
