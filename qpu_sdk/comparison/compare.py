"""Mitigations side by side on one device, for programs whose ideal distribution is known.

Every estimate gets the same number of shots. In the first place each method runs as many settings as it wants: ours,
post-selection and recycling one, Perceval's presets more, over which their shots are divided. In the second place ours
and post-selection are given as many settings as a preset took, their shots divided over them, each compiled again:
where the device's phase errors differ from setting to setting, these average. So both comparisons are at equal shots,
and the second one is at equal settings too. What calibration cost is stated beside them and not divided by programs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ..arrays import FloatArray
from ..calibration.record import CalibrationRecord
from ..calibration.store import check_age, load_record
from ..devices.base import Device
from ..devices.budget import Budget
from ..devices.journalled import JournalledDevice
from ..devices.pending import pending_journal
from ..devices.registry import open_device
from ..devices.sending import Terms
from ..errors import BudgetExceeded, ConfigError, MitigationError
from ..mitigation.case import check_match
from ..mitigation.methods import AUTO, check_method
from ..mitigation.mitigate import mitigate
from ..mitigation.outcomes import LEVEL
from ..photonics.click_model import accurate_click_distribution
from ..photonics.counts import Counts, merge
from ..photonics.program import Program
from ..statistics import sampling_distance, total_variation
from .programs import KnownProgram, known_programs
from .trial import Comparison, ComparisonRequest, Trial

OURS, RAW = "ours", "raw"
#: Distances that differ by less are the same: it does not show in three digits.
SAME = 0.0005
#: Programs that are asked how many events they may have.
MOST_ASKED = 4


def compare(
    device: Device,
    record: CalibrationRecord,
    programs: Iterable[KnownProgram],
    *,
    shots: int,
    seed: int,
    methods: Iterable[str] = (),
    presets: Iterable[str] | None = None,
    done: Callable[[], None] = lambda: None,
) -> list[Trial]:
    """Measure every program and estimate it in every way.

    :param shots: of each estimate.
    :param methods: of ours to try besides what ``auto`` takes.
    :param presets: of Perceval; None for all.
    :param done: called after every program.
    :raises CalibrationMismatch: when the record is not of the device.
    """
    # Each is gone through for every program; an iterator would be used up by the first.
    methods, presets, trials = tuple(methods), None if presets is None else tuple(presets), list[Trial]()
    for known in programs:
        once = _spread(device, known.program, shots, 1)
        trials += _ours(once, record, known, shots, 1, methods, seed)
        theirs = list(_presets(device, record, known, shots, once, presets))
        for settings in sorted({trial.settings for trial in theirs} - {0, 1}):  # 0: refused before it measured
            counts = _spread(device, known.program, shots, settings)
            trials += _ours(counts, record, known, shots, settings, (), seed)
        trials += theirs
        done()
    return trials


def _spread(device: Device, program: Program, shots: int, settings: int) -> Counts:
    """Shots divided over several compilations of one program, in one job where the device allows."""
    from .presets import recompiled

    if settings > shots:
        raise ConfigError(f"{shots} shots cannot be divided over {settings} settings. Use more shots.")
    every = [recompiled(program, index) for index in range(settings)]
    limit, found = device.spec.max_programs or settings, []
    for part in (every[i : i + limit] for i in range(0, settings, limit)):
        found += device.submit(part, shots=shots // settings, tag="comparison").result()  # rounded down: never more
    return merge(found, program=program)


def _presets(
    device: Device,
    record: CalibrationRecord,
    known: KnownProgram,
    shots: int,
    once: Counts,
    wanted: Sequence[str] | None,
) -> Iterator[Trial]:
    """Every preset of Perceval; those of one setting get the very counts that ours gets."""
    from .presets import PRESETS, apply_preset, measure_preset, plan_preset

    for preset in PRESETS if wanted is None else [p for p in PRESETS if p in wanted]:
        counts: list[Counts] = []
        try:
            plan = plan_preset(preset, known.program, record.noise(), shots=shots, detector=record.detector)
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
    methods: Sequence[str],
    seed: int,
) -> Iterator[Trial]:
    """Post-selection, auto and the given methods on the same counts."""
    every = [(RAW, "post-select"), (OURS, AUTO), *((f"{OURS}: {method}", method) for method in methods)]
    for name, method in every:
        try:
            found = mitigate(counts, record, program=known.program, method=method, seed=seed)
        except MitigationError as error:
            yield _trial(known, name, shots, [counts], settings=settings, p=None, why=str(error))
            continue
        low, high = found.interval(LEVEL)
        inside = float(((low <= known.truth) & (known.truth <= high)).mean())
        p = found.probabilities
        yield _trial(known, name, shots, [counts], settings=settings, p=p, covered=inside, why=found.method)


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
        floor=sampling_distance(known.truth, events),
        covered=covered,
        why=why,
    )


def compare_on(
    name: str,
    record_path: Path,
    request: ComparisonRequest,
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
    _check_events(record, [known.program for known in programs], request.shots)
    trials: list[Trial] = []
    finished = itertools.count(1)
    with pending_journal(device, folder, "comparison", (name, record.id, request)) as journal:
        journalled = JournalledDevice(device, journal, Terms("compare", Budget(credits=credits), device.spec.rates))
        for shots in request.shots:
            trials += compare(
                journalled,
                record,
                programs,
                shots=shots,
                seed=request.seed,
                methods=request.methods,
                presets=request.presets,
                done=lambda: progress(next(finished), len(programs) * len(request.shots)),
            )
    shots_of_record = sum(job.shots for job in record.jobs)
    return Comparison(name, record.id, len(record.jobs), shots_of_record, request, tuple(trials))


def _check_request(request: ComparisonRequest) -> None:
    """Raise :class:`ConfigError` before anything is measured that would be thrown away."""
    from .presets import PRESETS

    for method in request.methods:
        check_method(method)
    for preset in request.presets or ():
        if preset not in PRESETS:
            raise ConfigError(f"preset {preset!r} is unknown. Use of {', '.join(PRESETS)}.")
    if request.each < 1 or min(request.shots, default=0) < 1:
        raise ConfigError(
            f"{request.each} programs of a kind with {list(request.shots)} shots leave nothing to compare. "
            "Use 1 or more."
        )
    for what, values in (("kinds", request.kinds), ("shots", request.shots), ("methods", request.methods)):
        if len(set(values)) < len(values):
            raise ConfigError(f"{what} {list(values)} name something twice. Name each once.")


def _check_events(record: CalibrationRecord, programs: Sequence[Program], shots: Sequence[int]) -> None:
    """Refuse, before anything is sent, to compare what no estimate can be made of.

    :raises BudgetExceeded: when fewer than one event of all photons is expected of the program with the most.
    """
    share = max(_event_share(record, program) for program in programs[:MOST_ASKED])
    if share * max(shots) >= 1.0:
        return
    photons, need = programs[0].photons, 10.0 / max(share, 1e-30)
    raise BudgetExceeded(
        f"{share * max(shots):.2g} events of {photons} photons are expected of {max(shots):,} shots by the record: "
        f"there would be nothing to compare. Use --shots {need:.0e}, or fewer photons: --inputs 0,1."
    )


def _event_share(record: CalibrationRecord, program: Program) -> float:
    """Share of the shots that have as many clicks as photons, all in different modes."""
    columns = program.mesh.columns(program.phases, program.input_modes)
    sets, p = accurate_click_distribution(columns, record.noise().at(program), most_clicks=program.photons)
    return float(p[sets.clicks == program.photons].sum() / max(1.0 - float(p[0]), 1e-300))


def _check_record(device: Device, record: CalibrationRecord, inputs: tuple[int, ...]) -> None:
    if not inputs or len(set(inputs)) < len(inputs) or not set(inputs) <= set(record.input_modes):
        raise ConfigError(
            f"inputs {list(inputs)} are not distinct ones of the record, {list(record.input_modes)}. Choose of these."
        )
    spec = device.spec
    # Counts of no shot, to find out whether record and device match before any is paid.
    nothing = Counts(
        photons=len(inputs),
        outcomes=np.zeros((0, record.modes), dtype=np.uint8),
        numbers=np.zeros(0, dtype=np.int64),
        detector=spec.detector,
        device=record.device if record.device in spec.record_names else spec.name,
    )
    check_match(nothing, record, None)
    check_age(record, None if spec.drifts else math.inf, datetime.now(UTC))  # a simulator does not age
