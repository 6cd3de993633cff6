"""Wrong command lines: one line, and no panel that parses what was typed for markup."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, final

import typer
from typer.core import TyperGroup

from .printing import BAD_INPUT, ERRORS_AS_JSON, INTERRUPTED, complain, message_of
from .surroundings import speak_any_encoding

#: What typer raises for a wrong command line is click's, or a copy of its own, by version.
_ClickError: Any = typer.BadParameter.__mro__[2]


@final
class OneLineGroup(TyperGroup):
    """Commands whose wrong options are one line, as every other error."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Parse and call; see ``TyperGroup.main``."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        speak_any_encoding()
        told = ERRORS_AS_JSON.set("--json" in (sys.argv[1:] if args is None else args))
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except _ClickError as error:
            code = _usage(error)
        except typer.Abort:
            code = INTERRUPTED
        except OSError as error:  # such as of a shell's own file, to which --install-completion adds a line
            complain(message_of(error), BAD_INPUT)
            code = BAD_INPUT
        finally:
            ERRORS_AS_JSON.reset(told)
        sys.exit(code)


def _usage(error: Any) -> int:
    """Print what is wrong with a command line; gives the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":
        if text := error.format_message():  # where rich is, it has printed the help already
            typer.echo(text, err=True)
        return int(error.exit_code)
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "qpu-sdk"
    text = error.format_message()
    complain(f"{text}{'' if text.endswith(('.', '?')) else '.'} See: {path} --help", BAD_INPUT)
    return BAD_INPUT
