"""Packages that add devices and methods: loaded when asked for, and one line, of themselves alone, when broken."""

from __future__ import annotations

from pathlib import Path

import pytest

import qpu_sdk as qs
from qpu_sdk.devices.registry import describe_devices
from qpu_sdk.errors import ConfigError, MitigationError
from qpu_sdk.plugins import plugged
from tests.commands import BAD_INPUT, Commands

ENTRIES = """
[qpu_sdk.devices]
shadow-local = absent_anywhere:open
torn = torn_plugin:open
[qpu_sdk.mitigations]
flat = lab_plugin:flat
nothing = lab_plugin:nothing
torn-method = torn_plugin:method
post-select = lab_plugin:nothing
"""
LAB = """
from dataclasses import replace
import numpy as np

def flat(case):
    size = len(case.baseline.probabilities)
    return replace(case.baseline, probabilities=np.full(size, 1 / size), uncertainty=None, unprojected=None)

def nothing(case):
    return None
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packages as an installer leaves them, of which one cannot be imported."""
    for name in ("lab_plugin", "torn_plugin"):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (tmp_path / "lab_plugin-1.0.dist-info" / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "lab_plugin.py").write_text(LAB)
    (tmp_path / "torn_plugin.py").write_text("raise RuntimeError('needs a newer\\nversion')\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def measured() -> tuple[qs.Counts, qs.CalibrationRecord]:
    device = qs.open_device("local:slos?transmittance=0.5", seed=1)
    program = qs.Program.random(qs.IsometryMesh(4, 2), seed=1)
    record = qs.calibrate(device, modes=4, inputs=(0, 1), shots=20_000, seed=1)
    return device.run(program, shots=2000), record


@pytest.mark.usefixtures("installed")
def test_a_method_of_a_package_is_asked_for_by_its_name() -> None:
    counts, record = measured()
    found = qs.mitigate(counts, record, method="flat", seed=0)
    assert (found.method, set(found.probabilities)) == ("flat", {1 / 6})
    assert qs.RunConfig(mitigation={"method": "flat"}).mitigation.method == "flat"
    own = qs.mitigate(counts, record, method="post-select", seed=0)  # the SDK's, whatever a package calls so
    assert own.probabilities.tolist() == qs.post_select(counts).probabilities.tolist()
    with pytest.raises(MitigationError, match="method nothing gave a NoneType"):
        qs.mitigate(counts, record, method="nothing", seed=0)
    with pytest.raises(
        ConfigError, match=r"'torn-method' of the package lab_plugin cannot be loaded \(Runtime"
    ) as caught:
        qs.mitigate(counts, record, method="torn-method", seed=0)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="method 'flatt' is unknown; flat is the nearest"):
        qs.mitigate(counts, record, method="flatt", seed=0)


@pytest.mark.usefixtures("installed")
def test_a_broken_package_ends_nothing_but_what_asks_for_it() -> None:
    assert {"torn", "shadow-local"} <= set(plugged("qpu_sdk.devices"))
    assert ("torn:...", "from an installed package") in describe_devices()
    commands = Commands()
    assert "torn:..." in commands.run("devices").output
    assert commands.run("devices", "local:slos").exit_code == 0
    told = commands.fail(BAD_INPUT, "devices", "torn:x")
    assert "'torn' of the package lab_plugin cannot be loaded" in told
