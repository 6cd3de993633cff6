"""A run that goes on where another accelerator is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from qpu_sdk.errors import ConfigError
from qpu_sdk.runs.train import resume, train
from tests.training import tiny

pytestmark = pytest.mark.usefixtures("no_figures")
DATA = tiny.dataset()


def test_a_run_goes_on_with_another_accelerator_but_not_with_one_that_is_not_there(tmp_path: Path) -> None:
    whole = train(tiny.config(), tmp_path / "whole", target=tiny.seeded_linear(), data=DATA)
    half = tmp_path / "half"

    def stop(row: Mapping[str, Any]) -> None:
        if row["unit"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny.config(), half, target=tiny.seeded_linear(), data=DATA, on_progress=stop)
    given: Any = {"target": tiny.seeded_linear(), "data": DATA}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.cuda.is_available", lambda: False)
        patch.setattr("torch.backends.mps.is_available", lambda: False)
        with pytest.raises(ConfigError, match=r"training\.accelerator is cuda, and torch .* finds cpu here"):
            resume(half, budget=["training.accelerator=cuda"], **given)
        assert "accelerator" not in (half / "config.toml").read_text()
        run = resume(half, budget=["training.accelerator=auto"], **given)
    assert 'accelerator = "auto"' in (half / "config.toml").read_text()
    assert (half / "model.safetensors").is_file()
    assert run.summary.test_accuracy == whole.summary.test_accuracy
    assert run.summary.shots == whole.summary.shots
