"""Device strings of clouds: every mistake is one line, and the token comes from where the user put it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import perceval as pcvl
import pytest
import responses

from qpu_sdk.devices.cloud.account import cloud_token
from qpu_sdk.devices.cloud.device import CloudDevice
from qpu_sdk.devices.cloud.options import CloudOptions
from qpu_sdk.devices.registry import open_device
from qpu_sdk.errors import AuthenticationError, ConfigError, DeviceUnavailable, QPUError

ANY = re.compile("https://.*")
DETAILS: dict[str, Any] = {
    "type": "qpu",
    "status": "available",
    "specs": {
        "architecture": "",
        "available_commands": ["sample_count"],
        "constraints": {"max_mode_count": 24, "max_photon_count": 6},
    },
}


class Saved:
    """What Perceval has on disk."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def load_config(self) -> dict[str, Any]:
        return self.config


@pytest.fixture(autouse=True)
def saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Saved]:
    """Nothing in the environment, in Perceval's cache or in its folder."""
    monkeypatch.delenv("PCVL_CLOUD_TOKEN", raising=False)
    monkeypatch.setenv("PCVL_PERSISTENT_PATH", str(tmp_path))
    disk = Saved({})
    monkeypatch.setattr(pcvl.RemoteConfig.__init__, "__defaults__", (disk,))
    pcvl.RemoteConfig.clear_cache()
    yield disk
    pcvl.RemoteConfig.clear_cache()


@pytest.fixture
def web() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def opened(text: str) -> CloudDevice:
    device = open_device(text, seed=1)
    assert isinstance(device, CloudDevice)
    return device


def one_line(kind: type[QPUError], text: str) -> str:
    with pytest.raises(kind) as caught:
        open_device(text, seed=1)
    assert type(caught.value) is kind
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    return said


# -- options ---------------------------------------------------------------------------------------------------


def test_no_options_are_the_defaults() -> None:
    assert CloudOptions.parse({}) == CloudOptions()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("url", "http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("settings_per_job", "7", 7),
        ("poll_s", "0.5", 0.5),
        ("max_poll_s", "60", 60.0),
        ("deadline_s", "1e3", 1000.0),
        ("create_s", "5", 5.0),
        ("queue_s", "0", 0.0),
        ("any_status", "1", 1),
        ("project", "uuid", "uuid"),
        ("idle_s", "600", 600),
    ],
)
def test_every_option_is_read(name: str, text: str, value: object) -> None:
    parsed = CloudOptions.parse({name: text})
    assert getattr(parsed, name) == value
    assert type(getattr(parsed, name)) is type(value)
    others = [f.name for f in fields(CloudOptions) if f.name != name]
    assert all(getattr(parsed, other) == getattr(CloudOptions(), other) for other in others)


def test_unknown_option_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown option 'shots' .* Known options: url, settings_per_job, poll_s"):
        CloudOptions.parse({"shots": "3"})


NUMBERS = ("settings_per_job", "poll_s", "max_poll_s", "deadline_s", "create_s", "queue_s", "any_status", "idle_s")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("text", ["", "many", "1,5", "0x3", "None"])
def test_what_is_no_number_is_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"option {name} is {text!r}, which is not a number"):
        CloudOptions.parse({name: text})


@pytest.mark.parametrize("name", [n for n in NUMBERS if n not in ("any_status", "queue_s")])
@pytest.mark.parametrize("text", ["0", "-1", "-0.5", "nan", "inf", "-inf", "1e300"])
def test_numbers_that_make_no_sense_are_refused(name: str, text: str) -> None:
    """An endless timeout would fail in the socket, after the request has left."""
    with pytest.raises(ConfigError, match=f"option {name} is "):
        CloudOptions.parse({name: text})


@pytest.mark.parametrize("text", ["-1", "nan", "inf"])
def test_waiting_for_room_has_an_end(text: str) -> None:
    with pytest.raises(ConfigError, match="option queue_s is "):
        CloudOptions.parse({"queue_s": text})


def test_options_reach_requests_and_polls() -> None:
    parsed = CloudOptions(poll_s=0.25, max_poll_s=0.1, deadline_s=3.0, create_s=4.0)
    assert (parsed.patience.deadline_s, parsed.patience.create_s, parsed.patience.first_s) == (3.0, 4.0, 0.25)
    assert (parsed.polling.first_s, parsed.polling.longest_s) == (0.25, 0.25)


# -- tokens ----------------------------------------------------------------------------------------------------


def test_environment_comes_before_what_perceval_holds(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    saved.config["remote"] = {"token": "on-disk"}
    assert cloud_token().get_secret_value() == "on-disk"
    pcvl.RemoteConfig.set_token("in-cache")
    assert cloud_token().get_secret_value() == "in-cache"
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", "in-environment")
    assert cloud_token().get_secret_value() == "in-environment"


@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_empty_environment_is_none(saved: Saved, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", value)
    saved.config["remote"] = {"token": "on-disk"}
    pcvl.RemoteConfig.set_token("")
    if value:
        pcvl.RemoteConfig.set_token("on-disk")
    assert cloud_token().get_secret_value() == "on-disk"


def test_blanks_around_a_token_are_not_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", " _T_a.b.c=\n")
    assert cloud_token().get_secret_value() == "_T_a.b.c="
    assert "_T_a" not in repr(cloud_token())


@pytest.mark.parametrize("config", [{}, {"remote": {}}, {"remote": {"token": None}}, {"remote": {"token": " "}}])
def test_no_token_is_one_line(saved: Saved, config: dict[str, Any]) -> None:
    saved.config.update(config)
    assert "Set PCVL_CLOUD_TOKEN" in one_line(AuthenticationError, "quandela:qpu:a")


@pytest.mark.parametrize(
    "token", ["two words", "tok\ten", "tok\nen", "tokén", "tok\x7fen", "“token”", "tok\r\nHost: a"]
)
def test_odd_tokens_are_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", token)
    said = one_line(AuthenticationError, "quandela:qpu:a")
    assert "odd characters" in said
    assert token not in said


# -- opening ---------------------------------------------------------------------------------------------------


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", "_T_secret")
    return "_T_secret"


@pytest.mark.usefixtures("token")
def test_device_is_what_the_platform_says(web: responses.RequestsMock) -> None:
    web.add("GET", ANY, json=DETAILS)
    device = opened("quandela:qpu:a?settings_per_job=5&queue_s=1&deadline_s=2&poll_s=3&any_status=1")
    spec = device.spec
    assert (spec.name, spec.max_modes, spec.max_photons) == ("quandela:qpu:a", 24, 6)
    assert (spec.simulated, spec.detector, spec.seeded) == (False, "threshold", False)
    assert (device.queue_s, device.deadline_s, device.polling.first_s, device.any_status) == (1.0, 2.0, 3.0, True)
    assert (spec.settings_per_job, spec.platform, spec.durable, spec.rehearsal) == (5, "qpu:a", True, False)
    assert [c.request.url for c in web.calls] == ["https://api.cloud.quandela.com/api/platforms/qpu%3Aa/processor"]
    assert web.calls[0].request.headers["Authorization"] == "Bearer _T_secret"


@pytest.mark.usefixtures("token")
def test_another_address_makes_another_device(web: responses.RequestsMock, saved: Saved) -> None:
    web.add("GET", ANY, json=DETAILS)
    assert opened("quandela:a?url=https://b.test").spec.name == "quandela:a?url=https://b.test"
    saved.config["remote"] = {"url": "https://saved.test"}
    assert opened("quandela:a").spec.name == "quandela:a"
    assert [str(c.request.url).split("/")[2] for c in web.calls] == ["b.test", "saved.test"]


@pytest.mark.usefixtures("token")
def test_unknown_platform_is_one_line(web: responses.RequestsMock) -> None:
    web.add("GET", ANY, status=404, json={"error": "Platform not found"})
    said = one_line(DeviceUnavailable, "quandela:qpu:a")
    assert "platform qpu:a is unknown" in said
    assert "Check its name" in said


@pytest.mark.usefixtures("token")
def test_refused_token_is_one_line(web: responses.RequestsMock) -> None:
    web.add("GET", ANY, status=401, json={"error": "Invalid or expired job token"})
    said = one_line(AuthenticationError, "quandela:qpu:a")
    assert "Invalid or expired job token" in said
    assert "PCVL_CLOUD_TOKEN" in said


@pytest.mark.usefixtures("token")
def test_platform_without_sampling_is_one_line(web: responses.RequestsMock) -> None:
    web.add("GET", ANY, json={"specs": {"architecture": "", "available_commands": ["probs"]}})
    assert "offers no sampling command" in one_line(DeviceUnavailable, "quandela:sim:a")


@pytest.mark.usefixtures("token")
def test_silent_cloud_is_one_line(web: responses.RequestsMock) -> None:
    web.add("GET", ANY, body="<html>", content_type="text/html")
    assert "Go on later" in one_line(DeviceUnavailable, "quandela:sim:a?deadline_s=0.001")


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("quandela:a?shots=3", "unknown option 'shots'"),
        ("quandela:a?poll_s=fast", "not a number"),
        ("quandela:a?poll_s=0", "Use more than 0"),
        ("quandela:a?url=http://b.test", "unencrypted"),
        ("quandela:a?url=b.test", "not that of a server"),
        ("quandela:a?url=https://[b", "not that of a server"),
        ("quandela:a?url=https://u:p@b.test", "user or a password"),
        ("quandela:a?poll_s", "option=value"),
        ("quandela:", "KIND:NAME"),
    ],
)
def test_malformed_strings_are_one_line(web: responses.RequestsMock, text: str, words: str) -> None:
    assert words in one_line(ConfigError, text)
    assert not web.calls
