"""A record from files of counts: whose they are, which programs they are of, where the record goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from pydantic import JsonValue

from ..devices.counts_files import load_counts
from ..devices.machines import machine_of
from ..devices.program_files import load_programs
from ..errors import CalibrationError, CalibrationMismatch
from ..photonics.counts import Counts
from ..photonics.noise import mean_pair
from ..photonics.program import Program
from .from_counts import calibrate_from
from .record import CalibrationRecord


@final
@dataclass(frozen=True)
class FilesRequest:
    """Which files to calibrate from.

    :param device: whose counts they are; None where they say it themselves.
    :param counts: files of counts, or folders of runs.
    :param programs: none where the counts carry theirs, one for all files together, or one for each.
    :param inputs: where photons entered, for programs that do not say.
    :param detector: ``"auto"`` to choose by likelihood; None as the counts say.
    :param validity_h: hours that the record should be used.
    """

    device: str | None
    counts: tuple[Path, ...]
    programs: tuple[Path, ...] = ()
    inputs: tuple[int, ...] | None = None
    detector: str | None = None
    validity_h: float | None = None


def record_from_files(
    request: FilesRequest, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> CalibrationRecord:
    """Fit a record to counts in files; what a vendor publishes of a known machine is the prior.

    :param progress: told how many fits of all are done.
    :raises DataError: when a file cannot be read.
    :raises CalibrationError: when counts and programs do not belong together, are too few, or no model fits.
    :raises CalibrationMismatch: when the counts are of several devices, or not of this one.
    """
    counts, device = _of_one_device(_read(request), request.device)
    return calibrate_from(
        counts,
        device=device,
        vendor=published_figures(device),
        detector=request.detector,
        validity_h=request.validity_h,
        progress=progress,
    )


def _read(request: FilesRequest) -> list[Counts]:
    """The counts of all files, each with its program."""
    files = [load_programs(path, inputs=request.inputs) for path in request.programs]
    if len(files) not in (0, 1, len(request.counts)):
        raise CalibrationError(
            f"{len(request.counts)} files of counts and {len(files)} of programs. Give one of programs for each, or "
            "one for all of them together."
        )
    if len(files) == len(request.counts):
        pairs = zip(request.counts, files, strict=True)
        found = [one for path, programs in pairs for one in load_counts(path, programs=programs)]
    else:
        sent = {program.photons for programs in files for program in programs}
        photons = sent.pop() if len(sent) == 1 else None  # of tables, which do not say how many were sent
        found = _beside([one for path in request.counts for one in load_counts(path, photons=photons)], files)
    missing = next((number for number, one in enumerate(found) if one.program is None), None)
    if missing is not None:
        raise CalibrationError(
            f"the counts of setting {missing} do not say of which program they are. Give the programs with --programs."
        )
    return found


def _beside(counts: list[Counts], files: Sequence[Sequence[Program]]) -> list[Counts]:
    """Counts with programs that stand in one file, in order."""
    if not files:
        return counts
    [programs] = files
    if len(programs) != len(counts):
        raise CalibrationError(
            f"the files hold counts of {len(counts)} settings, and {len(programs)} programs. Give one for each, in "
            "order."
        )
    return [_with_program(one, program) for one, program in zip(counts, programs, strict=True)]


def _with_program(counts: Counts, program: Program) -> Counts:
    return Counts(
        photons=program.photons,
        outcomes=counts.outcomes,
        numbers=counts.numbers,
        other=counts.other,
        detector=counts.detector,
        program=program,
        fingerprint=counts.fingerprint,
        device=counts.device,
        tag=counts.tag,
        job_id=counts.job_id,
    )


def _of_one_device(counts: list[Counts], device: str | None) -> tuple[list[Counts], str]:
    """The counts of one device, and its name."""
    names = sorted({one.device for one in counts if one.device})
    if device is None and len(names) != 1:
        told = f"the counts are of {len(names)} devices: {', '.join(names)}" if names else "the counts name no device"
        raise CalibrationMismatch(f"{told}. Name the one that is meant.")
    name = names[0] if device is None else device
    mine = [one for one in counts if one.device in ("", name)]
    if not mine:
        raise CalibrationMismatch(f"no counts are of {name}; they are of {', '.join(names)}. Name one of these.")
    return mine, name


def published_figures(device: str) -> dict[str, JsonValue] | None:
    """What is published of the machine that a device is named after, as its platform would say it.

    >>> published_figures("quandela:qpu:belenos")
    {'Transmittance (%)': 4.84, 'HOM (%)': 82.7, 'g2 (%)': 18.2}
    """
    machine = machine_of(device)
    if machine is None or machine.noise is None:
        return None
    light, overlap = machine.noise.click_probability, mean_pair(machine.noise.indistinguishability)
    figures = {"Transmittance (%)": light, "HOM (%)": overlap, "g2 (%)": machine.noise.g2}
    return {name: round(100.0 * value, 6) for name, value in figures.items()}
