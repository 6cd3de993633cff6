"""Whole numbers: one door for every kind of integer, one line for everything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qpu_sdk.arrays import whole
from qpu_sdk.calibration.calibrate import calibrate
from qpu_sdk.calibration.known import known_record
from qpu_sdk.calibration.measure import CalibrationRequest
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.devices.base import Device
from qpu_sdk.devices.journal import Journal
from qpu_sdk.devices.journalled import JournalledDevice
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.recording import RecordingDevice
from qpu_sdk.devices.registry import open_device
from qpu_sdk.devices.replay import ReplayDevice
from qpu_sdk.errors import CalibrationError, ConfigError, MitigationError, ProgramError, QPUError
from qpu_sdk.generator.mps import LeanMPSGenerator, MPSGenerator, identifiable_parameters
from qpu_sdk.mitigation.mitigate import mitigate
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program
from qpu_sdk.seeds import child_seed
from qpu_sdk.training.spsa import SPSA

MESH = IsometryMesh(4, 2)
PROGRAM = Program.random(MESH, seed=1)
KINDS = (np.int64, np.int32, np.uint8, np.array, torch.tensor)
BAD: list[Any] = [1000.7, 1000.0, True, np.True_, "100", None, [100], np.nan]


def record() -> Any:
    return known_record(Noise(transmittance=0.5), Identity("local:slos", "slos", 4, (0, 1), "pnr"))


COUNTS = LocalDevice(seed=1).run(PROGRAM, shots=100)

DOORS: dict[str, tuple[Callable[[Any], Any], type[QPUError]]] = {
    "whole": (lambda n: whole(n, "it"), ProgramError),
    "child seed": (child_seed, ConfigError),
    "label": (lambda n: child_seed(1, n) if not isinstance(n, str) else whole(n, "label", ConfigError), ConfigError),
    "local": (lambda n: LocalDevice(seed=n).run(PROGRAM, shots=50).to_json(), ConfigError),
    "open": (lambda n: open_device("local:slos", seed=n).run(PROGRAM, shots=50).to_json(), ConfigError),
    "shots": (lambda n: LocalDevice(seed=1).run(PROGRAM, shots=n).to_json(), ProgramError),
    "program": (lambda n: Program.random(MESH, seed=n).fingerprint, ProgramError),
    "spsa": (lambda n: SPSA(a=1.0).ask(SPSA(a=1.0).init(np.zeros(3), seed=n))[0].tolist(), ConfigError),
    "mps": (lambda n: MPSGenerator(20, 1, seed=n).cores.tolist(), ConfigError),
    "lean": (lambda n: LeanMPSGenerator(20, 1, seed=n).cores.tolist(), ConfigError),
    "bond": (lambda n: LeanMPSGenerator(20, n, seed=1).parameter_count, ConfigError),
    "rank": (lambda n: identifiable_parameters(LeanMPSGenerator(20, 1, seed=1), seed=n), ConfigError),
    "mitigate": (
        lambda n: mitigate(COUNTS, record(), method="post-select", seed=n).probabilities.tolist(),
        MitigationError,
    ),
    "request": (lambda n: repr(CalibrationRequest(n, (0, 1), n, n)), CalibrationError),
    "request inputs": (lambda n: repr(CalibrationRequest(9, (n,), 5, 1)), CalibrationError),
    "calibrate": (lambda n: calibrate(LocalDevice(seed=1), modes=n, inputs=(0, 1), shots=1, seed=1), CalibrationError),
}


@pytest.mark.parametrize("door", [name for name in DOORS if name != "calibrate"])
def test_equal_integers_give_equal_bits(door: str) -> None:
    call = DOORS[door][0]
    expected = call(5)
    for kind in KINDS:
        assert call(kind(5)) == expected


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("bad", BAD, ids=repr)
def test_what_is_no_whole_number_is_refused(door: str, bad: Any) -> None:
    call, error = DOORS[door]
    with pytest.raises(error, match="Use a whole number") as caught:
        call(bad)
    assert "\n" not in str(caught.value)


def test_seeds_are_what_they_were() -> None:
    assert child_seed(1, "batches", 3) == child_seed(np.int64(1), np.str_("batches"), np.int32(3))
    assert child_seed(7, "x") == 9210136489495287030


def devices(folder: Path) -> list[Device]:
    inner = LocalDevice(seed=1)
    return [
        LocalDevice(seed=1),
        ReplayDevice([LocalDevice(seed=1).run(PROGRAM, shots=20)]),
        RecordingDevice(inner, folder / "counts.jsonl"),
        JournalledDevice(inner, Journal(None).__enter__()),
    ]


@pytest.mark.parametrize("place", range(4))
def test_every_device_takes_a_generator_and_numpy_shots(place: int, tmp_path: Path) -> None:
    [counts] = devices(tmp_path)[place].submit((p for p in [PROGRAM]), shots=np.int64(20)).result()  # type: ignore[arg-type]
    assert counts.shots == 20


@pytest.mark.parametrize("place", range(4))
def test_every_device_refuses_what_is_no_program(place: int, tmp_path: Path) -> None:
    device: Any = devices(tmp_path)[place]
    for call, words in (
        (lambda: device.submit(PROGRAM, shots=20), r"submit\(\[program\]"),
        (lambda: device.submit(3, shots=20), "a int is no list of programs"),
        (lambda: device.submit([PROGRAM, None], shots=20), "a NoneType is no program"),
        (lambda: device.run([PROGRAM], shots=20), "run takes one alone"),
        (lambda: device.submit(iter(()), shots=20), "no program"),
    ):
        with pytest.raises(ProgramError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
