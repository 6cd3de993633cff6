"""Clements' decomposition: from a unitary to the phases of a rectangular mesh."""

from __future__ import annotations

import cmath
import math

import numpy as np

from ..arrays import ComplexArray, FloatArray, complexes
from ..errors import ProgramError

#: Largest element of ``|U^dagger U - 1|`` that still counts as unitary.
UNITARY_LIMIT = 1e-8
#: Elements up to this size are rounding errors of a zero: without it, noise would set the phases of idle gates.
_ROUNDING = 1e-14


def checked_unitary(unitary: ComplexArray, modes: int) -> ComplexArray:
    """A complex128 copy of a unitary on ``modes`` modes.

    :returns: ``(M, M)``.
    :raises ProgramError: for another shape, or when it is not unitary to 1e-8.
    """
    copy = complexes(unitary, "an element of the matrix").copy()
    if copy.shape != (modes, modes):
        raise ProgramError(f"a matrix of shape {copy.shape} is no unitary on {modes} modes. Use ({modes}, {modes}).")
    with np.errstate(over="ignore", invalid="ignore"):  # the error below says it better than a warning
        deviation = np.abs(copy.conj().T @ copy - np.eye(modes)).max()
    if not deviation <= UNITARY_LIMIT:  # this way round NaN is refused too
        raise ProgramError(
            f"the matrix is not unitary: |U^dagger U - 1| is {deviation:.1e}, above {UNITARY_LIMIT:.0e}. "
            "Pass the nearest unitary, the polar factor."
        )
    return copy


def null_below_diagonal(u: ComplexArray) -> tuple[FloatArray, FloatArray]:
    """Make ``u`` diagonal in place; theta and phi of the gates taken out, both ``(layer, upper mode)``.

    Antidiagonals are nulled from the lower left corner on: even ones by the gates of layers 0, 1, ... down to
    mode 0, odd ones by the gates of layers M-1, M-2, ... down to the last mode.
    """
    last = len(u) - 1
    theta, phi = np.zeros((2, last + 1, last))
    for antidiagonal in range(last):
        for step in range(antidiagonal + 1):
            if antidiagonal % 2 == 0:  # sides take turns: that packs the gates into M layers, where Reck needs 2M - 3
                layer, mode = step, antidiagonal - step
                angles = _null_left_of_pair(u[:, mode : mode + 2], row=last - step)
            else:
                layer, mode = last - step, last - 1 - antidiagonal + step
                angles = _null_bottom_of_pair(u[mode : mode + 2], column=step)
            theta[layer, mode], phi[layer, mode] = angles
    return theta, phi


def _null_bottom_of_pair(rows: ComplexArray, column: int) -> tuple[float, float]:
    """Multiply two rows by G^dagger, in place, so that ``rows[1, column]`` becomes zero; theta and phi of G."""
    theta, phi = _balance(rows[0, column], rows[1, column])
    gate = np.array([[cmath.exp(1j * phi)], [1.0]]) * _mixer(theta)
    rows[:] = gate.conj().T @ rows
    return theta, phi


def _null_left_of_pair(columns: ComplexArray, row: int) -> tuple[float, float]:
    """Multiply two columns by W^dagger, in place, so that ``columns[row, 0]`` becomes zero; theta and phi of W."""
    theta, phi = _balance(-columns[row, 1], columns[row, 0])
    gate = _mixer(theta) * np.array([1.0, cmath.exp(1j * phi)])
    columns[:] = columns @ gate.conj().T
    return theta, phi


def _balance(x: complex, y: complex) -> tuple[float, float]:
    """Theta in [0, pi] and phi with cos(theta/2) e^{-i phi} x = sin(theta/2) y; theta = pi when both are zero."""
    x, y = (z if abs(z) > _ROUNDING else 0.0 for z in (x, y))
    return math.pi - 2.0 * math.atan2(abs(y), abs(x)), cmath.phase(x) - cmath.phase(y)


def _mixer(theta: float) -> ComplexArray:
    """B(theta) of a Mach-Zehnder interferometer, ``(2, 2)``."""
    c, s = math.cos(theta / 2), math.sin(theta / 2)
    return 1j * cmath.exp(0.5j * theta) * np.array([[s, c], [c, -s]])


def move_to_input(delta: FloatArray, phi: FloatArray) -> FloatArray:
    """Move diag(e^{i delta}) through the gates W, layer by layer, to the input; their ``phi`` becomes that of G.

    :param delta: ``(M,)``; :param phi: ``(layer, upper mode)``, changed in place.
    :returns: phases at the input, ``(M,)``.
    """
    last = len(delta) - 1
    for layer in range(last - 1, -1, -1):
        top = np.arange(layer % 2, last - layer, 2)
        upper, lower, inner = delta[top], delta[top + 1], phi[layer, top]
        phi[layer, top] = upper - lower
        delta[top], delta[top + 1] = lower, lower + inner
    return delta


def embed(unitary: ComplexArray, modes: int) -> ComplexArray:
    """The unitary on the first modes and the identity on the rest, ``(K, K) -> (modes, modes)``.

    :raises ProgramError: when it is no square matrix, or larger than ``modes``.

    >>> embed(np.array([[0, 1], [1, 0]]), 3).real.tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    block = np.asarray(unitary, dtype=np.complex128)
    if block.ndim != 2 or block.shape[0] != block.shape[1]:
        raise ProgramError(f"a matrix of shape {block.shape} is no unitary. Use a square one.")
    if len(block) > modes:
        raise ProgramError(f"a unitary on {len(block)} modes does not fit into {modes}. Use {len(block)} or more.")
    whole = np.eye(modes, dtype=np.complex128)
    whole[: len(block), : len(block)] = block
    return whole
