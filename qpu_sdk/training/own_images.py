"""Images that a function of the user's own gives: ``module:function`` or ``path/to/file.py:function``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DataError
from .idx import IDX_FILES
from .labels import labels_array
from .located import is_file
from .pixels import AnyArray, as_array, stacked

_NAMES = ("x_train", "y_train", "x_test", "y_test")
_SETS = ("training set", "test set")


def names_code(source: str) -> bool:
    """Whether a source is a function: reading it runs code.

    >>> [names_code(source) for source in ("mine.py:images", "lab.data:images", "mnist-5k", "a/b.npz")]
    [True, True, False, False]
    """
    where, _, function = source.rpartition(":")
    module = bool(where) and all(part.isidentifier() for part in where.split("."))
    return function.isidentifier() and (module or is_file(where)) and not Path(source).exists()


def absolute_code(source: str) -> str:
    """The function named by its file, where that is in the working folder, so that a run finds it from anywhere."""
    where, _, function = source.rpartition(":")
    file = Path(where).expanduser() if is_file(where) else Path(*where.split(".")).with_suffix(".py")
    return f"{file.resolve()}:{function}" if file.is_file() else source


def read_own(source: str) -> dict[str, AnyArray]:
    """What the function returns: four arrays, a dictionary of them, or a training and a test set of torch.

    It is called under fixed random numbers, so that it gives the same images when a run goes on.

    :returns: ``x_train``, ``x_test``, ``(n, ...)``, and ``y_train``, ``y_test``, ``(n, ...)``.
    :raises DataError: when it cannot be found, raises, or returns something else.
    """
    from .factories import open_function, seeded_everywhere, what_it_raised

    try:
        function = open_function(source, what="data source")
    except ConfigError as error:
        raise DataError(str(error)) from error
    try:
        with seeded_everywhere(0):
            found = function()
    except (Exception, SystemExit) as error:  # it is the user's code: it may raise anything
        raise DataError(f"data source {source!r} raised {what_it_raised(error)}. Mend it.") from error
    return _arrays(found, source)


def _arrays(found: Any, source: str) -> dict[str, AnyArray]:
    if isinstance(found, Mapping) and set(IDX_FILES) <= set(found):
        found = tuple(found[name] for name in _NAMES)
    if isinstance(found, tuple | list) and len(found) == 2:
        sets = [stacked(part, f"{what} of {source}", classes=False) for part, what in zip(found, _SETS, strict=True)]
        found = (*sets[0], *sets[1])
    if not isinstance(found, tuple | list) or len(found) != 4:
        what = f"{len(found)} things" if isinstance(found, tuple | list) else f"a {type(found).__name__}"
        raise DataError(
            f"data source {source!r} returned {what}. Return x_train, y_train, x_test, y_test, or two datasets of "
            "torch."
        )
    return {
        name: (labels_array if name.startswith("y") else as_array)(part, f"{name} of {source}")
        for name, part in zip(_NAMES, found, strict=True)
    }
