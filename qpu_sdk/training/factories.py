"""Factories of networks: ``module:function`` or ``path/to/file.py:function``, imported and called without a trace.

A module is looked for as Python does, then in the folder that the command was given in and in the configuration's.
What it does to torch, such as ``torch.set_default_dtype``, to random states and to the path is undone.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import random
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from ..errors import ConfigError
from ..files import user_path
from ..words import one_line, short
from .config import GIVEN
from .located import is_file

#: Frames of the user's own code that a message names.
_FRAMES = 3
#: Modules that were loaded from the folder of a target, and from which.
_PLACES: dict[str, str] = {}
_OURS = (str(Path(__file__).parents[1]), str(Path(torch.__file__).parent), os.path.dirname(os.__file__))


def open_factory(factory: str, *, seed: int, folder: str | None = None) -> nn.Module:
    """The network that a factory returns.

    :param factory: ``module:function`` or ``path/to/file.py:function``.
    :param seed: of everything random in it; all random states are left as they were.
    :param folder: where the module is, unless it is installed or in the working folder.
    :raises ConfigError: when it cannot be found, raises, wants arguments, or returns no module.
    """
    if factory == GIVEN:
        raise ConfigError("the target was a network passed from Python. Pass it again: train(..., target=NETWORK).")
    name, _, function = factory.rpartition(":")
    with _undone(), _findable(folder, name):
        _seed_all(seed)
        module = _module(factory, name, user_path(folder or ".", "the folder of the target"), what="target")
        build = getattr(module, function, None) if function else None
        if isinstance(build, nn.Module):
            raise ConfigError(f"target {factory!r} is a network, and every run needs a fresh one. Name a function.")
        if not callable(build):
            raise ConfigError(f"target {factory!r} has no such function. Name one that returns a network.")
        _check_no_arguments(build, factory)
        network = _called(build, factory)
    if not isinstance(network, nn.Module):
        found = f"the class {network.__name__}" if isinstance(network, type) else f"a {type(network).__name__}"
        raise ConfigError(f"target {factory!r} returned {found}, not a torch.nn.Module. Return the network itself.")
    return network


def open_function(name: str, *, what: str, folder: str | None = None) -> Callable[..., Any]:
    """A function of the user's own, which is not called.

    :param name: ``module:function`` or ``path/to/file.py:function``.
    :param what: what it is for, in messages.
    :param folder: where the module is, unless it is installed or in the working folder.
    :raises ConfigError: when it cannot be found, or is no function.
    """
    where, _, function = name.rpartition(":")
    with _undone(), _findable(folder, where):
        module = _module(name, where, user_path(folder or ".", f"the folder of the {what}"), what=what)
        found = getattr(module, function, None) if function else None
    if not callable(found):
        raise ConfigError(f"{what} {name!r} has no such function. Name one that is there.")
    return cast("Callable[..., Any]", found)


@contextmanager
def seeded_everywhere(seed: int) -> Iterator[None]:
    """Code of the user's own runs with all random numbers from one seed; whatever it does to torch is undone."""
    with _undone():
        _seed_all(seed)
        yield


def place_of(error: BaseException) -> str:
    """Where in the user's own code an error was raised, as ``; net.py, line 7, in net``; "" when it was elsewhere."""
    frames = [
        f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((*_OURS, "<"))
    ]
    return f"; {one_line(' > '.join(frames[-_FRAMES:]), 240)}" if frames else ""


def what_it_raised(error: BaseException) -> str:
    """What was raised and where, in one line."""
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}{f': {one_line(first, 200)}' if first else ''}{place_of(error)}"


def _module(factory: str, name: str, folder: Path, *, what: str) -> ModuleType:
    if not name:
        raise ConfigError(f"{what} {short(factory)} is not module:function. Use for example mynet:network.")
    file = folder / user_path(name, "the file of the target") if is_file(name) else None
    if file is not None and not file.is_file():
        raise ConfigError(f"{what} {factory!r}: {file} does not exist. Check the path.")
    try:
        return importlib.import_module(name) if file is None else _from_file(file.resolve())
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{what} {factory!r} cannot be imported ({one_line(error)}{place_of(error)}). Give the command in its "
            "folder, or write path/to/file.py:function."
        ) from error
    except (Exception, SystemExit) as error:  # it is the user's code: it may raise anything
        raise ConfigError(f"{what} {factory!r} cannot be imported ({what_it_raised(error)}). Mend it.") from error


def _from_file(path: Path) -> ModuleType:
    """A module of its own, whatever else has its name, with the code that is there now."""
    written = f"{path} {path.stat().st_mtime_ns} {path.stat().st_size}"
    name = f"_target_{path.stem}_{hashlib.sha256(written.encode()).hexdigest()[:8]}"
    if name in sys.modules:  # some code, such as what registers operators, cannot run twice
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _check_no_arguments(build: Callable[..., Any], factory: str) -> None:
    try:
        inspect.signature(build).bind()
    except TypeError as error:
        raise ConfigError(
            f"target {factory!r} wants arguments ({error}); none are given. Name a function without any."
        ) from None
    except ValueError:  # of builtins nothing is known
        return


def _called(build: Callable[..., Any], factory: str) -> Any:
    try:
        return build()
    except (Exception, SystemExit) as error:  # it is the user's code: it may raise anything
        raise ConfigError(f"target {factory!r} raised {what_it_raised(error)}. Mend it.") from error


# -- without a trace ---------------------------------------------------------------------------------------


@contextmanager
def plain_torch() -> Iterator[None]:
    """Torch as it is when it is imported, float32 with gradients on the CPU, whatever was set before or is inside."""
    kind, threads, device = torch.get_default_dtype(), torch.get_num_threads(), torch.get_default_device()
    strict = torch.are_deterministic_algorithms_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(True):
        try:
            _set_torch(torch.float32, torch.device("cpu"), threads, strict)
            yield
        finally:
            _set_torch(kind, device, threads, strict)


def _set_torch(kind: torch.dtype, device: torch.device, threads: int, strict: bool) -> None:
    torch.set_default_dtype(kind)
    if torch.get_default_device() != device:  # None, or every call would be looked through for one
        torch.set_default_device(None if device.type == "cpu" else device)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if torch.are_deterministic_algorithms_enabled() != strict:  # the call imports torch's compiler, for a second or two
        torch.use_deterministic_algorithms(strict)


@contextmanager
def _undone() -> Iterator[None]:
    """Whatever is done inside to torch, to random states and to the working folder is undone."""
    here, states = os.getcwd(), (random.getstate(), np.random.get_state())  # noqa: NPY002  (whoever uses it keeps it)
    with plain_torch(), torch.random.fork_rng(devices=[]):  # the CPU's alone: by default every GPU is asked
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
            os.chdir(here)


def _seed_all(seed: int) -> None:
    """Networks draw from any of these, and have to be the same when a run goes on."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002


@contextmanager
def _findable(folder: str | None, name: str) -> Iterator[None]:
    """The target's folder, or else the working one, at the end of the path: what is installed comes first."""
    here = str(Path(name).expanduser().parent) if is_file(name) else os.getcwd()
    place = str(Path(folder or here).resolve())
    path, aside = list(sys.path), _of_other_places(place, name.partition(".")[0] if folder else "")
    for key in aside:
        del sys.modules[key]
    before = set(sys.modules)
    try:
        sys.path += [found for found in (place, os.getcwd()) if found not in path]
        importlib.invalidate_caches()  # the file may have been written a moment ago
        yield
    finally:
        sys.path[:] = path
        tops = {_top(key) for key in aside}
        for key in [key for key in sys.modules if key not in before and _within(sys.modules[key], place)]:
            if _top(key) in tops:
                del sys.modules[key]
            else:
                _PLACES[key] = place
        sys.modules.update(aside)


def _of_other_places(place: str, top: str) -> dict[str, ModuleType]:
    """What was loaded for targets of other folders, and modules called as this one: they would be taken for its own."""
    loaded = sys.modules.get(top)
    namesake = top if loaded is not None and not _within(loaded, place) else None
    return {k: m for k, m in sys.modules.items() if _PLACES.get(k, place) != place or _top(k) == namesake}


def _top(name: str) -> str:
    return name.partition(".")[0]


def _within(module: ModuleType, folder: str) -> bool:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    return any(place and Path(place).resolve().is_relative_to(folder) for place in places)
