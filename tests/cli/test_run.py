"""``qpu-sdk run``: programs in, counts with their programs out, once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qpu_sdk.devices.counts_files import load_counts
from qpu_sdk.devices.program_files import load_programs
from qpu_sdk.photonics.meshes import RectangularMesh
from qpu_sdk.photonics.program import Program
from qpu_sdk.statistics import total_variation
from tests.commands import BAD_INPUT, Commands

commands = Commands(after=("--json",))


def test_random_programs_are_written_and_run(tmp_path: Path) -> None:
    place, counts = tmp_path / "programs.json", tmp_path / "new" / "counts.json"
    made = ("--random", "rectangular", "--modes", 4, "--photons", 2, "--number", 3, "--seed", 5)
    assert commands.succeed("run", *made, "--save", place)["programs"] == 3
    programs = load_programs(place)
    assert len({program.fingerprint for program in programs}) == 3
    told = commands.succeed("run", place, "--shots", 20_000, "--out", counts)
    found = load_counts(counts)
    assert [c.program for c in found] == programs
    assert [s["shots"] for s in told["settings"]] == [20_000] * 3
    for one in found:
        numbers = one.collision_free()
        assert one.program is not None
        assert total_variation(numbers / numbers.sum(), one.program) < 0.02  # 20,000 events of 6 outcomes
    assert list(counts.parent.iterdir()) == [counts]  # the journal is gone


def test_the_same_seed_gives_the_same_counts(tmp_path: Path) -> None:
    arguments = ("run", "--random", "isometry", "--modes", 4, "--shots", 100, "--seed", 3)
    for name in ("one", "two"):
        commands.succeed(*arguments, "--out", tmp_path / name)
    assert (tmp_path / "one").read_text() == (tmp_path / "two").read_text()


def test_unitaries_need_their_inputs(tmp_path: Path) -> None:
    np.save(tmp_path / "u.npy", np.eye(3))
    assert "inputs" in commands.fail(BAD_INPUT, "run", tmp_path / "u.npy", "--out", tmp_path / "c.json")
    commands.succeed("run", tmp_path / "u.npy", "--inputs", "0,2", "--shots", 10, "--out", tmp_path / "c.json")
    [counts] = load_counts(tmp_path / "c.json")
    assert counts.collision_free().tolist() == [0, 10, 0]


def test_counts_are_never_written_over_and_nothing_is_left_behind(tmp_path: Path) -> None:
    program = Program.random(RectangularMesh(4), (0, 1), seed=1)
    place, out = tmp_path / "p.json", tmp_path / "c.json"
    place.write_text(program.to_json())
    out.write_text("mine")
    assert "never written over" in commands.fail(BAD_INPUT, "run", place, "--out", out)
    assert out.read_text() == "mine"
    small = tmp_path / "small" / "c.json"
    noisy = "local:slos?noise=ascella,phase_error=9"
    assert "phase_error" in commands.fail(BAD_INPUT, "run", place, "--device", noisy, "--out", small)
    assert not small.parent.exists()
    assert "one of the two" in commands.fail(BAD_INPUT, "run", "--out", small)
    assert "one of the two" in commands.fail(BAD_INPUT, "run", place, "--random", "isometry", "--out", small)
