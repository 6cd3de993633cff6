"""One suite for every device: plain functions that raise :class:`AssertionError` when a device breaks its contract.

Each check takes a factory ``open_device(seed) -> Device`` and opens the devices it needs. :data:`CHECKS` hold for
any device that takes 5 modes and 3 photons, noisy or not. :data:`IDEAL_CHECKS` hold for a device whose only
imperfections are uniform loss and threshold detectors; a noisy device fails them by design. On hardware
:data:`CHECKS` cost 25 circuit settings of :data:`SHOTS` shots; a simulated device runs 28, and
:data:`IDEAL_CHECKS` three more.

>>> from qpu_sdk.devices.local import LocalDevice
>>> passed = run_all(lambda seed: LocalDevice(seed=seed), ideal=True)
>>> len(passed) == len(CHECKS) + len(IDEAL_CHECKS)
True
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from threading import Barrier

import numpy as np

from ..errors import ProgramError
from ..photonics.counts import Counts, is_detector
from ..photonics.meshes import IsometryMesh
from ..photonics.permanents import collision_free_tree, probabilities
from ..photonics.program import Program
from ..statistics import chi_square, chi_square_tail
from .base import Device, DeviceSpec, Job, JobStatus

OpenDevice = Callable[[int], Device]
Check = Callable[[OpenDevice], None]
#: Shots per program, unless the device allows only fewer.
SHOTS = 10_000
#: Seconds that one job may take.
TIMEOUT_S = 3600.0
#: Probability with which a statistical check rejects a device that is right, on either side.
P_VALUE = 1e-6
_THREADS = 4


def scrambling_program(modes: int, photons: int, *, seed: int) -> Program:
    """An isometry mesh at random phases: every outcome is possible.

    >>> scrambling_program(5, 3, seed=1).input_modes
    (0, 1, 2)
    """
    mesh = IsometryMesh(modes, photons)
    phases = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, mesh.declared)
    return Program(mesh, phases, mesh.default_input(photons))


def identity_program(modes: int, photons: int) -> Program:
    """An isometry mesh in the bar state: a Mach-Zehnder mixer at theta = pi is diag(-1, 1).

    >>> program = identity_program(3, 2)
    >>> abs(program.mesh.unitary(program.phases)).round(12).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    mesh = IsometryMesh(modes, photons)
    phases = np.zeros(mesh.declared)
    phases[[gate.theta for gate in mesh.gates]] = np.pi
    return Program(mesh, phases, mesh.default_input(photons))


def hong_ou_mandel_program() -> Program:
    """Two photons on one Mach-Zehnder mixer at theta = pi/2, a balanced beam splitter."""
    return Program(IsometryMesh(2, 2), np.array([np.pi / 2]), (0, 1))


def _shots(device: Device) -> int:
    limit = device.spec.max_shots
    return SHOTS if limit is None else min(SHOTS, limit)


def _run(device: Device, program: Program, *, tag: str = "") -> Counts:
    job = device.submit([program], shots=_shots(device), tag=tag)
    results = job.result(TIMEOUT_S)
    assert job.durable is device.spec.durable, f"job.durable is {job.durable}, spec.durable {device.spec.durable}"
    assert len(results) == 1, f"one program gave {len(results)} counts"
    _check_counts(results[0], program, device)
    return results[0]


def _check_counts(counts: Counts, program: Program, device: Device) -> None:
    for name, got, want in (
        ("fingerprint", counts.fingerprint, program.fingerprint),
        ("modes", counts.modes, program.modes),
        ("photons", counts.photons, program.photons),
        ("detector", counts.detector, device.spec.detector),
        ("shots", counts.shots, _shots(device)),
    ):
        assert got == want, f"counts.{name} is {got!r}; the submission says {want!r}"


def _content(counts: Counts) -> tuple[str, dict[tuple[int, ...], int], int]:
    """What was measured, without the labels of the job."""
    rows = zip(counts.outcomes.tolist(), counts.numbers.tolist(), strict=True)
    return counts.fingerprint, {tuple(row): number for row, number in rows if number}, counts.other


def _assert_refused(device: Device, programs: list[Program], shots: int, what: str) -> None:
    try:
        device.submit(programs, shots=shots)
    except ProgramError:
        return
    raise AssertionError(f"submit took {what}; it must raise ProgramError before anything is sent")


def check_spec_is_complete(open_device: OpenDevice) -> None:
    """The spec says who the device is, what it can do and what it charges, in values that make sense."""
    spec = open_device(1).spec
    assert isinstance(spec, DeviceSpec), f"device.spec is a {type(spec).__name__}; it must be a DeviceSpec"
    for name, right, must in _spec_rules(spec):
        assert right, f"spec.{name} is {getattr(spec, name)!r}; it must be {must}"


def _spec_rules(spec: DeviceSpec) -> Iterator[tuple[str, bool, str]]:
    """Field by field whether it is right, and what it must be."""
    for name in ("name", "platform"):
        yield name, isinstance(getattr(spec, name), str) and getattr(spec, name) != "", "a string that is not empty"
    for name, least in (("max_modes", 5), ("max_photons", 3)):
        yield name, getattr(spec, name) >= least, f"{least} at least, which this suite needs"
    for name in ("max_shots", "max_programs", "settings_per_job"):
        yield name, getattr(spec, name) is None or getattr(spec, name) >= 1, "None or at least 1"
    yield "detector", is_detector(spec.detector), "pnr, threshold or ppnr:W"
    for name in ("simulated", "seeded", "rehearsal", "durable", "drifts"):
        yield name, isinstance(getattr(spec, name), bool), "True or False"
    yield "rates", min(spec.rates.credits_per_shot, spec.rates.seconds_per_setting) >= 0.0, "0 or more"
    known = spec.max_modes if spec.noise is None or spec.noise.modes is None else spec.noise.modes
    yield "noise", known >= spec.max_modes, "of all modes"
    yield "record_file", not spec.record_file or spec.noise is not None, "empty for a device that knows no noise"
    names = spec.record_names
    yield "record_names", bool(names) and all(isinstance(n, str) and n for n in names), "names, one at least"
    try:
        yield "published", bool(json.dumps(dict(spec.published))), "what JSON has, by name"
    except (TypeError, ValueError):
        yield "published", False, "what JSON has, by name"


def check_spec_is_frozen(open_device: OpenDevice) -> None:
    """No field of the spec can be assigned."""
    spec = open_device(1).spec
    assert is_dataclass(spec), "device.spec is not a dataclass"
    for field in fields(spec):
        try:
            setattr(spec, field.name, getattr(spec, field.name))
        except AttributeError:
            continue
        raise AssertionError(f"spec.{field.name} can be assigned; limits must not change under a caller")


def check_oversized_programs_are_refused(open_device: OpenDevice) -> None:
    """Too many modes, photons, shots or programs raise ProgramError in submit, and the device goes on working."""
    device = open_device(1)
    spec, program, shots = device.spec, scrambling_program(4, 2, seed=1), _shots(device)
    _assert_refused(device, [scrambling_program(spec.max_modes + 1, 1, seed=1)], shots, "spec.max_modes + 1 modes")
    if spec.max_photons < spec.max_modes:
        crowded = identity_program(spec.max_photons + 1, spec.max_photons + 1)
        _assert_refused(device, [crowded], shots, "spec.max_photons + 1 photons")
    if spec.max_shots is not None:
        _assert_refused(device, [program], spec.max_shots + 1, "spec.max_shots + 1 shots")
    if spec.max_programs is not None:
        _assert_refused(device, [program] * (spec.max_programs + 1), shots, "spec.max_programs + 1 programs")
    _run(device, program)


def check_empty_submissions_are_refused(open_device: OpenDevice) -> None:
    """No program, no shots and a negative number of shots raise ProgramError in submit."""
    device, program = open_device(1), scrambling_program(4, 2, seed=1)
    _assert_refused(device, [], _shots(device), "an empty list of programs")
    _assert_refused(device, [program], 0, "zero shots")
    _assert_refused(device, [program], -1, "a negative number of shots")


def check_counts_describe_the_program(open_device: OpenDevice) -> None:
    """Counts carry fingerprint, modes, photons, detector and as many shots as were asked for."""
    _run(open_device(1), scrambling_program(5, 3, seed=1))


def check_counts_are_possible(open_device: OpenDevice) -> None:
    """A shot has at least one click, and no outcome is listed twice."""
    counts = _run(open_device(1), scrambling_program(4, 2, seed=1))
    clicks = counts.outcomes[counts.numbers > 0].sum(axis=1)
    assert (clicks >= 1).all(), "an outcome without clicks was counted; a shot has at least one click"
    assert len(np.unique(counts.outcomes, axis=0)) == len(counts.outcomes), "an outcome is listed twice"


def check_result_keeps_the_order(open_device: OpenDevice) -> None:
    """Programs of different sizes in one submission come back one by one, in order."""
    device = open_device(1)
    sizes = ((4, 2), (5, 3), (4, 2), (5, 3), (5, 2))
    limit = device.spec.max_programs
    programs = [scrambling_program(m, n, seed=i) for i, (m, n) in enumerate(sizes)][:limit]  # None takes all
    results = device.submit(programs, shots=_shots(device)).result(TIMEOUT_S)
    assert len(results) == len(programs), f"{len(programs)} programs gave {len(results)} counts"
    for counts, program in zip(results, programs, strict=True):
        _check_counts(counts, program, device)


def check_repeated_program_is_measured_twice(open_device: OpenDevice) -> None:
    """A program that is submitted twice in one job gets two independent measurements."""
    device, program = open_device(1), scrambling_program(5, 3, seed=1)
    if device.spec.max_programs is not None and device.spec.max_programs < 2:
        return
    results = device.submit([program, program], shots=_shots(device)).result(TIMEOUT_S)
    assert len(results) == 2, f"2 programs gave {len(results)} counts"
    assert _content(results[0]) != _content(results[1]), "a program submitted twice in one job gave the same counts"


def check_result_can_be_asked_twice(open_device: OpenDevice) -> None:
    """The second result() equals the first."""
    device, program = open_device(1), scrambling_program(4, 2, seed=1)
    job = device.submit([program], shots=_shots(device))
    first = [c.to_json() for c in job.result(TIMEOUT_S)]
    assert [c.to_json() for c in job.result(TIMEOUT_S)] == first, "result() gave other counts when asked again"


def check_job_ids_are_distinct(open_device: OpenDevice) -> None:
    """Every job has an id of its own."""
    device, program = open_device(1), scrambling_program(4, 2, seed=1)
    jobs = [device.submit([program], shots=_shots(device)) for _ in range(3)]
    for job in jobs:
        job.result(TIMEOUT_S)
    ids = [job.id for job in jobs]
    assert all(isinstance(i, str) and i for i in ids), f"a job has no id: {ids}"
    assert len(set(ids)) == len(ids), f"two jobs share an id: {ids}"


def check_finished_jobs_stay_finished(open_device: OpenDevice) -> None:
    """After result() the status is DONE, and cancel() changes neither status nor result."""
    device, program = open_device(1), scrambling_program(4, 2, seed=1)
    job = device.submit([program], shots=_shots(device))
    assert isinstance(job.status(), JobStatus), f"status() gave {job.status()!r}; it must be a JobStatus"
    before = [c.to_json() for c in job.result(TIMEOUT_S)]
    assert job.status() is JobStatus.DONE, f"status is {job.status()} after result()"
    job.cancel()
    assert job.status() is JobStatus.DONE, f"cancel() turned a finished job into {job.status()}"
    assert [c.to_json() for c in job.result(TIMEOUT_S)] == before, "cancel() changed the result of a finished job"


def check_submissions_draw_afresh(open_device: OpenDevice) -> None:
    """Two submissions of one program under one tag are two measurements."""
    device, program = open_device(1), scrambling_program(5, 3, seed=1)
    first, second = (_run(device, program, tag="again") for _ in range(2))
    assert _content(first) != _content(second), "two submissions of one program gave the same counts"


def check_threads_may_submit_at_once(open_device: OpenDevice) -> None:
    """Submissions from several threads at once all come back right, and none is a copy of another."""
    device, barrier = open_device(1), Barrier(_THREADS)
    programs = [scrambling_program(5, 3, seed=1), scrambling_program(4, 2, seed=1)]

    def work(thread: int) -> list[Counts]:
        barrier.wait()  # all at once, or the threads would take turns
        tag = "shared" if thread % 2 else f"own-{thread}"  # one tag from two threads must draw afresh too
        jobs: list[tuple[Program, Job]] = [(p, device.submit([p], shots=_shots(device), tag=tag)) for p in programs]
        results = [(p, job.result(TIMEOUT_S)) for p, job in jobs]
        for program, counts in results:
            assert len(counts) == 1, f"one program gave {len(counts)} counts in thread {thread}"
            _check_counts(counts[0], program, device)
        return [counts[0] for _, counts in results]

    with ThreadPoolExecutor(_THREADS) as pool:
        contents = [_content(c) for counts in pool.map(work, range(_THREADS)) for c in counts]
    for i, one in enumerate(contents):
        assert one not in contents[:i], "two submissions from different threads gave the same counts"


def check_seed_decides_the_counts(open_device: OpenDevice) -> None:
    """Same seed and tag give the same counts, another seed others; only for devices that say they are seeded."""
    if not open_device(1).spec.seeded:
        return
    program = scrambling_program(5, 3, seed=1)
    one, same, other = (_content(_run(open_device(seed), program, tag="seeded")) for seed in (1, 1, 2))
    assert one == same, "the same seed and tag gave other counts"
    assert one != other, "another seed gave the same counts"


def check_hong_ou_mandel(open_device: OpenDevice) -> None:
    """Two photons never leave a balanced beam splitter apart (Hong, Ou and Mandel, PRL 59, 2044 (1987))."""
    counts = _run(open_device(1), hong_ou_mandel_program())
    coincidences = int(counts.collision_free().sum())
    assert coincidences == 0, f"{coincidences} coincidences behind a balanced beam splitter; an ideal device has none"


def check_identity_returns_the_photons(open_device: OpenDevice) -> None:
    """With every Mach-Zehnder interferometer in the bar state photons leave where they entered."""
    program = identity_program(5, 3)
    counts = _run(open_device(1), program)
    vacuum = [mode for mode in range(program.modes) if mode not in program.input_modes]
    stray = int(counts.numbers[counts.outcomes[:, vacuum].any(axis=1)].sum())
    assert stray == 0, f"{stray} shots clicked in modes that no photon can reach"
    assert counts.collision_free()[0] > 0, "no shot shows all photons where they went in"


def check_distribution_is_exact(open_device: OpenDevice) -> None:
    """Post-selected counts follow the exact distribution: chi-square, neither too large nor too small.

    A sum far too small means that the counts were not drawn but computed.
    """
    program = scrambling_program(5, 3, seed=2)
    observed = _run(open_device(1), program).collision_free().astype(np.float64)
    exact = probabilities(program.mesh.columns(program.phases, program.input_modes), collision_free_tree(5, 3))
    statistic, degrees = chi_square(observed, observed.sum() * exact / exact.sum())
    assert degrees >= 5, f"{int(observed.sum())} collision-free events are too few for a chi-square sum"
    tail = chi_square_tail(statistic, degrees)
    assert tail > P_VALUE, f"chi-square {statistic:.1f} on {degrees} degrees of freedom: not the exact distribution"
    assert 1.0 - tail > P_VALUE, f"chi-square {statistic:.1e} on {degrees} degrees of freedom: no shot noise"


#: Checks for every device.
CHECKS: tuple[Check, ...] = (
    check_spec_is_complete,
    check_spec_is_frozen,
    check_oversized_programs_are_refused,
    check_empty_submissions_are_refused,
    check_counts_describe_the_program,
    check_counts_are_possible,
    check_result_keeps_the_order,
    check_repeated_program_is_measured_twice,
    check_result_can_be_asked_twice,
    check_job_ids_are_distinct,
    check_finished_jobs_stay_finished,
    check_submissions_draw_afresh,
    check_threads_may_submit_at_once,
    check_seed_decides_the_counts,
)

#: Checks for devices whose only imperfections are uniform loss and threshold detectors.
IDEAL_CHECKS: tuple[Check, ...] = (
    check_hong_ou_mandel,
    check_identity_returns_the_photons,
    check_distribution_is_exact,
)


def run_all(open_device: OpenDevice, *, ideal: bool = False) -> list[str]:
    """Run :data:`CHECKS`, with ``ideal`` also :data:`IDEAL_CHECKS`, and name those that passed.

    :param open_device: opens the device under test, given a seed; called several times.
    :raises AssertionError: at the first check that fails.
    """
    passed = []
    for check in CHECKS + (IDEAL_CHECKS if ideal else ()):
        check(open_device)
        passed.append(getattr(check, "__name__", repr(check)))
    return passed
