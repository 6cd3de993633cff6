"""Pictures in folders by class: ``train/CLASS/*.png`` and ``test/CLASS/*.png``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import regular
from .pictures import PICTURE_ENDINGS, brightness, read_picture, seen
from .pixels import AnyArray, Pixels

#: How people call the two parts.
_PARTS = {"train": ("train", "training"), "test": ("test", "testing", "val", "valid", "validation")}
_LAYOUT = "Expected train/CLASS/*.png and test/CLASS/*.png"


def is_class_folder(folder: Path) -> bool:
    """Whether a folder has a part for training with folders in it.

    >>> is_class_folder(Path("nowhere"))
    False
    """
    return any(path.is_dir() for name in _PARTS["train"] for path in folder.glob(f"{name}/*"))


def read_class_folders(folder: Path) -> dict[str, AnyArray]:
    """Pictures of one size, labelled by the folder they are in.

    Classes are numbered in the order of their names; names that are numbers, by these.

    :returns: ``x_train``, ``x_test``, ``(n, C, H, W)`` in [0, 1], grey only if all are, and ``y_train``, ``y_test``,
        ``(n,)``.
    :raises DataError: when a part or a picture is missing, damaged or of another size.
    """
    files = {part: _files(folder, part) for part in _PARTS}
    classes = sorted(
        files["train"], key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
    )
    unknown = sorted(set(files["test"]) - set(classes))
    if unknown:
        raise DataError(f"{folder} has no training pictures of the class {unknown[0]}. {_LAYOUT}.")
    all_files = [path for found in files.values() for paths in found.values() for path in paths]
    colours = not all(_is_grey(path) for path in all_files)
    out: dict[str, AnyArray] = {}
    size: tuple[int, ...] | None = None
    for part, found in files.items():
        images, labels = [], []
        for number, name in enumerate(classes):
            for path in found.get(name, []):
                image = _read(path, colours=colours)
                size = size or image.shape[1:]
                if image.shape[1:] != size:
                    raise DataError(
                        f"{path} is {image.shape[1]} x {image.shape[2]} pixels, the first {size[0]} x {size[1]}. Make "
                        "all pictures one size."
                    )
                images.append(image)
                labels.append(number)
        out[f"x_{part}"], out[f"y_{part}"] = np.stack(images), np.array(labels)
    return out


def _files(folder: Path, part: str) -> dict[str, list[Path]]:
    """The pictures of each class of a part."""
    place = next((folder / name for name in _PARTS[part] if (folder / name).is_dir()), None)
    if place is None:
        raise DataError(f"{folder} has no folder {part}. {_LAYOUT}.")
    found = {
        inner.name: sorted(path for path in inner.iterdir() if path.suffix.lower() in PICTURE_ENDINGS)
        for inner in sorted(place.iterdir())
        if inner.is_dir() and not inner.name.startswith(".")
    }
    empty = next((name for name, paths in found.items() if not paths), None)
    if not found or empty is not None:
        raise DataError(f"{place}{f'/{empty}' if empty else ''} holds no pictures. {_LAYOUT}.")
    return found


def _is_grey(path: Path) -> bool:
    from PIL import Image

    try:
        with regular(path).open("rb") as file, Image.open(file) as picture:
            return picture.mode in ("1", "L", "LA", "La", "F") or picture.mode.startswith("I")
    except Exception:  # told when it is read
        return True


def _read(path: Path, *, colours: bool) -> Pixels:
    try:
        with regular(path).open("rb") as file:
            picture = read_picture(file, str(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). Check the file.") from error
    levels = brightness(seen(picture, str(path), colours=colours))
    return np.repeat(levels, 3, axis=0) if colours and len(levels) == 1 else levels
