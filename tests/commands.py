"""The command line called in this process: its output read as JSON, its failures as one line.

And what a run leaves: to be interrupted, and compared with another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from qpu_sdk.cli.app import app
from qpu_sdk.cli.progress import Progress
from qpu_sdk.export.weights import load_model

PARTLY, BAD_INPUT, DEVICE_OR_BUDGET, INTERRUPTED = 1, 2, 3, 4


@dataclass(frozen=True)
class Commands:
    """``qpu-sdk`` with fixed arguments before and, where it succeeds with JSON, after the others.

    ``secrets`` must appear in no output.
    """

    before: Sequence[str] = ()
    after: Sequence[str] = ()
    secrets: Sequence[str] = ()

    def run(self, *arguments: object) -> Result:
        result = CliRunner().invoke(app, [*self.before, *map(str, arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        for secret in self.secrets:
            assert secret not in result.output
        return result

    def succeed(self, *arguments: object) -> Any:
        """The JSON on stdout."""
        result = self.run(*arguments, *self.after)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def fail(self, code: int, *arguments: object) -> str:
        """One line on stderr and nothing else; gives the message, with --json out of the JSON that it is then."""
        result = self.run(*arguments)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        [line] = result.stderr.strip().splitlines()
        if "--json" in arguments:
            told = json.loads(line)
            assert told == {"error": told["error"], "code": code}
            return str(told["error"])
        assert line.startswith("qpu-sdk: ")
        return str(line)

    def refuse_to_begin(self, out: Path, words: str, *arguments: object) -> None:
        """A run in ``out`` is refused with these words and leaves nothing."""
        assert words in self.fail(BAD_INPUT, *arguments)
        assert not out.exists()

    def go_on(self, out: Path, whole: Path, summary: Mapping[str, Any]) -> None:
        """The interrupted run in ``out`` ends as the whole one did: the same result, weights and rows."""
        resumed = self.succeed("resume", out, "--json")
        assert resumed | {"wall_s": 0} == dict(summary) | {"wall_s": 0}
        assert same_model(out, whole)
        assert metric_rows(out) == metric_rows(whole)


def interrupt_after(units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C in the middle of a run."""

    def advanced(self: Progress, row: Mapping[str, Any], *, done: int, total: int) -> None:
        if done == units:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "advanced", advanced)


def metric_rows(folder: Path) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl with the clock left out."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) | {"wall_s": 0} for line in lines]


def same_model(one: Path, other: Path) -> bool:
    """Equal tensors, bit for bit, and equal provenance."""
    a, b = (load_model(folder) for folder in (one, other))
    same = all(torch.equal(a.tensors[name], b.tensors[name]) for name in {*a.tensors, *b.tensors})
    return same and dict(a.metadata) == dict(b.metadata)
