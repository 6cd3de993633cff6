"""Device strings and the entry point for other people's devices."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_sdk import plugins
from qpu_sdk.devices import registry
from qpu_sdk.devices.address import DeviceAddress
from qpu_sdk.devices.base import Device
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.recording import RecordingDevice
from qpu_sdk.devices.registry import describe_devices, device_factories, open_device
from qpu_sdk.devices.replay import ReplayDevice
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.errors import ConfigError, DataError, DeviceUnavailable, ProgramError
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.meshes import IsometryMesh, RectangularMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program

MESH = IsometryMesh(4, 2)
PROGRAM = Program(MESH, np.linspace(0.0, 3.0, MESH.declared), (0, 1))
words = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=6)


def open_lab(address: DeviceAddress, *, seed: int) -> Device:
    """The factory behind the fake entry point."""
    return LocalDevice(
        seed=seed, model=LocalModel(noise=Noise(transmittance=float(address.options["eta"]))), name=str(address)
    )


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

    monkeypatch.setattr(plugins, "entry_points", entry_points)


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
    assert device.model == LocalModel(Noise(brightness=0.5, transmittance=0.25), "threshold", "collision_free", "slos")
    assert (device.seed, device.spec.name, device.spec.detector) == (3, text, "threshold")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("local:slos?colour=blue", "unknown option 'colour'"),
        ("local:slos?transmittance=high", "transmittance is 'high', not a number"),
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


# -- noise of a device string -----------------------------------------------------------------------------------

NUMBERS = st.floats(0.05, 1.0).map(lambda value: round(value, 4))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([None, "ideal", "ascella", "belenos,g2:0.1"]),
    st.dictionaries(st.sampled_from(["brightness", "transmittance", "efficiency", "indistinguishability"]), NUMBERS),
    st.sampled_from(["", "detector=pnr", "outcomes=collision_free"]),
)
def test_noise_is_the_same_however_it_is_written(preset: str | None, keys: dict[str, float], rest: str) -> None:
    """Alone, within noise=, or some here and some there: equal models, equal specs, equal counts."""
    inside = [preset or "ideal", *(f"{key}:{value}" for key, value in keys.items())]
    half = len(keys) // 2 + 1
    alone = [f"noise={preset}"] if preset else []
    options = [
        [f"noise={','.join(inside)}"],
        [*alone, *(f"{key}={value}" for key, value in keys.items())],
        [f"noise={','.join(inside[:half])}", *(part.replace(":", "=") for part in inside[half:])],
    ]
    texts = [f"local:slos?{'&'.join([*some, rest] if rest else some)}".rstrip("?") for some in options]
    devices = [open_device(text, seed=3) for text in texts]
    one, *others = devices
    program = Program(RectangularMesh(3), np.linspace(0.0, 2.0, 9), (0, 2))
    [counts] = one.submit([program], shots=500, tag="x").result()
    assert isinstance(one, LocalDevice)
    for device in others:
        assert isinstance(device, LocalDevice)
        assert device.model == one.model
        assert replace(device.spec, name="", record_names=()) == replace(one.spec, name="", record_names=())
        [again] = device.submit([program], shots=500, tag="x").result()
        assert shown(again) == shown(counts)


def shown(counts: Counts) -> tuple[Any, ...]:
    return counts.outcomes.tolist(), counts.numbers.tolist(), counts.other, counts.detector


def test_one_loss_is_one_loss_wherever_photons_are_lost() -> None:
    keys = ("brightness", "transmittance", "efficiency")
    texts = [f"local:slos?{key}=0.3" for key in keys] + [f"local:slos?noise={key}:0.3" for key in keys]
    first, *others = (open_device(text, seed=2).submit([PROGRAM], shots=1000).result()[0] for text in texts)
    assert first.detector == "threshold"
    assert all(shown(other) == shown(first) for other in others)


@pytest.mark.parametrize(
    ("text", "detector"),
    [
        ("local:slos", "pnr"),
        ("local:slos?noise=ideal", "pnr"),
        ("local:slos?noise=ideal&engine=perceval", "pnr"),
        ("local:slos?transmittance=1", "pnr"),
        ("local:slos?transmittance=0.3", "threshold"),
        ("local:slos?dark_counts=0.001", "threshold"),
        ("local:slos?phase_error=0.01", "threshold"),
        ("local:slos?noise=ascella&detector=pnr", "pnr"),
        ("local:slos?detector=threshold", "threshold"),
    ],
)
def test_simulators_without_loss_and_noise_count_and_others_click(text: str, detector: str) -> None:
    assert open_device(text, seed=1).spec.detector == detector


@pytest.mark.parametrize("kind", ["ours", "perceval"])
def test_noise_alone_opens_the_simulator_that_has_it(kind: str) -> None:
    noise = Noise(transmittance=0.4, g2=0.05, indistinguishability=0.9)
    device = open_device(noise if kind == "ours" else noise.to_perceval(), seed=3)
    text = open_device("local:slos?transmittance=0.4&g2=0.05&indistinguishability=0.9", seed=3)
    assert (device.spec.noise, device.spec.detector) == (text.spec.noise, text.spec.detector) == (noise, "threshold")
    program = Program.random(IsometryMesh(4, 2), seed=1)
    one, two = (found.run(program, shots=5000) for found in (device, text))
    assert one.numbers.tolist() == two.numbers.tolist()
    other = open_device(Noise(transmittance=0.4), seed=3)
    assert device.spec.name.startswith("noise:")
    assert device.spec.name != other.spec.name


def test_noise_may_differ_by_mode() -> None:
    device = open_device(Noise(transmittance=[0.3, 0.0, 0.2]), seed=1)
    assert device.spec.max_modes == 3
    with pytest.raises(ProgramError, match="Use 3 modes or fewer"):
        device.run(Program.random(IsometryMesh(4, 2), seed=1), shots=10)


# -- entry points ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("lab")
def test_an_installed_package_adds_a_kind() -> None:
    device = open_device("lab:bench?eta=0.5", seed=7)
    assert isinstance(device, LocalDevice)
    assert (device.seed, device.model.noise.transmittance, device.spec.name) == (7, 0.5, "lab:bench?eta=0.5")


@pytest.mark.usefixtures("lab")
def test_built_in_kinds_cannot_be_replaced() -> None:
    device = open_device("local:slos", seed=1)
    assert isinstance(device, LocalDevice)
    assert device.model == LocalModel()


@pytest.mark.usefixtures("lab")
def test_packages_are_loaded_only_when_their_device_is_opened() -> None:
    assert {"lab", "broken", "local", "replay"} <= set(device_factories())
    open_device("lab:bench?eta=1", seed=1)
    with pytest.raises(ConfigError, match="'broken' of no_such_module_anywhere:open cannot be loaded") as caught:
        open_device("broken:x", seed=1)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("lab")
def test_describe_devices_lists_every_kind() -> None:
    kinds = [text.partition(":")[0] for text, _ in describe_devices()]
    assert kinds == ["local", "local", "replay", "quandela", "scaleway", "broken", "lab"]


def test_described_local_options_are_options() -> None:
    [(text, what), *_] = describe_devices()
    for name in what.partition("options ")[2].split(", "):
        with pytest.raises(ConfigError, match=rf"^(noise )?{name} |is {name}|preset '{name}"):
            open_device(f"{text}?{name}=definitely-wrong", seed=1)
