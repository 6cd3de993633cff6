"""Report runs: read their folders, put seeds together, write one page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ..errors import CheckpointError, ConfigError, DataError
from ..files import regular, user_path, write_atomic
from ..markup import Html, notebook_table
from ..rendering.text import number_of, two_columns
from ..words import short
from .gathered import Gathered, SeedGroup, Unread, gather
from .page import report_page

#: What a page is called unless a name is given.
PAGE_NAME = "report.html"


@final
@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """A page that was written, and what is in it.

    :param page: the file.
    :param groups: runs that differ by their seed alone, the most accurate configuration first.
    :param unread: what was asked for and is not in the page, each with its reason.
    """

    page: Path
    groups: tuple[SeedGroup, ...]
    unread: tuple[Unread, ...]

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Each configuration with its accuracy, its verdict, and the differences to its controls."""
        return [row for group in self.groups for row in _rows(group)]

    def __repr__(self) -> str:
        return f"Report({str(self.page)!r}, {number_of(len(self.groups), 'configuration')})"

    def _repr_html_(self) -> Html:
        return notebook_table(f"Report {self.page}", self.rows)

    def __str__(self) -> str:
        return two_columns([*self.rows, ("page", str(self.page)), *(("not in it", str(one)) for one in self.unread)])

    def data(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "page": str(self.page),
            "configurations": [_data(group) for group in self.groups],
            "not_reported": [{"name": one.name, "why": one.why, "bad": one.bad} for one in self.unread],
        }


def report(*folders: str | Path, out: str | Path | None = None) -> Report:
    """One self-contained page of the finished runs in some folders, at any depth.

    Runs that differ by their seed alone are put together. What cannot be read is named in the page, and the rest is
    there.

    :param folders: runs, or folders that hold some.
    :param out: the file; ``report.html`` in the one folder, or in the current one of several, unless given.
    :raises ConfigError: for what is no path.
    :raises CheckpointError: when no folder holds a finished run; nothing is written then.
    :raises DataError: when the page cannot be written, or would replace a file that is none.

    ::

        found = report("runs/sweep")
        print(found)
    """
    if not folders:
        raise ConfigError("report has no folder. Give at least one, such as qpu_sdk.report('runs/first').")
    if any(isinstance(folder, list | tuple) for folder in folders):
        raise ConfigError(f"folders are {short(folders[0])}. Give them one by one: qpu_sdk.report(*folders).")
    paths = [user_path(folder, "a folder of runs") for folder in folders]
    path = _place(paths) if out is None else user_path(out, "out, the file of the page,")
    found = gather(paths)
    if not found.groups:
        raise CheckpointError(f"no finished run to report: {_first_reasons(found)}")
    try:
        _check_place(path)
        write_atomic(path, report_page(found))
    except (OSError, ValueError) as error:  # ValueError: a path that no system can have
        why = getattr(error, "strerror", None) or error
        raise DataError(f"cannot write {path} ({why}). Choose another --out.") from error
    return Report(path, found.groups, found.unread)


def _check_place(path: Path) -> None:
    """Raise :class:`DataError` where the page would replace something that is no page."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; the page is a file. Give a name such as {path / PAGE_NAME}.")
    if path.exists() and regular(path).read_bytes()[:9].lower() != b"<!doctype":
        raise DataError(f"{path} exists already and is no page. Choose another --out.")


def _place(paths: list[Path]) -> Path:
    return (paths[0] if len(paths) == 1 else Path()) / PAGE_NAME


def _first_reasons(found: Gathered) -> str:
    """Why there is none, of a few."""
    shown = [str(one) for one in found.unread[:3]]
    more = len(found.unread) - len(shown)
    return "; ".join([*shown, *([f"and {more} more"] if more else [])])  # no full stop: it may end in a command


def _rows(group: SeedGroup) -> Iterator[tuple[str, str]]:
    found, seeds, told = group.accuracy, len(group.runs), group.metric.told
    interval = "" if found.low is None or found.high is None else f", 95 % {group.metric.span(found.low, found.high)}"
    yield group.label, f"{told(found.mean)} test {group.metric.name}{interval}, {seeds} seed{'' if seeds == 1 else 's'}"
    yield "", group.verdict.text
    for difference in group.differences:
        yield "", str(difference)


def _data(group: SeedGroup) -> dict[str, Any]:
    found = group.accuracy
    return {
        "label": group.label,
        f"test_{group.metric.name}": {"mean": found.mean, "spread": found.spread, "low": found.low, "high": found.high},
        "verdict": {"kind": group.verdict.kind, "text": group.verdict.text},
        "minus_controls": {
            one.control: {"mean": one.mean, "low": one.low, "high": one.high, "seeds": one.seeds}
            for one in group.differences
        },
        "runs": [
            {
                "folder": str(run.folder.path),
                "seed": run.summary.seed,
                f"test_{group.metric.name}": run.summary.figure,
            }
            for run in group.runs
        ],
        "repeats": [str(run.folder.path) for run in group.repeats],
    }
