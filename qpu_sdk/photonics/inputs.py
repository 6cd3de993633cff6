"""Where photons enter: every way to say it, read in one place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..arrays import whole
from ..errors import ProgramError
from ..words import short

if TYPE_CHECKING:
    import perceval

#: How a caller may say where photons enter; see :class:`~qpu_sdk.photonics.program.Program`.
Inputs: TypeAlias = "Sequence[int] | npt.NDArray[np.integer[Any]] | str | perceval.BasicState"

_FOCK_TEXT = re.compile(r"\|\s*\d+(\s*,\s*\d+)*\s*>")


def is_perceval(found: object) -> bool:
    """Whether an object is one of Perceval's, asked without importing it.

    >>> is_perceval((0, 1))
    False
    """
    return any(base.__module__.partition(".")[0] in ("perceval", "exqalibur") for base in type(found).__mro__)


def fock_text(text: str) -> tuple[int, ...]:
    """Photons per mode from Perceval's notation, ``"|1,0,1>"``; no other text is understood, none is evaluated.

    :raises ProgramError: for anything else.

    >>> fock_text("|1,0,1>")
    (1, 0, 1)
    """
    if not _FOCK_TEXT.fullmatch(text.strip()):
        raise ProgramError(
            f"input {short(text, 40)} is no Fock state. Write for example '|1,0,1>', [1, 0, 1] or modes."
        )
    return tuple(int(n) for n in text.strip()[1:-1].split(","))


def photons_per_mode(state: Any) -> tuple[int, ...]:
    """Photons per mode of a ``perceval.BasicState``, ``(M,)``.

    :raises ProgramError: for a polarised or annotated state, a superposition or a mixture.
    """
    import perceval as pcvl

    if isinstance(state, pcvl.FockState):
        return tuple(int(n) for n in state)
    if isinstance(state, pcvl.AnnotatedFockState):
        kind = "polarised" if state.has_polarization else "annotated"
        raise ProgramError(f"the input state {state} is {kind}. Use a plain Fock state, such as |1,0,1>.")
    raise ProgramError(f"the input state is a {type(state).__name__}. Use one plain Fock state, such as |1,0,1>.")


def occupied_modes(modes: int, photons: tuple[int, ...]) -> tuple[int, ...]:
    """The modes of a Fock state of single photons.

    :param photons: of each mode, ``(M,)``.
    :raises ProgramError: when they are of another number of modes, or more than one enters a mode.

    >>> occupied_modes(3, (1, 0, 1))
    (0, 2)
    """
    if len(photons) != modes:
        raise ProgramError(f"the input state has {len(photons)} modes, the circuit {modes}. Give one number a mode.")
    if max(photons) > 1:
        mode = photons.index(max(photons))
        raise ProgramError(f"{photons[mode]} photons enter mode {mode}. Send at most one photon into a mode.")
    return tuple(mode for mode, n in enumerate(photons) if n)


def modes_of_inputs(inputs: Inputs, modes: int) -> tuple[int, ...]:
    """The modes that single photons enter, in the order in which they are given; not yet looked at for repetitions.

    Text and Perceval's states are Fock states. A list or an array as long as there are modes is one too if it holds
    only 0 and 1; so is a tuple that names a mode twice if read otherwise. Everything else names modes.

    :param modes: M.
    :raises ProgramError: for what is none of these, and for a list that may be meant either way.

    >>> modes_of_inputs([1, 0, 1], 3), modes_of_inputs((0, 1), 2), modes_of_inputs([0, 1], 2)
    ((0, 2), (0, 1), (1,))
    """
    if isinstance(inputs, str):
        return occupied_modes(modes, fock_text(inputs))
    if is_perceval(inputs):
        return occupied_modes(modes, photons_per_mode(inputs))
    try:
        numbers = tuple(whole(n, "an input") for n in inputs)
    except (TypeError, ProgramError):
        raise ProgramError(f"inputs {short(inputs)} are no whole numbers. Give modes, such as (0, 2).") from None
    listed = isinstance(inputs, list | np.ndarray)
    if len(numbers) != modes:
        return numbers
    if set(numbers) <= {0, 1}:
        # Two modes alone could be meant by (0, 1) or (1, 0) either way: a tuple is modes, a list is a state.
        return occupied_modes(modes, numbers) if listed or len(set(numbers)) < len(numbers) else numbers
    if listed and min(numbers) >= 0:
        raise ProgramError(
            f"inputs {list(numbers)} on {modes} modes may be modes or numbers of photons. Write modes as a tuple, or "
            "at most one photon a mode."
        )
    return numbers
