"""The command line called in this process: its output read as JSON, its failures as one line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from qpu_sdk.cli.app import app


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
        """One line on stderr and nothing else."""
        result = self.run(*arguments)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        [line] = result.stderr.strip().splitlines()
        assert line.startswith("qpu-sdk: ")
        return str(line)
