"""Device strings and the entry point for other people's devices."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_sdk.devices import registry
from qpu_sdk.devices.base import Device
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.registry import DeviceAddress, describe_devices, device_factories, open_device
from qpu_sdk.devices.replay import RecordingDevice, ReplayDevice
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.errors import ConfigError, DataError, DeviceUnavailable
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.photonics.program import Program

MESH = IsometryMesh(4, 2)
PROGRAM = Program(MESH, np.linspace(0.0, 3.0, MESH.declared), (0, 1))
words = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=6)


def open_lab(address: DeviceAddress, *, seed: int) -> Device:
    """The factory behind the fake entry point."""
    return LocalDevice(seed=seed, model=LocalModel(transmittance=float(address.options["eta"])), name=str(address))


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that adds the kind ``lab``, one that is broken, and one that wants to be ``local``."""
    points = [
        EntryPoint("lab", f"{__name__}:open_lab", registry.ENTRY_POINT_GROUP),
        EntryPoint("local", f"{__name__}:open_lab", registry.ENTRY_POINT_GROUP),
        EntryPoint("broken", "no_such_module_anywhere:open", registry.ENTRY_POINT_GROUP),
    ]

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [point for point in points if point.group == group]

    monkeypatch.setattr(registry, "entry_points", entry_points)


# -- device strings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "name", "options"),
    [
        ("local:slos", "local", "slos", {}),
        ("local:slos?", "local", "slos", {}),
        ("local:slos?a=1&b=x", "local", "slos", {"a": "1", "b": "x"}),
        ("quandela:qpu:belenos", "quandela", "qpu:belenos", {}),
        ("quandela:sim:belenos?url=http://127.0.0.1:8", "quandela", "sim:belenos", {"url": "http://127.0.0.1:8"}),
        ("replay:/data/a b/c.jsonl", "replay", "/data/a b/c.jsonl", {}),
        ("x:y?empty=", "x", "y", {"empty": ""}),
    ],
)
def test_a_device_string_is_taken_apart(text: str, kind: str, name: str, options: dict[str, str]) -> None:
    address = DeviceAddress.parse(text)
    assert (address.kind, address.name, address.options) == (kind, name, options)


@pytest.mark.parametrize("text", ["", "local", ":slos", "local:", "?a=1", "local?x:y=1"])
def test_what_is_not_a_device_string_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="KIND:NAME"):
        DeviceAddress.parse(text)


@pytest.mark.parametrize("text", ["local:slos?transmittance", "local:slos?a=1&b", "local:slos?&"])
def test_malformed_options_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="option=value"):
        DeviceAddress.parse(text)


@given(words, words, st.dictionaries(words, st.text("ab:/?=&%+# é", max_size=6), max_size=3))
def test_an_address_reads_back_from_its_own_string(kind: str, name: str, options: dict[str, str]) -> None:
    address = DeviceAddress(kind, name, options)
    assert DeviceAddress.parse(str(address)) == address


# -- opening ---------------------------------------------------------------------------------------------------


def test_local_options_reach_the_model() -> None:
    text = "local:slos?brightness=0.5&transmittance=0.25&detector=threshold&outcomes=collision_free&engine=slos"
    device = open_device(text, seed=3)
    assert isinstance(device, LocalDevice)
    assert device.model == LocalModel(0.5, 0.25, "threshold", "collision_free", "slos")
    assert (device.seed, device.spec.name, device.spec.detector) == (3, text, "threshold")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("local:slos?colour=blue", "unknown option 'colour'"),
        ("local:slos?transmittance=high", "transmittance of .* is not a number"),
        ("local:slos?transmittance=0", "transmittance is 0.0"),
        ("local:slos?transmittance=nan", "transmittance is nan"),
        ("local:slos?detector=human", "detector is 'human'"),
    ],
)
def test_bad_local_options_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_device(text, seed=1)


def test_unknown_devices_are_unavailable() -> None:
    with pytest.raises(DeviceUnavailable, match=r"'warp' is unknown\. Known kinds: .*local.*replay"):
        open_device("warp:drive", seed=1)
    with pytest.raises(DeviceUnavailable, match="'mps' is unknown"):
        open_device("local:mps", seed=1)


def test_a_recording_is_opened_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "counts.jsonl"
    recorded = RecordingDevice(LocalDevice(seed=1), path).submit([PROGRAM], shots=50).result()
    device = open_device(f"replay:{path}", seed=1)
    assert isinstance(device, ReplayDevice)
    assert device.spec.name == f"replay:{path}"
    assert [c.to_json() for c in device.submit([PROGRAM], shots=50).result()] == [c.to_json() for c in recorded]
    with pytest.raises(DataError, match="missing"):
        open_device(f"replay:{tmp_path}/missing", seed=1)


# -- entry points ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("lab")
def test_an_installed_package_adds_a_kind() -> None:
    device = open_device("lab:bench?eta=0.5", seed=7)
    assert isinstance(device, LocalDevice)
    assert (device.seed, device.model.transmittance, device.spec.name) == (7, 0.5, "lab:bench?eta=0.5")


@pytest.mark.usefixtures("lab")
def test_built_in_kinds_cannot_be_replaced() -> None:
    device = open_device("local:slos", seed=1)
    assert isinstance(device, LocalDevice)
    assert device.model == LocalModel()


@pytest.mark.usefixtures("lab")
def test_packages_are_loaded_only_when_their_device_is_opened() -> None:
    assert {"lab", "broken", "local", "replay"} <= set(device_factories())
    open_device("lab:bench?eta=1", seed=1)
    with pytest.raises((DeviceUnavailable, ImportError)):
        open_device("broken:x", seed=1)


@pytest.mark.usefixtures("lab")
def test_describe_devices_lists_every_kind() -> None:
    kinds = [text.partition(":")[0] for text, _ in describe_devices()]
    assert kinds == ["local", "local", "replay", "quandela", "scaleway", "broken", "lab"]


def test_described_local_options_are_options() -> None:
    [(text, what), *_] = describe_devices()
    for name in what.partition("options ")[2].split(", "):
        with pytest.raises(ConfigError, match=rf"^{name} |is {name}"):
            open_device(f"{text}?{name}=definitely-wrong", seed=1)
