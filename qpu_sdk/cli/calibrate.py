"""Calibration from the command line: which device, which journal, where the record goes; show and compare."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..rendering.text import Rows
from ..words import command
from .completion import devices
from .history import write_page
from .printing import (
    BAD_INPUT,
    INTERRUPTED,
    MODES_AT_MOST,
    SHOTS_AT_MOST,
    Json,
    fail,
    parse_modes,
    print_verdict,
    tell,
    waiting,
)

if TYPE_CHECKING:
    from ..calibration.from_files import FilesRequest


def show_record(path: Path, *, page: Path | None, details: bool = False) -> tuple[str, Rows, dict[str, Any]]:
    """Verdict and rows of a record, and its JSON; ``page``: also write it as HTML; ``details``: every number.

    :raises CalibrationError: when the record cannot be read or the page not written.
    """
    from ..calibration.page import job_rows, key_rows, record_page
    from ..calibration.store import load_record
    from ..calibration.verdict import record_verdict

    record = load_record(path)
    if page is not None:
        write_page(page, record_page(record))
    verdict = record_verdict(record)
    rows = [*record.rows(), *job_rows(record)] if details else key_rows(record)
    return verdict, rows, {"path": os.fspath(path), "verdict": verdict} | record.model_dump(mode="json")


def compare_records(before: Path, after: Path) -> tuple[str, Rows, dict[str, Any]]:
    """Whether anything changed between two records, and what, with significance."""
    from ..calibration.drift import record_changes
    from ..calibration.page import change_rows
    from ..calibration.store import load_record
    from ..calibration.verdict import changes_verdict

    comparison = record_changes(load_record(before), load_record(after))
    verdict = changes_verdict(comparison)
    data = {
        "verdict": verdict,
        "before": comparison.before,
        "after": comparison.after,
        "changes": [asdict(change) for change in comparison.changes],
        "joint": None if comparison.joint is None else comparison.joint.model_dump(mode="json"),
    }
    return verdict, change_rows(comparison), data


def _from_files(request: FilesRequest, out: Path) -> Path:
    """The record's file."""
    from ..calibration.from_files import record_from_files
    from ..calibration.store import CalibrationStore

    with waiting("reading counts") as tell_more:
        try:
            record = record_from_files(
                request, progress=lambda done, total: tell_more(f"fit {min(done + 1, total)} of {total}")
            )
        except KeyboardInterrupt:
            fail("interrupted. Nothing was written; give the same command again.", INTERRUPTED)
    path = CalibrationStore(out).save(record)
    tell(f"written: {path}", err=True)
    return path


def calibrate_command(
    device: Annotated[
        str | None, typer.Argument(help="The device, such as 'local:slos?noise=ascella'.", autocompletion=devices)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of records; one file a measurement, never overwritten.")] = Path(
        "calibration"
    ),
    modes: Annotated[int, typer.Option(min=2, max=MODES_AT_MOST, help="Modes of the largest circuit.")] = 9,
    photons: Annotated[int, typer.Option(help="Inputs 0, 1, ... to calibrate, unless --inputs.")] = 4,
    inputs: Annotated[str | None, typer.Option(help="Input modes, such as 0,2,5,8.")] = None,
    shots: Annotated[
        int, typer.Option(min=1, max=SHOTS_AT_MOST, help="Of each of about ten circuit settings.")
    ] = 1_000_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the validation circuits, and of a simulator.")] = 0,
    pairs: Annotated[bool, typer.Option("--pairs", help="An indistinguishability of every pair.")] = False,
    valid: Annotated[float, typer.Option(help="Hours that the record should be used.")] = 24.0,
    show: Annotated[Path | None, typer.Option(help="Show a record instead.")] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Show what changed between two records instead.")
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Show all records of the device in --out over time instead.")
    ] = False,
    page: Annotated[Path | None, typer.Option(help="Also write the record as a page, with a figure.")] = None,
    vendor: Annotated[bool, typer.Option("--vendor", help="Write down published figures; measure nothing.")] = False,
    credits: Annotated[float | None, typer.Option(help="Most credits to spend; the default asks for about 10.")] = None,
    from_: Annotated[
        list[Path] | None, typer.Option("--from", help="Counts to calibrate from, or a run's folder: measure nothing.")
    ] = None,
    programs: Annotated[list[Path] | None, typer.Option(help="The programs of --from, where they do not say.")] = None,
    detector: Annotated[
        str | None, typer.Option(help="Of --from: threshold, pnr, ppnr:W; auto lets the counts choose.")
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="Show every number, and every circuit.")] = False,
    json_: Json = False,
) -> None:
    """Measure the noise of a device in about ten circuit settings, and write a dated record with error bars.

    With --from nothing is measured: the record is fitted to counts that are there, such as those of a run.
    """
    from ..calibration.calibrate import measure_device, vendor_figures
    from ..calibration.from_files import FilesRequest
    from ..calibration.measure import CalibrationRequest

    if history:
        from .history import history_of

        return history_of(device, out, page=page, details=details, json_=json_)
    if compare is not None:
        print_verdict(*compare_records(*compare), json_)
        return
    if from_:
        chosen_inputs = None if inputs is None else parse_modes(inputs)
        asked = FilesRequest(device, tuple(from_), tuple(programs or ()), chosen_inputs, detector, valid)
        show = _from_files(asked, out)
    elif programs or detector:
        fail(f"{'--programs' if programs else '--detector'} goes with --from COUNTS, which is missing.", BAD_INPUT)
    if show is None and device is None:
        fail(f"no device. Write for example: {command('calibrate', 'local:slos?noise=ascella')}", BAD_INPUT)
    if show is None:
        if inputs is None and not 2 <= photons <= modes:
            fail(f"--photons is {photons}; 2 to {modes} enter distinct modes of 0..{modes - 1}.", BAD_INPUT)
        chosen = tuple(range(photons)) if inputs is None else parse_modes(inputs)
        request = CalibrationRequest(modes, chosen, shots, seed, pairs, valid)
        with waiting(f"calibrating {device}"):
            try:
                show = (
                    vendor_figures(str(device), out, request)
                    if vendor
                    else measure_device(str(device), out, request, credits=credits)
                )
            except KeyboardInterrupt:
                fail("interrupted. Give the same command again to go on; nothing is measured twice.", INTERRUPTED)
        tell(f"written: {show}", err=True)
    print_verdict(*show_record(show, page=page, details=details), json_)
