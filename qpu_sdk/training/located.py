"""Where the code of a target is: found before anything is imported, and written into the run's configuration."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from ..files import user_path
from .config import GIVEN, TargetConfig, TrainingConfig


def located(target: TargetConfig, *folders: Path) -> TargetConfig:
    """The target with the place where its code was found, so that a run finds it again from anywhere.

    :param folders: where to look for it, in this order.
    """
    name, _, function = target.factory.rpartition(":")
    if target.factory == GIVEN or not name:
        return target
    if target.folder is not None:
        own = user_path(target.folder, "target.folder")
        place = next((folder / own for folder in folders if (folder / own).is_dir()), own)
        return target.model_copy(update={"folder": str(place.resolve())})
    for folder in folders:
        if is_file(name):
            file = folder / user_path(name, "the file of the target")
            if file.is_file():
                file = file.resolve()
                return target.model_copy(update={"factory": f"{file.name}:{function}", "folder": str(file.parent)})
        elif _holds(folder, name.partition(".")[0]):
            return target.model_copy(update={"folder": str(folder.resolve())})
    return target


def located_training(training: TrainingConfig, *folders: Path) -> TrainingConfig:
    """The same for a loss and an optimiser of the user's own."""
    own: dict[str, str | None] = {}
    if training.loss is not None:
        own |= _found(training.loss, "loss", training.loss_folder, folders)
    if ":" in training.optimiser:
        own |= _found(training.optimiser, "optimiser", training.optimiser_folder, folders)
    return training.model_copy(update=own)


def _found(name: str, key: str, folder: str | None, folders: Sequence[Path]) -> dict[str, str | None]:
    found = located(TargetConfig(factory=name, folder=folder), *folders)
    return {key: found.factory, f"{key}_folder": found.folder}


def is_file(name: str) -> bool:
    """Whether a factory's module is named by its file.

    >>> is_file("nets/mine.py"), is_file("nets.mine")
    (True, False)
    """
    return name.endswith(".py")


def _holds(folder: Path, top: str) -> bool:
    """Whether Python would find that module in that folder, and not elsewhere before."""
    if not ((folder / f"{top}.py").is_file() or (folder / top).is_dir()) or top in (
        *sys.stdlib_module_names,
        "qpu_sdk",
    ):
        return False
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # such as of a script that runs as __main__
        return top != "__main__"
    if spec is None or top in sys.modules:  # another of that name that was loaded is set aside
        return True
    places = [spec.origin, *(spec.submodule_search_locations or [])]
    return any(place and Path(place).resolve().is_relative_to(folder.resolve()) for place in places)
