"""The frame of every page: text is escaped, whatever it says, and nothing is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qpu_sdk.rendering.html import bullets, listing, page, paragraph, section, table
from tests.runs.test_page import read

#: Without what HTML cannot hold or reads as another character.
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


@given(texts, texts, st.lists(st.tuples(texts, texts), max_size=3))
def test_every_text_is_read_as_it_was_written(title: str, text: str, rows: list[tuple[str, str]]) -> None:
    parts = [paragraph(text), section(text, table(rows, ("a", "b")), bullets([text])), listing(text)]
    reader = read(page(title, parts, headline=text))
    assert reader.text.count(title) >= 1
    assert reader.text.count(text) >= 5
    assert all(cell in reader.text for row in rows for cell in row)
    assert reader.tags == {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "p",
        "pre",
        "table",
        "ul",
        "li",
    } | {"div", "tr", "th"} | ({"td"} if rows else set())


def test_a_page_without_headline_is_headed_by_its_title() -> None:
    assert read(page("a <b>", [])).text.count("a <b>") == 2
