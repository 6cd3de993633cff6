"""What tests of runs begin with: small digits, and a cloud with a token where they use one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.digits import write_small_digits

if TYPE_CHECKING:
    from qpu_sdk.emulator.server import EmulatedCloud


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.runs.test_jobs import TOKEN  # which is skipped, as all that use it, where there is no emulator

    monkeypatch.setenv("PCVL_CLOUD_TOKEN", TOKEN)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_digits(tmp_path_factory.mktemp("digits") / "digits.npz")


@pytest.fixture
def server() -> Iterator[EmulatedCloud]:
    from tests.runs.test_jobs import cloud

    with cloud() as opened:
        yield opened
