"""Text that others wrote, a server, a file or a caller, as it may stand in a message, a log or a journal."""

from __future__ import annotations

from datetime import datetime, timedelta

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
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in found)
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
