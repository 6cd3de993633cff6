"""The work of one cell of a sweep, wherever it is done: here in its folder, or elsewhere, from which its files return.

Between processes and machines go text, numbers and bytes alone.
"""

from __future__ import annotations

import ctypes
import io
import threading
import tomllib
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import final

from ..errors import CheckpointError, ConfigError
from ..training.config import RunConfig
from ..training.config_file import parse_config
from ..versions import versions
from .folder import RunFolder

#: Torch's threads and random numbers are the process's: in one of several threads, cells wait for each other.
_ONE_AT_A_TIME = threading.Lock()
#: Of mallopt in glibc: how much memory that is freed goes back at once, and from which size on it is mapped by itself.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _KEPT, _MAPPED = -1, -3, 1_000_000_000, 32 * 2**20
#: Every file in an archive has this time, so that equal runs travel as equal bytes.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


@final
@dataclass(frozen=True)
class Task:
    """What a worker is told.

    :param name: of the cell's folder.
    :param toml: its configuration, with absolute paths.
    :param versions: of the packages here, which the worker must have too.
    :param folder: where the cell is, on a disk that the worker has; "" for a worker elsewhere, which returns the files.
    :param files: what is there of it already, for a worker elsewhere, which goes on from there.
    :param warm: folder of its warm start, on the same disk.
    :param warm_files: or the files of that folder.
    :param warm_only: True for a warm start itself.
    :param force: as of :func:`~qpu_sdk.runs.train.train`.
    """

    name: str
    toml: str
    versions: Mapping[str, str]
    folder: str = ""
    files: bytes = b""
    warm: str = ""
    warm_files: bytes = b""
    warm_only: bool = False
    force: bool = False


def work(task: Task) -> bytes:
    """Do a cell, or go on with it; gives the files of its folder, unless they are where they belong.

    :raises ConfigError: when the worker has other versions than who sent it.
    """
    check_versions(task.versions)
    config = parse_config(tomllib.loads(task.toml), where=task.name)
    with _ONE_AT_A_TIME:
        if task.folder:
            _do(config, Path(task.folder), Path(task.warm) if task.warm else None, task)
            return b""
        keep_freed_memory()
        with TemporaryDirectory(prefix="qpu-sdk-") as place:
            folder, warm = Path(place) / task.name, Path(place) / ".warm"
            if task.files:
                unpack_folder(task.files, folder)
            if task.warm_files:
                unpack_folder(task.warm_files, warm)
            _do(config, folder, warm if task.warm_files else None, task)
            return pack_folder(folder)


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, where it has glibc.

    Workers of a cluster are told to give it back at once, and to fault it in again at every step takes as long as the
    step of a small network itself.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT)
        libc.mallopt(_MMAP_THRESHOLD, _MAPPED)


def check_versions(wanted: Mapping[str, str]) -> None:
    """Raise :class:`ConfigError` unless this process has these versions: other ones may give other bits."""
    own = versions()
    wrong = [f"{name} {own.get(name, 'nowhere')}" for name in wanted if own.get(name) != wanted[name]]
    if wrong:
        here = [f"{name} {wanted[name]}" for name in wanted if own.get(name) != wanted[name]]
        raise ConfigError(
            f"a worker has {', '.join(wrong)}; the sweep has {', '.join(here)}. Install the same versions everywhere."
        )


def _do(config: RunConfig, folder: Path, warm: Path | None, task: Task) -> None:
    from . import train as runs  # torch and perceval, seconds

    own = RunFolder(folder)
    if task.warm_only:
        runs.warm_up(config, folder)
    elif own.config.is_file():
        runs.resume(folder)
    else:
        runs.train(config, folder, warm=warm, force=task.force)


def pack_folder(folder: Path) -> bytes:
    """All files of a folder as one archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            archive.writestr(zipfile.ZipInfo(name, _NO_TIME), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def unpack_folder(files: bytes, folder: Path) -> None:
    """Write the files of an archive into a new folder.

    :raises CheckpointError: when it is no archive, or a name in it leads elsewhere.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(files)) as archive:
            for name in archive.namelist():
                parts = PurePosixPath(name).parts
                if not parts or name.startswith("/") or ".." in parts:
                    raise CheckpointError(f"a worker sent a file named {name!r}, which is no name. Do not trust it.")
                path = folder.joinpath(*parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"a worker sent no archive of a run ({error}). Do the cell again.") from error
