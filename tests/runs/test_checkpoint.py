"""Checkpoints: what is read is what was written, and damage is told instead of used."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load

from qpu_sdk.errors import CheckpointError
from qpu_sdk.runs import checkpoint as module
from qpu_sdk.runs.checkpoint import KEPT, SCHEMA_VERSION, RunOrigin, load_checkpoint, save_checkpoint
from qpu_sdk.training.fit import FitState
from qpu_sdk.training.loop import Learnt, TrainingState
from qpu_sdk.training.spsa import SPSA
from tests.training.test_loop import bits

ORIGIN = RunOrigin("abc", "images", 2)


def learnt(unit: int) -> Learnt:
    tensors = {"view": torch.arange(12.0).view(3, 4).T + unit, "empty": torch.zeros(0)}
    spsa = SPSA().init(np.linspace(0, 1, 7) + unit, seed=2**62 + 1)
    return Learnt(FitState(tensors, {"count": torch.tensor(unit)}), {"mean": torch.ones(3)}, replace(spsa, k=5))


def example(unit: int, **changes: Any) -> TrainingState:
    p = torch.linspace(0, 1, 5) / 3
    measured = {"samples": [1, 2], "shift": [0.1 + 0.2], "effective_samples": [None]}
    return replace(TrainingState(unit, learnt(unit), p, p, measured, epoch=3, wall_s=0.7), **changes)


def written(folder: Path, *units: int, origin: RunOrigin = ORIGIN) -> None:
    for unit in units:
        save_checkpoint(folder, example(unit), origin)


def loaded(folder: Path, config: str = "abc") -> TrainingState:
    checkpoint = load_checkpoint(folder, config=config)
    assert checkpoint is not None
    return checkpoint[0]


def newest(folder: Path, suffix: str) -> Path:
    return max(folder.glob(f"*{suffix}"))


SPREADS = [{}, {"a": 0.1, "loss": 1 / 3, "spread": 1e-300}]


@pytest.mark.parametrize("changes", [{}, {"best": learnt(9), "best_loss": 0.1 + 0.2}])
@pytest.mark.parametrize("numbers", SPREADS)
def test_round_trip(tmp_path: Path, changes: dict[str, Any], numbers: dict[str, float]) -> None:
    state = example(4, **changes)
    state = replace(state, learnt=replace(state.learnt, spsa=replace(state.learnt.spsa, **numbers)))
    save_checkpoint(tmp_path, state, ORIGIN)
    found = load_checkpoint(tmp_path, config="abc")
    assert found is not None
    assert (bits(found[0]), found[0].wall_s, found[1]) == (bits(state), state.wall_s, ORIGIN)


def test_loaded_tensors_are_aligned_and_do_not_share_memory(tmp_path: Path) -> None:
    written(tmp_path, 1)
    state = loaded(tmp_path)
    assert state.p.data_ptr() != state.p_before.data_ptr()
    assert all(t.data_ptr() % 64 == 0 for t in (state.p, state.p_before, state.learnt.adam["mean"]))


def test_no_checkpoint_yet(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "checkpoint", config="abc") is None
    assert load_checkpoint(tmp_path, config="abc") is None


def test_the_newest_is_read_and_only_a_few_are_kept(tmp_path: Path) -> None:
    units = [1, 2, 9, 10, 99, 100, 1000]
    written(tmp_path, *units)
    assert loaded(tmp_path).done == 1000
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f"{unit:06d}{end}" for unit in units[-KEPT:] for end in (".json", ".safetensors")
    )


@pytest.mark.parametrize("finished", [0, 1])
def test_a_crash_before_or_between_the_two_files_leaves_the_previous_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: int
) -> None:
    written(tmp_path, 1, 2)
    write, written_files = module.write_atomic, []

    def crash(path: Path, content: bytes | str) -> None:
        if len(written_files) == finished:
            raise OSError("power cut")
        written_files.append(path)
        write(path, content)

    monkeypatch.setattr(module, "write_atomic", crash)
    with pytest.raises(OSError, match="power cut"):
        written(tmp_path, 3)
    monkeypatch.undo()
    assert loaded(tmp_path).done == 2
    written(tmp_path, 3)
    assert loaded(tmp_path).done == 3


def test_half_written_temporary_files_are_ignored(tmp_path: Path) -> None:
    written(tmp_path, 1)
    (tmp_path / ".000002.json.1.tmp").write_text("{")
    assert loaded(tmp_path).done == 1


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("length", [0, 1, 40])
def test_truncated_files_are_told(tmp_path: Path, suffix: str, length: int) -> None:
    written(tmp_path, 1, 2)
    path = newest(tmp_path, suffix)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"000002\..* is damaged"):
        load_checkpoint(tmp_path, config="abc")


def test_the_way_out_of_a_damaged_checkpoint_works(tmp_path: Path) -> None:
    written(tmp_path, 1, 2)
    newest(tmp_path, ".safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"Delete 000002\.\*"):
        load_checkpoint(tmp_path, config="abc")
    for path in tmp_path.glob("000002.*"):
        path.unlink()
    assert loaded(tmp_path).done == 1


def test_missing_tensors_are_told(tmp_path: Path) -> None:
    written(tmp_path, 1)
    newest(tmp_path, ".safetensors").unlink()
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path, config="abc")


@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_a_flipped_bit_in_the_tensors_is_told(tmp_path: Path, position: float, flip: int) -> None:
    written(tmp_path, 1)
    path = newest(tmp_path, ".safetensors")
    data = bytearray(path.read_bytes())
    data[int(position * len(data))] ^= flip
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum does not match"):
        load_checkpoint(tmp_path, config="abc")


@given(content=st.binary(max_size=200) | st.text(max_size=50).map(lambda t: json.dumps(t).encode()))
@settings(
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_any_other_header_is_told(tmp_path: Path, content: bytes) -> None:
    written(tmp_path, 1)
    newest(tmp_path, ".json").write_bytes(content)
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path, config="abc")


@pytest.mark.parametrize("content", ["[]", "null", "1", "{}", f'{{"schema_version": {SCHEMA_VERSION}}}'])
def test_json_that_is_no_header_is_told(tmp_path: Path, content: str) -> None:
    written(tmp_path, 1)
    newest(tmp_path, ".json").write_text(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path, config="abc")


def test_tensors_that_are_not_safetensors_are_told_even_with_a_right_checksum(tmp_path: Path) -> None:
    written(tmp_path, 1)
    header = json.loads(newest(tmp_path, ".json").read_text())
    header["sha256"] = hashlib.sha256(b"nonsense").hexdigest()
    newest(tmp_path, ".json").write_text(json.dumps(header))
    newest(tmp_path, ".safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path, config="abc")


def test_a_newer_schema_is_told(tmp_path: Path) -> None:
    written(tmp_path, 1)
    path = newest(tmp_path, ".json")
    path.write_text(path.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 99'))
    with pytest.raises(CheckpointError, match=f"schema version 99; this SDK reads {SCHEMA_VERSION}. Update qpu_sdk"):
        load_checkpoint(tmp_path, config="abc")


def test_the_schema_of_before_the_first_release_is_told(tmp_path: Path) -> None:
    written(tmp_path, 1)
    newest(tmp_path, ".json").write_text('{"schema_version": 1, "config": "abc", "unit": 1, "values": {}}')
    with pytest.raises(CheckpointError, match=r"schema version 1; this SDK reads 3\. Begin the run again\."):
        load_checkpoint(tmp_path, config="abc")


def test_another_configuration_is_told(tmp_path: Path) -> None:
    written(tmp_path, 1)
    with pytest.raises(CheckpointError, match="another configuration"):
        load_checkpoint(tmp_path, config="abd")


def test_tensors_are_readable_without_the_sdk(tmp_path: Path) -> None:
    written(tmp_path, 1)
    tensors, state = load(newest(tmp_path, ".safetensors").read_bytes()), example(1)
    assert {name.partition(".")[0] for name in tensors} == {"generator", "optimiser", "adam", "spsa", "p", "p_before"}
    assert torch.equal(tensors["generator.view"], state.learnt.fit.parameters["view"])
    assert torch.equal(tensors["spsa.x"], torch.from_numpy(state.learnt.spsa.x))
