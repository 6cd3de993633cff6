"""The command report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .completion import run_folders
from .printing import BAD_INPUT, Json, complain, print_rows, tell, tell_json


def report_command(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Folders of runs, or folders that hold some, at any depth.", autocompletion=run_folders),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The page; none: report.html in the one folder, or in this one of several.")
    ] = None,
    json_: Json = False,
) -> None:
    """Write one page of one run or of many: accuracy beside controls, curves, circuits, distributions, budget.

    What cannot be read is named in one line, here and in the page, and the rest is reported; the exit code is 2 then.
    """
    from ..runs.report import report

    found = report(*folders, out=out)
    if json_:
        tell_json(found.data())
    else:
        print_rows(found.rows)
        tell(f"{found.page}  the page")
    for one in found.unread:
        if one.bad:
            complain(str(one), BAD_INPUT)
        else:
            tell(f"qpu-sdk: {one}", err=True)
    if any(one.bad for one in found.unread):
        raise typer.Exit(BAD_INPUT)
