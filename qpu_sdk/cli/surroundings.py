"""Where the program runs: terminals that are not UTF-8, and homes that nobody may write to."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

#: What stands for our own signs where there are none; other characters are written out.
SIGNS = {"±": "+-", "…": ".", "\N{MULTIPLICATION SIGN}": "x", "\N{MINUS SIGN}": "-", "≤": "<=", "≥": ">="}
_HANDLER = "qpu_sdk_signs"


def _written_out(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(SIGNS.get(sign, ascii(sign)[1:-1]) for sign in found), error.end


codecs.register_error(_HANDLER, _written_out)


def speak_any_encoding() -> None:
    """Let no sign that the terminal's encoding has not end a command: it is written out.

    >>> "1.0 ± 0.2 é".encode("ascii", errors="qpu_sdk_signs")
    b'1.0 +- 0.2 \\\\xe9'
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_HANDLER)


@contextmanager
def writable_places() -> Iterator[None]:
    """Give Perceval and matplotlib a folder of this process where their own in the home cannot be written.

    Perceval would take the folder for temporary files itself then, which it shares with every user of the machine, and
    ends when another's log is there; both would tell so in several lines.
    """
    closed = [name for name, places in _places().items() if name not in os.environ and not all(map(_open, places))]
    with ExitStack() as stack:
        if closed:
            folder = stack.enter_context(TemporaryDirectory(prefix="qpu-sdk-", ignore_cleanup_errors=True))
        for name in closed:
            os.environ[name] = os.path.join(folder, name)
            stack.callback(os.environ.pop, name, None)
        yield


def _places() -> dict[str, tuple[Path, ...]]:
    """Folders that they would use, by the variable that names another."""
    from platformdirs import PlatformDirs

    own, figures = PlatformDirs("perceval-quandela", "quandela"), PlatformDirs("matplotlib")
    linux = sys.platform.startswith(("linux", "freebsd"))
    drawn = (figures.user_config_path, figures.user_cache_path) if linux else (Path("~/.matplotlib").expanduser(),)
    return {"PCVL_PERSISTENT_PATH": (own.user_data_path,), "MPLCONFIGDIR": drawn}


def _open(folder: Path) -> bool:
    """Whether it can be written, or made."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
