"""A refusal is certain only in the vendor's own words, in the vendor's own shape."""

from __future__ import annotations

from typing import Any

import pytest

from qpu_sdk.devices.cloud.refusals import refusal_of
from qpu_sdk.emulator.server import EmulatedCloud
from qpu_sdk.emulator.settings import CloudSettings

KNOWN: list[tuple[int, str, str]] = [
    (400, "Cannot create more than 10 jobs", "queue"),
    (401, "Not enough credits: all remaining credits are reserved by waiting or running jobs", "credits"),
    (401, "Not enough qpu time left", "credits"),
    (401, "Invalid or expired job token", "token"),
    (401, "Invalid user", "token"),
    (403, "Platform qpu:a is locked, please upgrade your offer to use it", "closed"),
    (404, "Platform not found", "closed"),
    (400, "Max shots must less than or equal to 100", "request"),
    (422, "Validation error", "request"),
]


@pytest.mark.parametrize(("code", "words", "kind"), KNOWN)
def test_the_vendors_words_are_known_under_its_codes_alone(code: int, words: str, kind: str) -> None:
    for answer in ({"error": words}, {"error": words, "detail": {}, "more": 1}, {"message": words.upper()}):
        assert refusal_of(code, answer) == kind
    for other in (200, 201, 302, 402, 405, 408, 409, 413, 418, 425, 429, 500, 502, 503):
        assert refusal_of(other, {"error": words}) is None


@pytest.mark.parametrize(("code", "words", "kind"), KNOWN)
def test_the_same_words_elsewhere_prove_nothing(code: int, words: str, kind: str) -> None:
    others: list[Any] = [
        None,
        words,
        [words],
        {"detail": words},
        {"error": [words]},
        {"error": {"a": words}},
        {"error": f"nginx: {words}"},
        {"error": f"<html>{words}"},
        {"errors": words},
    ]
    assert {refusal_of(code, answer) for answer in others} == {None}


@pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 422, 425, 429])
@pytest.mark.parametrize("words", ["", "injected fault", "Not found", "Forbidden", "Too many requests", "Invalid"])
def test_other_words_prove_nothing(code: int, words: str) -> None:
    assert refusal_of(code, {"error": words}) is None
    assert refusal_of(code, {"detail": words}) is None


def test_shapes_of_the_vendor_count_as_its_words() -> None:
    assert refusal_of(404, {"error": "Not found", "detail": {}}) == "closed"
    fields = {"json": {"payload": ["Missing data for required field."]}}
    assert refusal_of(422, {"message": "whatever", "detail": fields}) == "request"
    for detail in ({}, [], {"json": []}, {"json": {}}, {"json": {"payload": "text"}}, "text", None):
        assert refusal_of(422, {"message": "whatever", "detail": detail}) is None


def test_what_the_loopback_cloud_refuses_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers stand for the vendor's: a word that is not known would leave rehearsals uncertain."""
    import requests

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    settings = CloudSettings(seed=1, platforms=("sim:ideal",), tokens=frozenset({"right"}))
    with EmulatedCloud(settings) as cloud:
        good: dict[str, Any] = {"payload": {"command": "sample_count"}, "job_name": "a", "platform_name": "sim:ideal"}
        for body, token in (
            (good, "wrong"),
            ({}, "right"),
            ([], "right"),
            (good | {"platform_name": "sim:none"}, "right"),
            (good | {"payload": 3}, "right"),
            (good | {"payload": {"command": "nothing"}}, "right"),
            (good | {"payload": {"command": "sample_count", "max_shots": -1}}, "right"),
            (good | {"payload": {"command": "sample_count", "iterator": []}}, "right"),
            (good | {"max_duration": 0}, "right"),
        ):
            headers = {"Authorization": f"Bearer {token}"}
            answer = requests.post(f"{cloud.url}/api/job", json=body, headers=headers, timeout=60)
            if answer.status_code != 200:
                assert refusal_of(answer.status_code, answer.json()) is not None, answer.text
        cloud.change(status="maintenance")
        answer = requests.post(f"{cloud.url}/api/job", json=good, headers={"Authorization": "Bearer right"}, timeout=60)
        assert refusal_of(answer.status_code, answer.json()) == "closed"
