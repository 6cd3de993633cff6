"""Files and what stands in them: paths of users, JSON in and out, writing whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .errors import CheckpointError, ConfigError
from .words import short


def user_path(path: object, what: str) -> Path:
    """A path as a user gives it; ``~`` is the home folder.

    :param what: it is the path of, for messages.
    :raises ConfigError: when it is no path.

    >>> user_path("runs/first", "out")
    PosixPath('runs/first')
    """
    if not isinstance(path, str | Path) or not str(path).strip() or "\0" in str(path):
        raise ConfigError(f"{what} is {short(path)}, which is no path. Give text such as 'runs/first', or a Path.")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{what} is {short(path)}, and there is no such home folder. Write it out.") from None


#: Bytes of the largest file that is read; more would not fit into memory once unpacked.
LARGEST = 8 * 2**30


def regular(path: Path) -> Path:
    """The path, once it is sure that reading it ends: a pipe may never be written to, and ``/dev/zero`` has no end.

    :raises OSError: when it is no regular file, or a larger one than :data:`LARGEST`; :class:`IsADirectoryError` for a
        folder.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    if found.st_size > LARGEST:
        raise OSError(errno.EFBIG, f"it has {found.st_size:,} bytes, {LARGEST:,} are read at most", str(path))
    return path


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An ``object_pairs_hook`` for JSON that refuses what stands twice; raises :class:`ValueError`."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(k for k in keys if keys.count(k) > 1)} stands there twice")
    return found


def check_schema(text: str, path: Path, known: int) -> None:
    """Raise :class:`CheckpointError` for a JSON object of another schema version, which is not damaged for that.

    :param known: the version that is read; what has none is of that one.
    """
    with suppress(ValueError, RecursionError):  # what is no JSON is damaged, which its reader says
        found = json.loads(text)
        version = found.get("schema_version", known) if isinstance(found, dict) else known
        if isinstance(version, int) and version != known:
            way = "Update qpu_sdk" if version > known else "Restore it from a copy"
            raise CheckpointError(f"{path} has schema version {version}; this SDK reads {known}. {way}.")


def first_problem(error: ValueError | RecursionError) -> str:
    """What is wrong and at which key, in one line of printable characters."""
    text = str(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        text = f"{where}: {first['msg']}" if where else first["msg"]
    text = re.sub(r"[^\x20-\x7e]+", " ", text.removeprefix("Value error, ")).replace(": Value error, ", ": ")
    return text.strip().rstrip(".")[:240]


def pretty_json(value: object, indent: int = 0, before: int = 0) -> str:
    """JSON in which what fits in a line is one line."""
    compact = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if len(compact) + indent + before < 118 or not isinstance(value, dict | list) or not value:
        return compact
    pad = " " * (indent + 1)
    if isinstance(value, list):
        items = [pad + pretty_json(item, indent + 1) for item in value]
        return "[\n" + ",\n".join(items) + "\n" + " " * indent + "]"
    keys = {key: json.dumps(key, ensure_ascii=False) + ": " for key in value}
    items = [pad + keys[key] + pretty_json(item, indent + 1, len(keys[key])) for key, item in value.items()]
    return "{\n" + ",\n".join(items) + "\n" + " " * indent + "}"


def write_atomic(path: str | Path, content: bytes | str) -> None:
    """Write to a temporary name in the same folder, fsync, rename over ``path``, and fsync the folder.

    :raises OSError: when the disk does not take it; ``path`` is then as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # the same folder: a rename stays on one disk
    data = content.encode() if isinstance(content, str) else content
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else the new name may reach the disk before its content
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_new(path: Path, content: bytes | str) -> None:
    """:func:`write_atomic` that never replaces a file, not even one that another process makes meanwhile.

    :raises FileExistsError: when there is one of that name.
    :raises OSError: when the disk does not take it; nothing is there then.
    """
    hidden = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")  # of one writer alone
    try:
        write_atomic(hidden, content)
        take_name(hidden, path)
    finally:
        hidden.unlink(missing_ok=True)
    sync_folder(path.parent)


def take_name(hidden: Path, path: Path) -> None:
    """Give a file a name that nobody has; raises :class:`FileExistsError` when somebody does."""
    try:
        os.link(hidden, path)  # a rename would replace what another process just wrote
    except FileExistsError:
        raise
    except OSError:  # USB sticks, some network drives and phones know no second name: reserve it, then fill it
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            os.replace(hidden, path)
        except BaseException:
            path.unlink()
            raise


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where its file system knows how: content without a name is lost."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
