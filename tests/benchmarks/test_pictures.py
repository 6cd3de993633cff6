"""The pictures of the pages are those that the code draws, and can be read in the light and in the dark."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from .pages import ROOT
from .pictures import FOLDER, PICTURES, controls, events, mesh, standing_alone


def test_the_mesh_is_drawn_as_the_code_draws_it_now() -> None:
    assert (FOLDER / "mesh.svg").read_text(encoding="utf-8") == standing_alone(mesh())


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_a_picture_stands_alone(name: str) -> None:
    """It is well-formed, says what it shows, has a ground of its own in both modes, and loads nothing."""
    text = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.get("aria-label")
    assert "background: var(--paper)" in text
    assert "prefers-color-scheme: dark" in text
    used = set(re.findall(r"var\(--(\w+)", text))
    assert used <= set(re.findall(r"--(\w+):", text))
    assert not re.search(r"(?:href|src)=\"(?!#)|url\((?!#)|<script", text)


def test_the_figures_of_the_pictures_are_those_of_the_results() -> None:
    """Which numbers are drawn; where letters stand is matplotlib's matter."""

    def words(drawn: str) -> list[str]:
        return re.findall(r"<text[^>]*>([^<]*)</text>|<!-- (.*?) -->", drawn)

    for name, drawn in (("controls", controls()), ("events", events())):
        assert words((FOLDER / f"{name}.svg").read_text(encoding="utf-8")) == words(drawn), name


def test_every_picture_is_on_a_page() -> None:
    pages = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts
    )
    assert [name for name in PICTURES if f"pictures/{name}.svg" not in pages] == []
