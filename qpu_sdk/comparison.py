"""Mitigations side by side on one device, for programs whose ideal distribution is known.

Every estimate gets the same number of shots. In the first place each method runs as many settings as it wants: ours,
post-selection and recycling one, Perceval's presets more, over which their shots are divided. In the second place ours
and post-selection are given as many settings as a preset took, their shots divided over them, each compiled again:
where the device's phase errors differ from setting to setting, these average. So both comparisons are at equal shots,
and the second one is at equal settings too. What calibration cost is stated beside them and not divided by programs.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, final

import numpy as np

from .calibration.plan import haar
from .calibration.record import CalibrationRecord
from .calibration.store import check_age, load_record
from .devices.base import Device
from .devices.budget import Budget, rates_of
from .devices.journal import Journal
from .devices.journalled import JournalledDevice, Terms
from .devices.registry import open_device
from .devices.replay import ReplayDevice
from .errors import ConfigError, DataError, MitigationError
from .files import child_seed
from .mitigation.distribution import total_variation
from .mitigation.pipeline import check_match, checked_steps, mitigate
from .photonics.counts import Counts, merge
from .photonics.meshes import BrickwallMesh, RectangularMesh
from .photonics.permanents import FloatArray, collision_free_tree, probabilities
from .photonics.program import Program

Kind = Literal["brickwall", "haar", "identity", "permutation", "dft"]
KINDS: tuple[Kind, ...] = ("brickwall", "haar", "identity", "permutation", "dft")
#: Kinds of which there is only one program.
SINGLE: tuple[Kind, ...] = ("identity", "dft")
OURS, RAW = "ours", "raw"
LEVEL = 0.95
#: Distances that differ by less are the same.
SAME = 1e-9


@final
@dataclass(frozen=True, eq=False)
class KnownProgram:
    """A program and its ideal collision-free distribution.

    :param truth: ``(C(M, N),)``, sums to 1.
    """

    kind: Kind
    number: int
    program: Program
    truth: FloatArray = field(repr=False)


@final
@dataclass(frozen=True)
class Trial:
    """One estimate of one program.

    :param method: ``raw``, ``ours``, ``ours: STEPS``, or a preset of Perceval.
    :param settings: circuit settings that were run.
    :param events: collision-free N-click events of the program itself.
    :param tvd: total variation distance to the truth; None where the method gave no estimate.
    :param floor: what so many events of a perfect device would have, on average.
    :param covered: share of the outcomes whose 95 % interval holds the truth; None without intervals.
    :param why: it gave no estimate, or which steps it took.
    """

    kind: Kind
    number: int
    method: str
    shots: int
    settings: int
    events: int
    tvd: float | None
    floor: float
    covered: float | None
    why: str


def known_programs(
    kinds: Sequence[Kind], *, modes: int, input_modes: tuple[int, ...], each: int, seed: int
) -> list[KnownProgram]:
    """Programs of several kinds with their truth.

    :param each: of every kind that has more than one.
    :raises ConfigError: for an unknown kind.
    """
    out = []
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"programs {kind!r} are unknown. Use of {', '.join(KINDS)}.")
        for number in range(1 if kind in SINGLE else each):
            program = _program(kind, modes, input_modes, child_seed(seed, "comparison", kind, number))
            columns = program.mesh.columns(program.phases, input_modes)
            p = probabilities(columns, collision_free_tree(modes, len(input_modes)))
            out.append(KnownProgram(kind, number, program, p / p.sum()))
    return out


def _program(kind: Kind, modes: int, input_modes: tuple[int, ...], seed: int) -> Program:
    rng = np.random.default_rng(seed)
    if kind == "brickwall":
        wall = BrickwallMesh(modes)
        return Program(wall, rng.uniform(0.0, 2.0 * np.pi, wall.declared), input_modes)
    grid = np.outer(np.arange(modes), np.arange(modes))
    unitary = haar(modes, rng) if kind == "haar" else np.eye(modes, dtype=np.complex128)
    if kind == "permutation":
        unitary = unitary[rng.permutation(modes)]
    if kind == "dft":
        unitary = np.exp(2j * np.pi * grid / modes) / np.sqrt(modes)
    mesh = RectangularMesh(modes)
    return Program(mesh, mesh.phases_of(unitary), input_modes)


def compare(
    device: Device,
    record: CalibrationRecord,
    programs: Sequence[KnownProgram],
    *,
    shots: int,
    seed: int,
    steps: Sequence[tuple[str, ...]] = (),
    presets: Sequence[str] | None = None,
    done: Callable[[], None] = lambda: None,
) -> list[Trial]:
    """Measure every program and estimate it in every way.

    :param shots: of each estimate.
    :param steps: of ours to try besides what ``auto`` takes.
    :param presets: of Perceval; None for all.
    :param done: called after every program.
    :raises CalibrationMismatch: when the record is not of the device.
    """
    trials: list[Trial] = []
    for known in programs:
        once = _spread(device, known.program, shots, 1)
        trials += _ours(once, record, known, shots, 1, steps, seed)
        theirs = list(_presets(device, record, known, shots, once, presets))
        for settings in sorted({trial.settings for trial in theirs} - {0, 1}):
            counts = _spread(device, known.program, shots, settings)
            trials += _ours(counts, record, known, shots, settings, (), seed)
        trials += theirs
        done()
    return trials


def _spread(device: Device, program: Program, shots: int, settings: int) -> Counts:
    """Shots divided over several compilations of one program, in one job where the device allows."""
    from .mitigation.perceval_presets import recompiled

    if settings > shots:
        raise ConfigError(f"{shots} shots cannot be divided over {settings} settings. Use more shots.")
    every = [recompiled(program, index) for index in range(settings)]
    limit, found = device.spec.max_programs or settings, []
    for part in (every[i : i + limit] for i in range(0, settings, limit)):
        found += device.submit(part, shots=shots // settings, tag="comparison").result()
    return merge(found, program=program.fingerprint)


def _presets(
    device: Device,
    record: CalibrationRecord,
    known: KnownProgram,
    shots: int,
    once: Counts,
    wanted: Sequence[str] | None,
) -> Iterator[Trial]:
    """Every preset of Perceval; those of one setting get the very counts that ours gets."""
    from .mitigation.perceval_presets import PRESETS, apply_preset, measure_preset, plan_preset

    for preset in PRESETS if wanted is None else [p for p in PRESETS if p in wanted]:
        counts: list[Counts] = []
        try:
            plan = plan_preset(preset, known.program, record, shots=shots)
            alone = len(plan.settings) == 1
            counts = [once] if alone else measure_preset(plan, device, tag=f"comparison/{preset}")
            found = apply_preset(plan, counts)
            yield _trial(known, preset, shots, counts, p=found.probabilities, why=found.skipped)
        except MitigationError as error:
            yield _trial(known, preset, shots, counts, p=None, why=str(error))


def _ours(
    counts: Counts,
    record: CalibrationRecord,
    known: KnownProgram,
    shots: int,
    settings: int,
    steps: Sequence[tuple[str, ...]],
    seed: int,
) -> Iterator[Trial]:
    """Post-selection, auto and the given steps on the same counts."""
    every: list[tuple[str, str | tuple[str, ...]]] = [(RAW, ("post-select",)), (OURS, "auto")]
    every += [(f"{OURS}: {', '.join(names)}", names) for names in steps]
    for method, names in every:
        try:
            found = mitigate(counts, record, program=known.program, steps=names, seed=seed)
        except MitigationError as error:
            yield _trial(known, method, shots, [counts], settings=settings, p=None, why=str(error))
            continue
        low, high = found.interval(LEVEL)
        inside = float(((low <= known.truth) & (known.truth <= high)).mean())
        why = ", ".join(step.name for step in found.history if step.used)
        p = found.probabilities
        yield _trial(known, method, shots, [counts], settings=settings, p=p, covered=inside, why=why)


def _trial(
    known: KnownProgram,
    method: str,
    shots: int,
    counts: Sequence[Counts],
    *,
    p: FloatArray | None,
    why: str,
    settings: int | None = None,
    covered: float | None = None,
) -> Trial:
    own = [c for c in counts if c.photons == known.program.photons]
    events = sum(int(c.collision_free().sum()) for c in own)
    return Trial(
        kind=known.kind,
        number=known.number,
        method=method,
        shots=shots,
        settings=len(counts) if settings is None else settings,
        events=events,
        tvd=None if p is None else total_variation(p, known.truth),
        floor=sampling_floor(known.truth, events),
        covered=covered,
        why=why,
    )


def sampling_floor(p: FloatArray, events: int) -> float:
    """Mean distance of so many perfect events, ``sum sqrt(2 p (1 - p) / (pi N)) / 2``; 1 without events.

    >>> round(sampling_floor(np.full(126, 1 / 126), 1000), 2)
    0.14
    """
    if events == 0:
        return 1.0
    return min(1.0, 0.5 * float(np.sqrt(2.0 * p * (1.0 - p) / (np.pi * events)).sum()))


@final
@dataclass(frozen=True)
class Request:
    """What a comparison measures.

    :param kinds: of programs.
    :param each: programs of every kind that has more than one.
    :param shots: of each estimate; one comparison for each number.
    :param presets: of Perceval; None for all.
    :param steps: of ours, besides ``auto``.
    :param input_modes: where photons enter; None for every input of the record.
    """

    kinds: tuple[Kind, ...]
    each: int
    shots: tuple[int, ...]
    seed: int
    presets: tuple[str, ...] | None = None
    steps: tuple[tuple[str, ...], ...] = ()
    input_modes: tuple[int, ...] | None = None


@final
@dataclass(frozen=True)
class Comparison:
    """The outcome of a comparison.

    :param calibration_settings: and shots, of the record.
    """

    device: str
    record_id: str
    calibration_settings: int
    calibration_shots: int
    request: Request
    trials: tuple[Trial, ...]


def compare_on(
    name: str,
    record_path: Path,
    request: Request,
    *,
    folder: Path,
    credits: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Compare on a device that a string names; what was interrupted goes on where it was.

    Its journal lies in ``folder`` until there is a result, so that nothing is paid twice.

    :param credits: most that may be spent, ``None`` for no limit.
    :param progress: told how many programs are done.
    :raises ConfigError: when the request names what there is not; like the next two, before anything is sent.
    :raises CalibrationError: when the record is not of the device, or too old.
    :raises DataError: when the folder cannot be made.
    :raises BudgetExceeded: before anything is sent that would cost more.
    """
    _check_request(request)
    record, device = load_record(record_path), open_device(name, seed=request.seed)
    inputs = record.input_modes if request.input_modes is None else tuple(sorted(request.input_modes))
    _check_record(device, record, inputs)
    programs = known_programs(
        request.kinds, modes=record.modes, input_modes=inputs, each=request.each, seed=request.seed
    )
    pending = folder / f".comparison-{_digest(name, record, request)}.sqlite"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make {folder} ({error.strerror or error}). Choose another place.") from error
    rates = rates_of(device.spec, credits_per_shot=None, seconds_per_setting=None)
    trials: list[Trial] = []
    finished = itertools.count(1)
    with Journal(pending) as journal:
        journalled = JournalledDevice(device, journal, Terms("compare", Budget(credits=credits), rates))
        for shots in request.shots:
            trials += compare(
                journalled,
                record,
                programs,
                shots=shots,
                seed=request.seed,
                steps=request.steps,
                presets=request.presets,
                done=lambda: progress(next(finished), len(programs) * len(request.shots)),
            )
    for leftover in folder.glob(f"*{pending.name}*"):
        leftover.unlink()
    shots_of_record = sum(job.shots for job in record.jobs)
    return Comparison(name, record.id, len(record.jobs), shots_of_record, request, tuple(trials))


def _check_request(request: Request) -> None:
    """Raise :class:`ConfigError` before anything is measured that would be thrown away."""
    from .mitigation.perceval_presets import PRESETS

    for steps in request.steps:
        checked_steps(steps)
    for preset in request.presets or ():
        if preset not in PRESETS:
            raise ConfigError(f"preset {preset!r} is unknown. Use of {', '.join(PRESETS)}.")
    if request.each < 1 or min(request.shots, default=0) < 1:
        raise ConfigError(
            f"{request.each} programs of a kind with {list(request.shots)} shots leave nothing to compare. "
            "Use 1 or more."
        )
    for what, values in (("kinds", request.kinds), ("shots", request.shots), ("steps", request.steps)):
        if len(set(values)) < len(values):
            raise ConfigError(f"{what} {list(values)} name something twice. Name each once.")


def _check_record(device: Device, record: CalibrationRecord, inputs: tuple[int, ...]) -> None:
    if not inputs or len(set(inputs)) < len(inputs) or not set(inputs) <= set(record.input_modes):
        raise ConfigError(
            f"inputs {list(inputs)} are not distinct ones of the record, {list(record.input_modes)}. Choose of these."
        )
    if isinstance(device, ReplayDevice):
        return  # its counts say what they are of
    spec = device.spec
    nothing = Counts(
        photons=len(inputs),
        outcomes=np.zeros((0, record.modes), dtype=np.uint8),
        numbers=np.zeros(0, dtype=np.int64),
        detector=spec.detector,
        device=spec.name,
    )
    check_match(nothing, record, None)
    check_age(record, math.inf if spec.simulated else None, datetime.now(UTC))  # simulators stay as they are


def _digest(name: str, record: CalibrationRecord, request: Request) -> str:
    return hashlib.sha256(repr((name, record.id, request)).encode()).hexdigest()[:16]


@final
@dataclass(frozen=True)
class Row:
    """A method over all programs of a group.

    :param tvd: mean, with its standard error over programs; over those it gave an estimate for.
    :param difference: mean of (method - raw) of the same programs, at as many settings, with its standard error.
    :param worse: programs where it is worse than raw.
    :param failed: programs without an estimate.
    """

    method: str
    settings: int
    programs: int
    events: float
    tvd: float | None
    tvd_error: float
    difference: float | None
    difference_error: float
    worse: int
    failed: int
    floor: float
    covered: float | None


def rows(trials: Sequence[Trial]) -> list[Row]:
    """One row for every method and number of settings, few settings first, of trials with equal shots."""
    groups = dict.fromkeys((t.method, t.settings) for t in trials)
    raw = {(t.kind, t.number, t.shots, t.settings): t for t in trials if t.method == RAW}
    out = []
    for method, settings in sorted(groups, key=lambda key: (key[1], key[0] != RAW)):
        own = [t for t in trials if (t.method, t.settings) == (method, settings)]
        found = [t for t in own if t.tvd is not None]
        pairs = [(t, raw.get((t.kind, t.number, t.shots, settings))) for t in found]
        gains = [t.tvd - r.tvd for t, r in pairs if t.tvd is not None and r is not None and r.tvd is not None]
        inside = [t.covered for t in found if t.covered is not None]
        mean, error = _mean([t.tvd for t in found if t.tvd is not None])
        gain, gain_error = _mean(gains)
        out.append(
            Row(
                method,
                settings,
                programs=len(own),
                events=float(np.mean([t.events for t in own])),
                tvd=mean,
                tvd_error=error,
                difference=gain,
                difference_error=gain_error,
                worse=sum(g > SAME for g in gains),
                failed=len(own) - len(found),
                floor=float(np.mean([t.floor for t in own])),
                covered=float(np.mean(inside)) if inside else None,
            )
        )
    return out


def _mean(values: Sequence[float]) -> tuple[float | None, float]:
    """Mean and its standard error."""
    if not values:
        return None, 0.0
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
