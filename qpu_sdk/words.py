"""Text that others wrote, a server, a file or a caller, as it may stand in a message, a log or a journal."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

#: Level of what is logged about a wait, between INFO and WARNING: every command shows it.
WAITING = 25
#: Waits that take longer are told, seconds.
TOLD_S = 2.0


def one_line(text: object, limit: int = 300) -> str:
    r"""Others' words in one line of printable characters, cut.

    Escape sequences, marks that turn the direction of writing, halves of characters and the like are written out, so
    that no terminal and no encoder stumbles over them; square brackets and everything printable stay as they are.

    :param limit: most characters.

    >>> one_line("two\nlines \x1b[2J"), one_line("a" * 20, 10)
    ('two lines \\x1b[2J', 'aaaaaaa...')
    """
    found = " ".join(str(text)[: 4 * limit + 4].split())  # runs of blanks are one: a little more than is shown
    plain = printable(found)
    return plain if len(plain) <= limit and len(str(text)) <= 4 * limit + 4 else plain[: limit - 3] + "..."


def short(value: object, limit: int = 60) -> str:
    """A value as Python writes it, in one line of printable characters, cut.

    >>> short(1.5), short("x" * 80, 20)
    ('1.5', "'xxxxxxxxxxxxxxxx...")
    """
    try:
        return one_line(repr(value), limit)
    except ValueError:  # a whole number of more than 4,300 digits, which Python does not write out
        return f"<{type(value).__name__}, too long to write>"


def clock_in(seconds: float) -> str:
    """What the clock on the wall shows so many seconds from now, with its zone; with the day, where that is another.

    >>> len(clock_in(1.0)) > 8
    True
    """
    now = datetime.now().astimezone()
    then = now + timedelta(seconds=seconds)
    return f"{then:%H:%M:%S %Z}" if then.date() == now.date() else f"{then:%Y-%m-%d %H:%M:%S %Z}"


def printable(text: object) -> str:
    r"""The text with what is not printable written out; blanks stay as they are.

    >>> printable("a  [b]\x1b[2J")
    'a  [b]\\x1b[2J'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A question behind the message that a word is not known, "" when nothing that is known is like it.

    >>> did_you_mean("belenso", ["ascella", "belenos"]), did_you_mean("x", ["ascella"])
    (' Did you mean belenos?', '')
    """
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1) if isinstance(word, str) else []
    return f" Did you mean {near[0]}?" if near else ""


def command(*words: object) -> str:
    r"""A command of the SDK as it can be pasted into a shell, whatever the names in it are made of.

    >>> command("resume", Path("runs/two words")), command("devices", "local:slos?noise=ascella")
    ("qpu-sdk resume 'runs/two words'", "qpu-sdk devices 'local:slos?noise=ascella'")
    """
    # A name that begins with a dash would be taken for an option.
    texts = [f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words]
    return " ".join(["qpu-sdk", *map(_pasted, texts)])


def _pasted(word: str) -> str:
    """One word for a shell; what a terminal would not show as it is becomes bytes, as bash and zsh read them."""
    quoted = shlex.quote(word)
    if one_line(quoted, len(quoted) + 1) == quoted:
        return quoted
    written = (chr(b) if 32 < b < 127 and chr(b) not in "\\'" else f"\\x{b:02x}" for b in os.fsencode(word))
    return f"$'{''.join(written)}'"
