"""Text that others wrote, a server, a file or a caller, as it may stand in a message, a log or a journal."""

from __future__ import annotations


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
