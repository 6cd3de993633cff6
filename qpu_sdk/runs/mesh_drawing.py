"""An interferometer drawn with its phases, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from ..photonics.interferometer import ABSENT, Gate
from ..photonics.program import Program

#: Distances, pixels: between columns of gates, between modes, and around.
_COLUMN, _ROW, _LEFT, _TOP = 74, 40, 46, 24
#: Half the width of a gate, and its ends above and below its modes.
_HALF, _OVER = 17, 12
#: Gates of the largest mesh that is drawn; in more nobody finds one.
MOST_GATES = 400


def draw_mesh(program: Program) -> str:
    """Modes as lines from left to right, photons at the left, gates as crossings with their phases in units of pi.

    The ground of a gate is the bluer, the more of the light crosses over in it: ``sin^2(theta/2)`` at a beam splitter,
    ``cos^2(theta/2)`` at a Mach-Zehnder interferometer. Phases of shifters stand on the lines behind their gates; every
    gate says all its numbers when it is pointed at.

    >>> from qpu_sdk.photonics.meshes import BrickwallMesh
    >>> import numpy as np
    >>> drawn = draw_mesh(Program(BrickwallMesh(3), np.full(9, np.pi), (0, 2)))
    >>> drawn.count('class="gate"'), "theta 1.000 pi" in drawn
    (2, True)
    """
    mesh = program.mesh
    columns = 1 + max(column for column, _ in mesh.places)
    width, height = _LEFT + columns * _COLUMN + 26, _TOP + mesh.modes * _ROW
    what = f"{mesh.name} interferometer of {mesh.modes} modes, photons enter modes {program.input_modes}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'role="img" aria-label="{escape(what)}" font-family="system-ui, sans-serif" font-size="10">',
            *_modes(program, width),
            *(
                part
                for (column, _), gate in zip(mesh.places, mesh.gates, strict=True)
                for part in _gate(program, gate, column)
            ),
            "</svg>",
        ]
    )


def _y(mode: int) -> float:
    return _TOP + mode * _ROW


def _modes(program: Program, width: int) -> Iterator[str]:
    """The lines, their numbers, the photons and the phases at the input."""
    for mode in range(program.modes):
        y = _y(mode)
        yield f'<path d="M{_LEFT - 22} {y}H{width - 22}" stroke="var(--soft)" stroke-width="1.2"/>'
        yield f'<text x="{width - 17}" y="{y + 3.5}">{mode}</text><text x="2" y="{y + 3.5}">{mode}</text>'
        if mode in program.input_modes:
            yield f'<circle cx="{_LEFT - 26}" cy="{y}" r="4.5" fill="var(--red)"><title>one photon</title></circle>'
    for mode, slot in enumerate(program.mesh.input_phases):
        yield from _shifter(_LEFT - 6, mode, float(program.phases[slot]), before=True)


def _gate(program: Program, gate: Gate, column: int) -> Iterator[str]:
    """One crossing, its theta and the phase shifters behind it."""
    theta = float(program.phases[gate.theta])
    share = (math.cos if program.mesh.mach_zehnder else math.sin)(theta / 2.0) ** 2
    x, top, bottom = _LEFT + column * _COLUMN + 30, _y(gate.mode), _y(gate.mode + 1)
    told = [f"modes {gate.mode} and {gate.mode + 1}: theta {_pi(theta)} pi, {100 * share:.0f} % crosses"]
    for where, slot in (("upper", gate.phi_top), ("lower", gate.phi_bottom)):
        if slot != ABSENT:
            told.append(f"phase on the {where} mode {_pi(float(program.phases[slot]))} pi")
    left, right, high = x - _HALF, x + _HALF, bottom - top + 2 * _OVER
    yield f'<g class="gate"><title>{escape("; ".join(told))}</title>'
    yield (
        f'<rect x="{left}" y="{top - _OVER}" width="{2 * _HALF}" height="{high}" rx="4" fill="var(--paper)"/>'
        f'<rect x="{left}" y="{top - _OVER}" width="{2 * _HALF}" height="{high}" rx="4" fill="var(--blue)" '
        f'fill-opacity="{0.08 + 0.47 * share:.2f}" stroke="var(--soft)"/>'
    )
    near, far = x - 6, x + 6
    yield (
        f'<path d="M{left} {top}C{near} {top} {far} {bottom} {right} {bottom}M{left} {bottom}C{near} {bottom} {far} '
        f'{top} {right} {top}" fill="none" stroke="var(--ink)" stroke-width="1.2" stroke-opacity=".75"/>'
    )
    yield f'<text x="{x}" y="{top - 3.5}" text-anchor="middle">{_pi(theta, 2)}</text>'
    for mode, slot in ((gate.mode, gate.phi_top), (gate.mode + 1, gate.phi_bottom)):
        if slot != ABSENT:
            yield from _shifter(right + 3, mode, float(program.phases[slot]))
    yield "</g>"


def _shifter(x: float, mode: int, phase: float, *, before: bool = False) -> Iterator[str]:
    """One phase shifter: a dot on its line with its phase above."""
    y = _y(mode)
    place = f'x="{x + (6 if before else 14)}" y="{y - 4}" text-anchor="middle" font-size="9"'
    yield f'<circle cx="{x + 3}" cy="{y}" r="2.6" fill="var(--orange)"/><text {place}>{_pi(phase, 2)}</text>'


def _pi(phase: float, decimals: int = 3) -> str:
    """A phase in units of pi, within one turn; beam splitters turn back after two, which no intensity shows."""
    return f"{phase % math.tau / math.pi:.{decimals}f}"
