"""Mitigation from the command line: files of counts, a record and a program in, distributions out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..words import command
from .printing import BAD_INPUT, Json, fail, parse_modes, print_or_json, tell


def mitigate_command(
    counts: Annotated[
        Path, typer.Argument(help="A file of counts, ours, Perceval's, CSV or NumPy, or the folder of a run.")
    ],
    record: Annotated[Path | None, typer.Option(help="A calibration record of the device.")] = None,
    method: Annotated[
        str, typer.Option(help="auto, or post-select, response, subtract, unfold, unfold-fuse, fuse, recycle.")
    ] = "auto",
    program: Annotated[
        Path | None, typer.Option(help="A file of the program that was run, or of one for each counts.")
    ] = None,
    inputs: Annotated[str | None, typer.Option(help="Modes that photons entered, such as 0,2,5,8.")] = None,
    photons: Annotated[int | None, typer.Option(help="Photons that were sent, for counts that do not say.")] = None,
    total: Annotated[int | None, typer.Option(min=1, help="Shots, for counts that are frequencies.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of held-out and resampled counts.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Also write everything as JSON.")] = None,
    page: Annotated[Path | None, typer.Option(help="Also write a page, with a figure.")] = None,
    json_: Json = False,
) -> None:
    """Turn counts into a distribution with error bars, with what a calibration record says of the device."""
    from ..mitigation.files import MitigationRequest, data_of, mitigate_file, rows_of, write_results

    if record is None:
        fail(f"no record. Make one with {command('calibrate', 'DEVICE')}, then: --record FILE", BAD_INPUT)
    modes = None if inputs is None else parse_modes(inputs)
    request = MitigationRequest(counts, record, method, program, modes, photons, seed, total)
    found = mitigate_file(request)
    for path in write_results(request, found, out=out, page=page):
        tell(f"written: {path}", err=True)
    print_or_json(rows_of(found), data_of(request, found), json_)
