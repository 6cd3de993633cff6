"""A program as Perceval draws it: for a terminal, a notebook, a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, final

from ..errors import ConfigError, DataError
from ..files import user_path, write_atomic
from ..markup import Html, notebook_figure
from ..words import short
from .turns import LOCK

if TYPE_CHECKING:
    import perceval

#: Perceval's own colours, and those of whatever the drawing stands in: black is what people write in there.
_COLOURS = {'"black"': '"currentColor"', '"darkred"': '"#c0504d"', '"thistle"': '"#b08cb8"', '"lightgray"': '"#9a9a9a"'}
#: Of an SVG: with Perceval's own its text is as high as six pixels.
_ZOOM = 1.6
#: What a drawing can be written as, and suffixes of files with it.
DRAWN_AS = ("text", "svg", "html", "latex")
SUFFIXES = {".txt": "text", ".svg": "svg", ".html": "html", ".tex": "latex"}


@final
@dataclass(frozen=True, eq=False, repr=False)
class Drawing:
    """A circuit and its photons drawn by Perceval: prints itself in a terminal, shows itself in a notebook.

    Nothing is opened, and nobody's figures are touched.

    :param circuit: of components with values.
    :param state: where photons enter.
    :param format: of :func:`str`: ``"text"``, ``"svg"``, ``"html"`` or ``"latex"``.

    >>> import perceval as pcvl
    >>> print(Drawing(pcvl.Circuit(2) // pcvl.BS(0.5) // pcvl.PS(1.0), pcvl.BasicState([1, 0])))
    photons enter modes 0
        ╭─────────╮╭────────╮
    0:──┤BS.Rx    ├┤PS phi=1├──:0 (depth 2)
        │theta=0.5│╰────────╯
        │         │
    1:──┤         ├────────────:1 (depth 1)
        ╰─────────╯
    """

    circuit: perceval.Circuit
    state: perceval.BasicState
    format: str = "text"

    def __post_init__(self) -> None:
        if self.format not in DRAWN_AS:
            raise ConfigError(f"format is {short(self.format)}. Use one of {', '.join(DRAWN_AS)}.")

    @property
    def _entered(self) -> str:
        modes = [mode for mode, photons in enumerate(self.state) if photons]
        return f"photons enter modes {', '.join(map(str, modes))}"

    @cached_property
    def text(self) -> str:
        """For a terminal; a line is as wide as the circuit is long."""
        lines = [line.rstrip() for line in self._drawn("TEXT").splitlines()]
        return "\n".join([self._entered, *filter(None, lines)])

    @cached_property
    def svg(self) -> str:
        """An ``<svg>`` element, in the colours of whatever it stands in."""
        found = self._drawn("HTML")
        for own, others in _COLOURS.items():
            found = found.replace(own, others)
        opening = f'<svg role="img" aria-label="interferometer of {self.circuit.m} modes, {self._entered}" '
        return re.sub(r"^.*?<svg", opening + 'fill="currentColor"', found, count=1, flags=re.DOTALL)

    @property
    def html(self) -> Html:
        """The same in a box that scrolls."""
        return notebook_figure(self.svg, self._entered)

    @cached_property
    def latex(self) -> str:
        """A document with a TikZ picture."""
        return self._drawn("LATEX")

    def _drawn(self, how: str) -> str:
        import perceval as pcvl
        from perceval.rendering.pdisplay import pdisplay_experiment

        whole = pcvl.Experiment(self.circuit.m)
        for modes, component in self.circuit:  # added as it is, Perceval shows it as one closed box
            whole.add(modes, component)
        with LOCK:
            whole.with_input(self.state)
        # Looking for nice fractions in trained phases takes seconds a circuit and finds none.
        found = pdisplay_experiment(whole, pcvl.Format[how], nsimplify=False, render_size=_ZOOM)
        return str(found.value.as_svg() if how == "HTML" else found)

    def __str__(self) -> str:
        return str(getattr(self, self.format))

    __repr__ = __str__

    def _repr_html_(self) -> Html:
        return self.html

    def save(self, path: str | Path) -> None:
        """Write the drawing to a file, text, SVG, HTML or LaTeX by its suffix
        ``.txt``, ``.svg``, ``.html`` or ``.tex``.

        :raises DataError: when the suffix is another, or the file cannot be written.
        """
        path = user_path(path, "the path of a drawing")
        kind = SUFFIXES.get(path.suffix.lower())
        if kind is None:
            suffix = path.suffix or "no suffix"
            raise DataError(f"cannot draw {path}: {suffix} is no kind of drawing. Use {', '.join(SUFFIXES)}.")
        try:
            write_atomic(path, f"{getattr(self, kind)}\n")
        except (OSError, ValueError) as error:  # ValueError: a path that no system can have
            why = getattr(error, "strerror", None) or error
            raise DataError(f"cannot write {path} ({why}). Choose another place.") from error
