"""Every public door with numbers of every type: equal numbers do the same, and all else is refused in one line.

A door is one line of a table: its name, a call that takes the number and gives something that compares, and one or two
numbers that it takes. :func:`test_every_public_name_has_its_doors` keeps the tables whole.
"""

from __future__ import annotations

import math
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from dataclasses import astuple
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import qpu_sdk as qs
from qpu_sdk.calibration.known import known_record
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.devices.budget import Budget
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.waiting import wait_all
from qpu_sdk.emulator.settings import CloudSettings
from qpu_sdk.errors import QPUError
from qpu_sdk.generator.mps import identifiable_parameters
from qpu_sdk.photonics.counts import merge
from qpu_sdk.photonics.fock import check_modes_photons
from qpu_sdk.photonics.meshes import open_mesh
from qpu_sdk.runs.sweep import limits_of, worker_count
from qpu_sdk.seeds import child_seed

Call = Callable[[Any], Any]

MESH = qs.IsometryMesh(4, 2)
RECTANGULAR = qs.RectangularMesh(3)
PROGRAM = qs.Program.random(MESH, seed=1)
COUNTS = qs.open_device("local:slos", seed=1).run(PROGRAM, shots=200)
NOISY = qs.open_device("local:slos?transmittance=0.4", seed=1)
RECORD = known_record(qs.Noise(transmittance=0.5), Identity("local:slos", "slos", 4, (0, 1), "pnr"))
JOB = NOISY.submit([PROGRAM], shots=10)
EVEN = qs.Distribution(probabilities=np.array([0.25, 0.75]), samples=100, shots=400)


def calibrated(**values: Any) -> str:
    given: dict[str, Any] = {"modes": 3, "inputs": (0, 1), "shots": 20_000, "seed": 1} | values
    found = qs.calibrate(qs.open_device("local:slos?transmittance=0.4", seed=1), **given)
    return f"{found.modes} {found.input_modes} {found.validity_h!r} {found.parameters} {found.covariance}"


def spsa(**values: Any) -> Any:
    made = qs.SPSA(**values)
    return repr(made), made.ask(made.init([0.0, 1.0], seed=1))[0].tolist()


def sampled(**values: Any) -> Any:
    layer = qs.PhotonicLayer(MESH, **{"shots": 20, "gradient": "spsa", "seed": 1} | values)
    layer()[0].backward()
    assert layer.phases.grad is not None
    return layer.phases.grad.tolist()


def config(table: str, key: str) -> Call:
    return lambda n: (found := qs.RunConfig(**{table: {key: n}})).fingerprint + found.to_toml()  # type: ignore[arg-type]


def qnn(key: str) -> Call:
    return lambda n: qs.RunConfig(qnn=[{"modes": 6, "photons": 2} | {key: n}] * 2).to_toml()


def scaled(scale: Any) -> qs.Dataset:
    x, y = np.arange(8).reshape(2, 2, 2), [0, 1]
    return qs.Dataset.of(x, y, x, y, scale=scale)


def refitted(**values: Any) -> str:
    """A record from two settings."""
    programs = [qs.Program.random(qs.RectangularMesh(3), (0, 1), seed=seed) for seed in range(2)]
    device = qs.open_device("local:slos?transmittance=0.4", seed=1)
    return str(qs.calibrate_from(device.submit(programs, shots=2000).result(), device=device, **values).validity_h)


def loaded(text: str, **beside: Any) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "counts.csv"
        path.write_text(text, encoding="utf-8")
        return qs.load_counts(path, **beside)[0].to_json()


def tapered(*args: Any, **options: Any) -> Any:
    return [p.tolist() for p in qs.TaperedMPSGenerator(*args, **options).parameters()]


def told(losses: Any) -> Any:
    one = qs.SPSA(a=0.1, resamplings=2)
    return one.tell(one.init(np.zeros(2), seed=1), losses, np.ones(2)).x.tolist()


#: Doors for one whole number: a call, and numbers that it takes.
WHOLE: dict[str, tuple[Call, tuple[int, ...]]] = {
    "IsometryMesh.modes": (lambda n: qs.IsometryMesh(n, 2).fingerprint, (4, 7)),
    "IsometryMesh.photons": (lambda n: qs.IsometryMesh(8, n).fingerprint, (1, 7)),
    "IsometryMesh.default_input": (lambda n: qs.IsometryMesh(8, 2).default_input(n), (1, 7)),
    "IsometryMesh.columns": (lambda n: qs.IsometryMesh(4, 1).columns(np.zeros(3), (n,)).tolist(), (0, 3)),
    "RectangularMesh.modes": (lambda n: repr(qs.RectangularMesh(n)) + qs.RectangularMesh(n).fingerprint, (2, 9)),
    "RectangularMesh.default_input": (lambda n: qs.RectangularMesh(5).default_input(n), (1, 5)),
    "BrickwallMesh.modes": (lambda n: qs.BrickwallMesh(n).fingerprint, (2, 9)),
    "BrickwallMesh.default_input": (lambda n: qs.BrickwallMesh(5).default_input(n), (1, 5)),
    "open_mesh.modes": (lambda n: open_mesh("brickwall", modes=n, photons=2).fingerprint, (3, 9)),
    "open_mesh.photons": (lambda n: open_mesh("isometry", modes=5, photons=n).fingerprint, (1, 5)),
    "Program.photons": (lambda n: qs.Program(qs.BrickwallMesh(4), np.zeros(18), photons=n).to_json(), (1, 4)),
    "Program.inputs": (lambda n: qs.Program(qs.BrickwallMesh(5), np.zeros(30), (n, 4)).fingerprint, (0, 3)),
    "Program.random.seed": (lambda n: qs.Program.random(MESH, seed=n).fingerprint, (0, 100)),
    "Program.random.photons": (lambda n: qs.Program.random(qs.BrickwallMesh(4), photons=n, seed=1).to_json(), (1, 4)),
    "Counts.photons": (lambda n: qs.Counts(photons=n, outcomes=[[1, 0]], numbers=[3]).to_json(), (1, 2)),
    "Counts.other": (lambda n: qs.Counts(photons=1, outcomes=[[1, 0]], numbers=[3], other=n).to_json(), (0, 9)),
    "Counts.numbers": (lambda n: qs.Counts(photons=1, outcomes=[[1, 0]], numbers=[n]).to_json(), (0, 9)),
    "Counts.outcomes": (lambda n: qs.Counts(photons=1, outcomes=[[n, 0]], numbers=[1]).to_json(), (0, 9)),
    "Metered.settings": (lambda n: repr(qs.Metered(qs.open_device("local:slos", seed=1), settings=n).budget), (0, 9)),
    "Metered.shots": (lambda n: repr(qs.Metered(qs.open_device("local:slos", seed=1), shots=n).budget), (0, 9)),
    "load_counts.photons": (lambda n: loaded("|1,0,0>,3", photons=n), (1, 3)),
    "load_counts.total": (lambda n: loaded("|1,0,0>,0.5\n|0,1,0>,0.5", photons=1, total=n), (2, 400)),
    "Noise.at.modes": (lambda n: repr(qs.Noise(g2=0.1).at((0, 1), modes=n)), (2, 9)),
    "Noise.at.inputs": (lambda n: repr(qs.Noise(transmittance=[0.1, 0.2, 0.3]).at((n, 2), modes=3)), (0, 1)),
    "Device.run.shots": (lambda n: qs.open_device("local:slos", seed=1).run(PROGRAM, shots=n).to_json(), (1, 100)),
    "Device.submit.shots": (lambda n: LocalDevice(seed=1).submit([PROGRAM], shots=n).result()[0].to_json(), (1, 100)),
    "DeviceSpec.max_modes": (lambda n: repr(qs.DeviceSpec("lab", n, 2)), (1, 9)),
    "DeviceSpec.max_photons": (lambda n: repr(qs.DeviceSpec("lab", 9, n)), (1, 9)),
    "DeviceSpec.max_shots": (lambda n: repr(qs.DeviceSpec("lab", 9, 2, max_shots=n)), (1, 9)),
    "DeviceSpec.check.shots": (lambda n: qs.DeviceSpec("lab", 9, 2).check([PROGRAM], shots=n)[1], (1, 9)),
    "sweep.workers": (worker_count, (1, 9)),
    "open_device.seed": (lambda n: qs.open_device("local:slos", seed=n).run(PROGRAM, shots=50).to_json(), (0, 100)),
    "LocalDevice.seed": (lambda n: LocalDevice(seed=n).run(PROGRAM, shots=50).to_json(), (0, 100)),
    "child_seed": (child_seed, (0, 100)),
    "child_seed.label": (lambda n: child_seed(1, n) if not isinstance(n, str) else child_seed(n), (0, 100)),
    "calibrate.modes": (lambda n: calibrated(modes=n), (3,)),
    "calibrate.inputs": (lambda n: calibrated(inputs=(0, n)), (2,)),
    "calibrate.shots": (lambda n: calibrated(shots=n), (20_000,)),
    "calibrate.seed": (lambda n: calibrated(seed=n), (5,)),
    "twin.seed": (lambda n: qs.twin(RECORD, seed=n).run(PROGRAM, shots=50).to_json(), (0, 100)),
    "mitigate.seed": (lambda n: qs.mitigate(COUNTS, RECORD, seed=n).probabilities.tolist(), (0, 100)),
    "CalibratedMitigation.seed": (lambda n: repr(qs.CalibratedMitigation(RECORD, seed=n).seed), (0, 100)),
    "Distribution.samples": (lambda n: str(qs.Distribution(probabilities=[0.5, 0.5], samples=n, shots=200)), (1, 100)),
    "Distribution.shots": (lambda n: str(qs.Distribution(probabilities=[0.5, 0.5], samples=9, shots=n)), (9, 100)),
    "MPSGenerator.target_size": (lambda n: repr(qs.MPSGenerator(n, 2, seed=1).cores.tolist()), (5, 100)),
    "MPSGenerator.bond_dim": (lambda n: qs.MPSGenerator(20, n, seed=1).cores.tolist(), (1, 3)),
    "MPSGenerator.seed": (lambda n: qs.MPSGenerator(20, 2, seed=n).cores.tolist(), (0, 100)),
    "LeanMPSGenerator.target_size": (lambda n: qs.LeanMPSGenerator(n, 2, seed=1).cores.tolist(), (5, 100)),
    "LeanMPSGenerator.bond_dim": (lambda n: qs.LeanMPSGenerator(20, n, seed=1).cores.tolist(), (1, 3)),
    "LeanMPSGenerator.seed": (lambda n: qs.LeanMPSGenerator(20, 2, seed=n).cores.tolist(), (0, 100)),
    "TaperedMPSGenerator.target_size": (lambda n: tapered(n, 2, seed=1), (20, 100)),
    "TaperedMPSGenerator.bond_dim": (lambda n: tapered(200, n, seed=1), (2, 3)),
    "TaperedMPSGenerator.seed": (lambda n: tapered(200, 2, seed=n), (0, 100)),
    "identifiable_parameters.seed": (
        lambda n: identifiable_parameters(qs.LeanMPSGenerator(5, 1, seed=1), seed=n),
        (0, 100),
    ),
    "PhotonicLayer.seed": (lambda n: qs.PhotonicLayer(MESH, seed=n)().tolist(), (0, 100)),
    "PhotonicLayer.photons": (lambda n: qs.PhotonicLayer(RECTANGULAR, photons=n, seed=1)().tolist(), (1, 3)),
    "PhotonicLayer.shots": (lambda n: sampled(shots=n), (50, 100)),
    "PhotonicLayer.pairs": (lambda n: sampled(pairs=n), (1, 3)),
    "SPSA.resamplings": (lambda n: spsa(a=0.1, resamplings=n), (1, 3)),
    "SPSA.calibration_pairs": (lambda n: spsa(calibration_pairs=n), (1, 3)),
    "SPSA.init.seed": (lambda n: qs.SPSA().ask(qs.SPSA().init([0.0], seed=n))[0].tolist(), (0, 100)),
    "RunConfig.seed": (lambda n: qs.RunConfig(seed=n).to_toml(), (0, 100)),
    "RunConfig.train_size": (config("data", "train_size"), (1, 100)),
    "RunConfig.bond_dim": (config("generator", "bond_dim"), (1, 100)),
    "RunConfig.epochs": (config("training", "final_epochs"), (1, 100)),
    "RunConfig.batch_size": (config("training", "batch_size"), (1, 100)),
    "RunConfig.shots": (config("training", "shots"), (1, 100)),
    "RunConfig.threads": (config("training", "threads"), (1, 100)),
    "RunConfig.steps": (config("spsa", "steps"), (0, 100)),
    "RunConfig.settings": (config("budget", "settings"), (1, 100)),
    "RunConfig.modes": (qnn("modes"), (5, 9)),
    "RunConfig.photons": (qnn("photons"), (1, 3)),
    "RunConfig.inputs": (lambda n: qnn("input_modes")((n, 5)), (0, 4)),
    "Budget.shots": (lambda n: repr(Budget(shots=n)), (0, 100)),
    "EmulatedCloud.seed": (lambda n: repr(CloudSettings(seed=n)), (0, 100)),
    "EmulatedCloud.max_shots": (lambda n: repr(CloudSettings(seed=1, max_shots=n)), (1, 100)),
    "EmulatedCloud.port": (lambda n: repr(qs.EmulatedCloud(seed=1, port=n)._port), (0, 100)),
    "CalibrationStore.latest.modes": (lambda n: latest(modes=n), (1, 4)),
}


def latest(**values: Any) -> str:
    return STORE.latest("local:slos", **values).id


#: Doors for one real number: a call, and numbers that it takes, which a float16 holds.
REAL: dict[str, tuple[Call, tuple[float, ...]]] = {
    **{
        f"Noise.{name}": (lambda x, name=name: repr(qs.Noise(**{name: x})), (0.0, 0.5, 1.0))
        for name in ("brightness", "indistinguishability", "g2", "transmittance", "efficiency", "dark_counts")
        if name != "g2"
    },
    "Noise.g2": (lambda x: repr(qs.Noise(g2=x)), (0.0, 0.25)),
    "Noise.phase_error": (lambda x: repr(qs.Noise(phase_error=x)), (0.0, 1.5)),
    "Noise.phase_imprecision": (lambda x: repr(qs.Noise(phase_imprecision=x)), (0.0, 1.5)),
    "Noise.by_mode": (lambda x: repr(qs.Noise(transmittance=[x, 0.5])), (0.25, 1.0)),
    "Program.phases": (lambda x: qs.Program(MESH, [x] * MESH.declared).fingerprint, (0.0, -1.5, 3.0)),
    "RectangularMesh.unitary": (lambda x: RECTANGULAR.unitary([x] * 9).tolist(), (0.0, -1.5, 3.0)),
    "BrickwallMesh.unitary": (lambda x: qs.BrickwallMesh(2).unitary([x] * 3).tolist(), (0.0, -1.5, 3.0)),
    "IsometryMesh.unitary": (lambda x: MESH.unitary([x] * MESH.declared).tolist(), (0.0, -1.5, 3.0)),
    "total_variation": (lambda x: qs.total_variation([x, 0.5], [0.5, 0.5]), (0.25, 1.0)),
    "Distribution.probabilities": (
        lambda x: str(qs.Distribution(probabilities=[x, 0.5], samples=9, shots=9)),
        (0.5,),
    ),
    "Distribution.interval": (lambda x: EVEN.interval(x)[0].tolist(), (0.5, 0.875)),
    "sweep.budget": (lambda x: limits_of({"shots": x}), (0.0, 2.5)),
    "Job.result.timeout_s": (lambda x: JOB.result(x)[0].to_json(), (10.0, 1024.0)),
    "Job.wait_all": (lambda x: wait_all([JOB], timeout_s=x), (0.0, 1024.0)),
    "calibrate_from.validity_h": (lambda x: refitted(validity_h=x), (1.5,)),
    "calibrate.validity_h": (lambda x: calibrated(validity_h=x), (1.5,)),
    "calibrate.credits": (lambda x: calibrated(credits=x), (1.5,)),
    "CalibrationStore.latest.max_age_h": (lambda x: latest(max_age_h=x), (2.0**20,)),
    "MPSGenerator.init_std": (lambda x: qs.MPSGenerator(20, 2, seed=1, init_std=x).cores.tolist(), (0.0, 0.5)),
    "LeanMPSGenerator.init_std": (lambda x: qs.LeanMPSGenerator(20, 2, seed=1, init_std=x).cores.tolist(), (0.0, 0.5)),
    "TaperedMPSGenerator.init_std": (lambda x: tapered(200, 2, seed=1, init_std=x), (0.0, 0.5)),
    **{f"SPSA.{name}": (lambda x, name=name: spsa(**{name: x}), (0.5, 2.0)) for name in ("a", "c", "A", "alpha")},
    **{f"SPSA.{name}": (lambda x, name=name: spsa(**{name: x}), (0.5, 2.0)) for name in ("gamma", "max_step")},
    "PhotonicLayer.step": (lambda x: sampled(step=x), (0.5, 2.0)),
    "SPSA.first_step": (lambda x: spsa(first_step=x), (0.5, 2.0)),
    "SPSA.tell": (lambda x: told([x, 1.0]), (0.5, -2.0)),
    "SPSA.init.x0": (lambda x: qs.SPSA().init([x, 1.0], seed=1).x.tolist(), (0.5, -2.0)),
    "Dataset.scale": (lambda x: scaled(x).fingerprint, (8.0, 16.0)),
    "RunConfig.scale": (config("data", "scale"), (0.5, 16.0)),
    "RunConfig.init_std": (config("generator", "init_std"), (0.0, 0.5)),
    "RunConfig.lr": (config("training", "lr"), (0.5, 2.0)),
    "RunConfig.beta2": (config("training", "beta2"), (0.5,)),
    "RunConfig.c": (config("spsa", "c"), (0.5, 2.0)),
    "RunConfig.max_age_h": (config("mitigation", "max_age_h"), (0.5, 2.0)),
    "RunConfig.credits": (config("budget", "credits"), (0.0, 2.5)),
    "Budget.credits": (lambda x: repr(Budget(credits=x)), (0.0, 2.5)),
    "EmulatedCloud.time_scale": (lambda x: repr(CloudSettings(seed=1, time_scale=x)), (0.5, 2.0)),
}

#: Doors where infinity means something.
ENDLESS = {"CalibrationStore.latest.max_age_h"}
#: Public names without a number at their door, and why.
REASONS = {
    "QPUError": "is raised, not made",
    "load_record": "takes a path",
    "load_programs": "takes a path; its numbers are those of Program",
    "CalibrationRecord": "is made by calibrate and read from files",
    "post_select": "takes counts alone",
    "load_config": "takes a path and texts; its numbers are those of RunConfig",
    "plan": "takes a configuration",
    "train": "takes a configuration and images",
    "resume": "takes a path",
    "report": "takes paths",
    "load_model": "takes a path",
}

INTEGERS = (*(np.dtype(f"{sign}int{bits}").type for bits in (8, 16, 32, 64) for sign in ("", "u")),)
TENSORS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
NOT_WHOLE: list[Any] = [1.5, 2.0, np.float64(2.0), np.float32(1.5), np.array(2.0), torch.tensor(2.0), 2j, True, False]
NOT_WHOLE += [np.True_, np.array(True), torch.tensor(True), "2", b"2", [2], np.array([2]), torch.tensor([2]), np.nan]
NOT_WHOLE += [Fraction(2), Decimal(2), object(), {}, np.str_("2"), np.datetime64(2, "s"), np.array(None), ()]
NOT_REAL: list[Any] = [True, np.True_, np.array(True), torch.tensor(True), "0.5", b"1", 0.5j, complex(0.5), [[0.5]]]
NOT_REAL += [np.complex64(0.5), np.array(0.5 + 0j), torch.tensor(0.5 + 0j), np.nan, np.inf, -np.inf, object(), {}]
NOT_REAL += [np.array(None), np.array("0.5"), np.longdouble("1e4000"), Decimal("nan"), Decimal("1e400"), 10**400]
HUGE = (2**31, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**20, 10**100, 10**5000)

STORE: qs.CalibrationStore


@pytest.fixture(autouse=True, scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> None:
    global STORE
    STORE = qs.CalibrationStore(tmp_path_factory.mktemp("records"))
    STORE.save(RECORD)


def integers(n: int) -> Iterator[Any]:
    """The number in every type that holds it."""
    for kind in INTEGERS:
        if np.iinfo(kind).min <= n <= np.iinfo(kind).max:
            yield from (kind(n), np.array(n, dtype=kind))
    for dtype in TENSORS:
        if torch.iinfo(dtype).min <= n <= torch.iinfo(dtype).max:
            yield torch.tensor(n, dtype=dtype)


def numbers(x: float) -> Iterator[Any]:
    """The number in every type that holds it."""
    for kind in (np.float16, np.float32, np.float64, np.longdouble):
        if kind is not np.float16 or abs(x) < 65504.0:
            yield from (kind(x), np.array(x, dtype=kind))
    yield from (Fraction(x), Decimal(x))
    yield from (torch.tensor(x, dtype=torch.float32), torch.tensor(x, dtype=torch.float64))
    if x == int(x):
        yield from (int(x), *integers(int(x)))


def refused(call: Call, value: Any) -> str:
    with pytest.raises(QPUError) as caught:
        call(value)
    return one_line(str(caught.value))


def one_line(message: str) -> str:
    assert message
    assert message.isprintable()
    assert len(message) < 500
    return message


@pytest.mark.parametrize("name", WHOLE)
def test_equal_whole_numbers_do_the_same(name: str) -> None:
    call, good = WHOLE[name]
    for n in good:
        expected = call(n)
        assert all(call(same) == expected for same in integers(n))


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_no_whole_number_is_refused(name: str) -> None:
    for value in NOT_WHOLE:
        if not (name.startswith("RunConfig.") and isinstance(value, float) and value == 2.0):
            refused(WHOLE[name][0], value)


@pytest.mark.parametrize("name", REAL)
def test_equal_real_numbers_do_the_same(name: str) -> None:
    call, good = REAL[name]
    for x in good:
        expected = call(x)
        assert all(call(same) == expected for same in numbers(x))


@pytest.mark.parametrize("name", REAL)
def test_what_is_no_real_number_is_refused(name: str) -> None:
    for value in NOT_REAL:
        if not (name in ENDLESS and value is np.inf):
            refused(REAL[name][0], value)


def answered(call: Call, value: Any) -> None:
    """A value or a refusal in one line, and neither a warning nor another error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            call(value)
        except QPUError as error:
            one_line(str(error))


#: Doors whose large numbers are right and take long, or much memory.
SLOW = (
    "calibrate",
    "MPSGenerator.target",
    "LeanMPSGenerator.target",
    "MPSGenerator.bond",
    "LeanMPSGenerator.bond",
    "TaperedMPSGenerator.bond",
    "TaperedMPSGenerator.target",
)
SLOW += (
    "SPSA.resamplings",
    "SPSA.calibration_pairs",
    "Mesh.modes",
    "open_mesh.modes",
    "IsometryMesh.photons",
    "Noise.at.modes",
)
VALUES = (
    st.integers(-3, 12)
    | st.integers(-(2**70), 2**70)
    | st.sampled_from(HUGE)
    | st.floats()
    | st.complex_numbers()
    | st.text(max_size=5)
    | st.fractions()
    | st.decimals()
    | st.sampled_from([*NOT_WHOLE, *NOT_REAL, None])
)


@st.composite
def scalars(draw: st.DrawFn) -> Any:
    """A value, or one of NumPy's types with any of its bits."""
    if draw(st.booleans()):
        return draw(VALUES)
    dtype = np.dtype(draw(st.sampled_from([*"?bBhHiIlLqQefdgFDG", "U3", "S3", "M8[s]", "m8[s]"])))
    bits = draw(st.binary(min_size=dtype.itemsize, max_size=dtype.itemsize))
    if dtype.kind == "U":  # which has bits that are no character
        return np.str_(draw(st.text(max_size=3)))
    if dtype.char == "?":
        return np.bool_(bits[0] & 1)
    found = np.frombuffer(bits, dtype)[0]
    return np.array(found) if draw(st.booleans()) else found


@given(name=st.sampled_from([*WHOLE, *REAL]), value=scalars())
@settings(deadline=None, derandomize=True, max_examples=1500)
def test_no_number_is_met_with_anything_but_a_value_or_one_line(name: str, value: Any) -> None:
    call, _ = (WHOLE | REAL)[name]
    large = isinstance(value, int | np.integer) and abs(int(value)) > 20
    if large and any(slow in name for slow in SLOW) and int(value) < 10**9:
        return
    answered(call, value)


@pytest.mark.parametrize("name", WHOLE)
def test_negative_and_huge_numbers_are_met_with_a_value_or_one_line(name: str) -> None:
    for value in (-1, np.int64(-1), -(2**63), *HUGE, np.uint64(2**64 - 1)):
        answered(WHOLE[name][0], value)


def test_a_list_of_any_iterable_is_gone_through_once() -> None:
    programs, device = [PROGRAM, qs.Program.random(MESH, seed=2)], qs.open_device("local:slos", seed=1)
    assert len(device.submit((p for p in programs), shots=10).result()) == 2  # type: ignore[arg-type]
    assert qs.Program(MESH, np.zeros(MESH.declared), iter((0, 3))).input_modes == (0, 3)  # type: ignore[arg-type]
    assert merge(iter([COUNTS, COUNTS])).shots == 400  # type: ignore[arg-type]
    assert qs.load_config(overrides=(f"seed={n}" for n in (3, 4))).seed == 4  # type: ignore[arg-type]
    assert repr(qs.Noise(g2=0.1).at(iter((0, 1)), modes=3)) == repr(qs.Noise(g2=0.1).at((0, 1), modes=3))  # type: ignore[call-overload]
    assert len(qs.RunConfig(qnn=({"modes": 4, "photons": n} for n in (1, 2))).qnn) == 2  # type: ignore[arg-type]
    jobs = [device.submit([PROGRAM], shots=10) for _ in range(2)]
    wait_all(job for job in jobs)  # type: ignore[arg-type]
    assert CloudSettings(seed=1, platforms=(p for p in ("sim:ideal",))).platforms == ("sim:ideal",)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [np.int64, np.float32, np.float64, np.longdouble])
def test_phases_of_any_real_type_are_one_program(kind: Any) -> None:
    phases = np.arange(MESH.declared)
    expected = qs.Program(MESH, phases.astype(float)).fingerprint
    assert qs.Program(MESH, phases.astype(kind)).fingerprint == expected
    assert qs.Program(MESH, torch.tensor(phases)).fingerprint == expected


@pytest.mark.parametrize("kind", [np.complex128, object, bool, "U5"])
def test_phases_that_would_lose_something_are_refused(kind: Any) -> None:
    phases = np.arange(MESH.declared).astype(kind)
    for call in (lambda x: qs.Program(MESH, x), MESH.unitary, MESH.to_perceval, lambda x: MESH.columns(x, (0,))):
        refused(call, phases)
        refused(call, phases[:-1])


@pytest.mark.parametrize("values", [[np.uint64(2**63)], [2**64], [1.5], [True], ["1"], [None], [-1], [2**62] * 3])
def test_counts_that_no_integer_holds_are_refused(values: list[Any]) -> None:
    outcomes = np.eye(3, dtype=int)[: len(values)]
    refused(lambda n: qs.Counts(photons=1, outcomes=outcomes, numbers=n), values)
    refused(lambda n: qs.Counts(photons=1, outcomes=outcomes, numbers=n), np.array(values))


def test_input_modes_are_never_rounded() -> None:
    for inputs in (
        (0.7, 1.2),
        (0.0, 1.0),
        [True, False, True, False],
        (1 + 0j, 2),
        "0,1",
        np.array([0.0, 1.0]),
        3,
        None,
    ):
        if inputs is not None:
            refused(lambda i: qs.Program(MESH, np.zeros(MESH.declared), i), inputs)
        refused(lambda i: MESH.columns(np.zeros(MESH.declared), i), inputs)


def test_a_list_of_two_modes_is_a_state() -> None:
    mesh = qs.RectangularMesh(2)
    assert qs.Program(mesh, np.zeros(4), [0, 1]).input_modes == (1,)
    assert qs.Program(mesh, np.zeros(4), np.array([0, 1])).input_modes == (1,)
    assert qs.Program(mesh, np.zeros(4), (0, 1)).input_modes == (0, 1)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.array, torch.tensor])
def test_numbers_that_went_through_a_door_fit_files_and_databases(kind: Any) -> None:
    budget, spec = Budget(settings=kind(3), shots=kind(4)), qs.DeviceSpec("lab", kind(9), kind(2), max_shots=kind(100))
    _, shots = spec.check([PROGRAM], shots=kind(7))
    settings = CloudSettings(seed=kind(1), max_shots=kind(2), queue_s=kind(3))
    values = (*astuple(budget)[:2], spec.max_modes, spec.max_shots, shots, settings.seed, settings.queue_s)
    with sqlite3.connect(":memory:") as base:
        [row] = base.execute(f"SELECT {', '.join('?' * len(values))}", values)
    assert row == values == (3, 4, 9, 100, 7, 1, 3.0)
    assert all(type(value) in (int, float) for value in values)


def test_every_public_name_has_its_doors() -> None:
    named = {name.partition(".")[0] for name in (WHOLE | REAL)}
    public = set(qs.__all__) - {"__version__"}
    assert public - named - set(REASONS) == set()
    assert set(REASONS) <= public - named


@pytest.mark.parametrize("value", [10**18 + 1, 10**20])
def test_more_shots_than_are_counted_are_refused_before_anything_is_drawn(value: int) -> None:
    assert "Use" in refused(lambda n: qs.open_device("local:slos", seed=1).run(PROGRAM, shots=n), value)
    for key in ("shots", "final_shots"):
        assert f"training.{key}" in refused(config("training", key), value)
    assert "spsa.shots" in refused(config("spsa", "shots"), value)


@pytest.mark.parametrize("kind", [qs.MPSGenerator, qs.LeanMPSGenerator])
@pytest.mark.parametrize("bond", [1025, 100_000, 10**20])
def test_bond_dimensions_beyond_memory_are_refused_with_their_size(kind: Any, bond: int) -> None:
    for call in (lambda n: kind(6690, n, seed=1), config("generator", "bond_dim")):
        message = refused(call, bond)
        assert "GB" in message or "1000000000" in message
    assert math.isfinite(float(kind(50, 1024 if kind is qs.LeanMPSGenerator else 64, seed=1).parameter_count))


def test_the_store_is_a_folder(tmp_path: Path) -> None:
    refused(qs.CalibrationStore, 3)
    refused(qs.load_record, tmp_path / "none.json")
    with pytest.raises(QPUError):
        check_modes_photons(3, 4)
