"""What a run measured last, read back from its folder: the circuits with their final phases, and their distributions.

The phases are in the newest checkpoint, the counts in the journal, the calibration records in the folder; what is gone
is left out, and said to be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..calibration.record import CalibrationRecord
from ..devices.job_record import JobState
from ..devices.journal import Journal
from ..errors import CalibrationError, CheckpointError, MitigationError, ProgramError
from ..files import regular
from ..layer.estimator import Mitigation
from ..mitigation.distribution import Distribution
from ..mitigation.selection import post_select
from ..photonics.counts import Counts
from ..photonics.program import Program
from ..training.config import QNNConfig, RunConfig
from ..words import one_line
from .folder import RunFolder
from .records import load_records

#: Outcomes of the largest circuit whose ideal distribution is worked out for a figure: a second on one core.
_MOST_IDEAL = 5000


@final
@dataclass(frozen=True, eq=False)
class MeasuredQNN:
    """One circuit of a run as it was measured last.

    :param program: with its final phases; None where nobody knows them.
    :param before: post-selected counts, None where these are gone.
    :param after: the same with mitigation, None where no record was used.
    """

    device: str
    program: Program | None
    before: Distribution | None
    after: Distribution | None

    @cached_property
    def ideal(self) -> FloatArray | None:
        """Exact distribution of the circuit without noise, ``(C(M, N),)``, where it is known and cheap."""
        program = self.program
        if program is None or math.comb(program.modes, program.photons) > _MOST_IDEAL:
            return None
        with suppress(ProgramError):
            return program.probabilities()
        return None


@final
@dataclass(frozen=True, eq=False)
class LastMeasurement:
    """What a folder holds of the last measurement.

    :param records: calibration records of the run, by device string.
    :param time: when it was done, None where nobody knows.
    :param missing: one line for each thing that is gone or cannot be read.
    """

    qnns: tuple[MeasuredQNN, ...]
    records: Mapping[str, CalibrationRecord]
    time: datetime | None
    missing: tuple[str, ...]


def measured_last(folder: RunFolder, config: RunConfig) -> LastMeasurement:
    """Every circuit of a run with what was measured of it."""
    missing: list[str] = []
    known = Mitigation({}, "post-select", config.seed, {})
    try:
        known = load_records(folder.records, config)
    except (CheckpointError, OSError) as error:
        missing.append(f"no mitigated distributions: {one_line(error)}")
    programs = final_programs(folder, config)
    if not programs:
        missing.append("no interferometers from a checkpoint: there is none with the final phases")
    counts, time = dict[int, Counts](), None
    try:
        counts, time = _last_counts(folder, config, programs)
        if len(counts) < len(config.qnn):
            missing.append("no distributions: the journal does not have the counts of the last measurement")
    except (CheckpointError, OSError, ValueError) as error:
        missing.append(f"no distributions: {one_line(error)}")
    own = (_measured(i, config, programs.get(i), counts.get(i), known, missing) for i in range(len(config.qnn)))
    return LastMeasurement(tuple(own), known.records, time, tuple(dict.fromkeys(missing)))


def final_programs(folder: RunFolder, config: RunConfig) -> Mapping[int, Program]:
    """The circuits with the phases of the newest checkpoint that can be read, by their numbers; none where none can.

    :param config: of the run.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    meshes = [qnn.open_mesh() for qnn in config.qnn]
    cuts = np.cumsum([mesh.declared for mesh in meshes])[:-1]
    for file in sorted(folder.checkpoints.glob("[0-9]*.safetensors"), reverse=True):
        with suppress(OSError, SafetensorError, KeyError, ProgramError, ValueError):
            parts = np.split(load(regular(file).read_bytes())["spsa.x"], cuts)
            own = zip(meshes, parts, config.qnn, strict=True)
            return {i: Program(mesh, part, qnn.inputs) for i, (mesh, part, qnn) in enumerate(own)}
    return {}


def _last_counts(
    folder: RunFolder, config: RunConfig, programs: Mapping[int, Program]
) -> tuple[dict[int, Counts], datetime | None]:
    """Counts of the last measurement by the number of the circuit, and when they came.

    :raises CheckpointError: when there is no journal, or it cannot be read.
    """
    if not folder.journal.is_file():
        raise CheckpointError("the journal, which held the counts, is gone")
    with Journal(folder.journal, write=False) as journal:
        # What a person gave up is failed, whatever counts it has; a journal of the first release is read like any.
        jobs = [job for job in journal.jobs() if job.state is not JobState.FAILED]
        kept = [job for job in jobs if job.tag == f"measure/{config.training.rounds}"]
        if not kept and programs:  # the same settings were measured before, and were not sent again
            kept = [job for job in jobs if job.shots_each == config.training.final_shots]
        counts = [one for job in kept for one in journal.of_job(job.name) if one is not None]
    found: dict[int, Counts] = {}
    for one in counts:
        own = [i for i in range(len(config.qnn)) if _is_of(one, config.qnn[i], programs.get(i))]
        if programs or len(own) == 1:  # without a checkpoint nobody knows which of two equal meshes it was
            for i in own:
                found.setdefault(i, replace(one, program=programs.get(i, one.program)))
    return found, max((datetime.fromisoformat(job.updated) for job in kept), default=None)


def _is_of(counts: Counts, qnn: QNNConfig, program: Program | None) -> bool:
    """Whether the counts may be of the circuit: of its program, or of its mesh where the program is not known."""
    if program is not None:
        return counts.fingerprint == program.fingerprint
    known = counts.program
    return known is not None and (known.mesh, known.input_modes) == (qnn.open_mesh(), qnn.inputs)


def _measured(
    index: int,
    config: RunConfig,
    program: Program | None,
    counts: Counts | None,
    known: Mitigation,
    missing: list[str],
) -> MeasuredQNN:
    """One circuit; what it lacks is added to ``missing``."""
    device = config.device_of(index)
    if counts is None:
        return MeasuredQNN(device, program, None, None)
    program, before, after = program if program is not None else counts.program, None, None
    try:
        before = post_select(counts)
        if device in known.records and program is not None:
            # The same label as in training, so that the same numbers are drawn.
            label = f"measure/{config.training.rounds}, setting 0 of qnn {index}"
            after = known.distribution(counts, program, device=device, label=label)
    except (MitigationError, CalibrationError, ProgramError) as error:
        missing.append(one_line(error))
    return MeasuredQNN(device, program, before, after)
