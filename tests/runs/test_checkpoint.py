"""Checkpoints: what is read is what was written, and damage is told instead of used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from qpu_sdk.errors import CheckpointError
from qpu_sdk.runs import checkpoint as module
from qpu_sdk.runs.checkpoint import KEPT, SCHEMA_VERSION, load_checkpoint, save_checkpoint
from qpu_sdk.training.loop import Checkpoint

VALUES = {"epoch": 3, "loss": 0.1 + 0.2, "spsa": {"a": None, "k": 5}, "samples": [1, 2]}


def example(unit: int) -> Checkpoint:
    tensors = {
        "x": torch.linspace(0, 1, 7, dtype=torch.float64) + unit,
        "view": torch.arange(12.0).view(3, 4).T,
        "count": torch.tensor(unit),
        "empty": torch.zeros(0),
    }
    return Checkpoint(unit, tensors, VALUES)


def written(folder: Path, *units: int, config: str = "abc") -> None:
    for unit in units:
        save_checkpoint(folder, example(unit), config=config)


def loaded(folder: Path, config: str = "abc") -> Checkpoint:
    checkpoint = load_checkpoint(folder, config=config)
    assert checkpoint is not None
    return checkpoint


def newest(folder: Path, suffix: str) -> Path:
    return max(folder.glob(f"*{suffix}"))


def test_round_trip(tmp_path: Path) -> None:
    written(tmp_path, 4)
    got, expected = loaded(tmp_path), example(4)
    assert got.unit == 4
    assert got.values == VALUES
    assert set(got.tensors) == set(expected.tensors)
    for name, tensor in expected.tensors.items():
        assert torch.equal(got.tensors[name], tensor)
        assert got.tensors[name].dtype == tensor.dtype


def test_no_checkpoint_yet(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "checkpoint", config="abc") is None
    assert load_checkpoint(tmp_path, config="abc") is None


def test_the_newest_is_read_and_only_a_few_are_kept(tmp_path: Path) -> None:
    units = [1, 2, 9, 10, 99, 100, 1000]
    written(tmp_path, *units)
    assert loaded(tmp_path).unit == 1000
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
    assert loaded(tmp_path).unit == 2
    written(tmp_path, 3)
    assert loaded(tmp_path).unit == 3


def test_half_written_temporary_files_are_ignored(tmp_path: Path) -> None:
    written(tmp_path, 1)
    (tmp_path / ".000002.json.1.tmp").write_text("{")
    assert loaded(tmp_path).unit == 1


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
    assert loaded(tmp_path).unit == 1


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


@pytest.mark.parametrize("content", ["[]", "null", "1", "{}", '{"schema_version": 1}'])
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
    with pytest.raises(CheckpointError, match="schema version 99; this SDK reads 1"):
        load_checkpoint(tmp_path, config="abc")


def test_another_configuration_is_told(tmp_path: Path) -> None:
    written(tmp_path, 1)
    with pytest.raises(CheckpointError, match="another configuration"):
        load_checkpoint(tmp_path, config="abd")


def test_tensors_are_readable_without_the_sdk(tmp_path: Path) -> None:
    written(tmp_path, 1)
    blob = save({name: tensor.contiguous() for name, tensor in example(1).tensors.items()})
    assert len(newest(tmp_path, ".safetensors").read_bytes()) == len(blob)
