"""Files of programs, ours and Perceval's circuits, and whatever else holds programs: counts, runs, unitaries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import complexes
from ..errors import DataError, ProgramError
from ..files import user_path
from ..photonics.inputs import Inputs, modes_of_inputs
from ..photonics.meshes import RectangularMesh
from ..photonics.program import Program
from ..words import short
from .counts_files import json_lines, json_of, load_counts, of_lines, text_of
from .numpy_files import arrays_of
from .perceval_jobs import PERCEVAL, perceval_program
from .run_counts import journal_of

_KNOWN = (
    "Program.to_json(), one a line or a list; a circuit of Perceval as text; a .npy of unitaries; or counts that hold "
    "their programs"
)
_LARGEST_CIRCUIT = 64


def load_programs(path: str | Path, *, inputs: Inputs | None = None) -> list[Program]:
    """Read programs, in order, from a file or a folder of a run.

    Read are: :meth:`Program.to_json`, one, a list or one a line; circuits and experiments of Perceval as
    ``:PCVL:ACircuit:...``, likewise; ``.npy`` of unitaries ``(M, M)`` or ``(S, M, M)``, ``.npz`` with ``unitaries`` and
    perhaps ``inputs``; files of counts, and runs, whose counts hold their programs.

    :param inputs: where photons enter, for circuits and unitaries, which do not say so; as of :class:`Program`.
    :raises DataError: when the file cannot be read; says what it looked like and what is wrong.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder) / "circuits.npy", np.eye(3))
    ...     [program] = load_programs(Path(folder) / "circuits.npy", inputs=(0, 2))
    >>> program.modes, program.input_modes
    (3, (0, 2))
    """
    place = user_path(path, "programs")
    if place.suffix.lower() in (".npy", ".npz"):
        found = _of_arrays(place, inputs)
    elif place.is_dir() or journal_of(place) is not None:
        found = _of_counts(place)
    else:
        text = text_of(place, "programs from ").strip()
        if not text:
            raise DataError(f"{place}: the file is empty. Expected {_KNOWN}.")
        lines = [text] if text.startswith(PERCEVAL) else json_lines(text)
        if lines is None and not _of_programs(text):
            return _fitting(_of_counts(place), inputs, place)
        found = of_lines(place, lines or [text], lambda line: _of_text(line, inputs, place))
        if None in found:
            found = _of_counts(place)
    return _fitting(found, inputs, place)


def _of_programs(text: str) -> bool:
    """Whether a text that is no JSON was meant for programs: a table of counts would name outcomes."""
    return '"mesh"' in text[:1000] or ":PCVL:ACircuit" in text[:1000]


def _of_text(text: str, inputs: Inputs | None, path: Path) -> list[Program | None]:
    """Programs of a line; None for one of counts, whose file is read as such."""
    if text.startswith(PERCEVAL):
        return [perceval_program(text, inputs)]
    value = json_of(text)
    if value == []:
        raise DataError(f"the list is empty. Expected {_KNOWN}.")
    return [_of_value(one, inputs) for one in (value if isinstance(value, list) else [value])]


def _of_value(value: Any, inputs: Inputs | None) -> Program | None:
    if isinstance(value, str) and value.startswith(PERCEVAL):
        return perceval_program(value, inputs)
    if isinstance(value, dict) and "mesh" in value:
        return Program.from_json(json.dumps(value))
    if isinstance(value, dict) and value:
        return None
    raise DataError(f"{short(value)} is no program. Expected {_KNOWN}.")


def _of_counts(path: Path) -> list[Program]:
    counts = load_counts(path, photons=1)
    missing = sum(one.program is None for one in counts)
    if missing:
        older = ", as in files and runs of older versions" if missing == len(counts) else ""
        raise DataError(
            f"{path} holds counts, and {missing} of {len(counts)} without their program{older}. Give a file of "
            "programs."
        )
    return [one.program for one in counts if one.program is not None]


def _of_arrays(path: Path, inputs: Inputs | None) -> list[Program]:
    arrays = arrays_of(path)
    unitaries = arrays.get("", arrays.get("unitaries"))
    if unitaries is None:
        raise DataError(f"{path}: its arrays are {', '.join(arrays) or 'none'}. Expected unitaries, and inputs.")
    if inputs is None:
        inputs = _inputs_of(arrays)
    try:
        return _of_unitaries(unitaries, inputs)
    except (DataError, ProgramError) as error:
        raise DataError(f"{path} looks like unitaries: {error}") from error


def _inputs_of(arrays: Mapping[str, npt.NDArray[Any]]) -> Inputs | None:
    found = arrays.get("inputs")
    return None if found is None else tuple(np.atleast_1d(found).tolist())


def _of_unitaries(array: npt.NDArray[Any], inputs: Inputs | None) -> list[Program]:
    if array.ndim not in (2, 3) or array.shape[-1] != array.shape[-2] or not array.size:
        raise DataError(f"an array of shape {array.shape}. Give unitaries, (M, M) or (S, M, M).")
    if array.shape[-1] > _LARGEST_CIRCUIT:
        raise DataError(f"circuits of {array.shape[-1]} modes; {_LARGEST_CIRCUIT} are read at most.")
    if inputs is None:
        raise DataError("unitaries do not say where photons enter. Give inputs=(0, 2) (--inputs 0,2).")
    unitaries = complexes(array, "an element of a unitary", DataError).reshape(-1, *array.shape[-2:])
    if not np.isfinite(unitaries).all():
        raise DataError("an element is not finite. Check the unitaries.")
    mesh = RectangularMesh(array.shape[-1])
    found = []
    for number, unitary in enumerate(unitaries, start=1):
        try:
            found.append(Program(mesh, mesh.phases_of(unitary), inputs))
        except ProgramError as error:
            raise DataError(f"unitary {number} of {len(unitaries)}: {error}") from error
    return found


def _fitting(programs: list[Program], inputs: Inputs | None, path: Path) -> list[Program]:
    """The programs, when photons enter where they should."""
    for number, program in enumerate(programs, start=1):
        if inputs is None:
            break
        try:
            wanted = tuple(sorted(modes_of_inputs(inputs, program.modes)))
        except ProgramError as error:
            raise DataError(f"{path}: {error}") from error
        if wanted != program.input_modes:
            raise DataError(
                f"{path}, program {number}: its photons enter {list(program.input_modes)}, not {list(wanted)}. "
                "Leave inputs (--inputs) out."
            )
    return programs
