"""The tutorials are true: every command and every block of Python runs in its order, and prints what the page shows.

``tests/terminal.py`` says how output is compared. A block behind ``<!-- file: NAME -->`` is that file; one behind
``<!-- not run: REASON -->`` is only looked at. The shell and Python share a folder that has ``examples`` and
``calibration``, as a clone has.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .terminal import ROOT, Terminal, as_shown, dialogue
from .test_docs import Block, blocks

pytest.importorskip("uvicorn")
pytest.importorskip("onnxruntime")

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder from which blocks of Python import the files of the page, as ``python`` does in a shell."""
    for folder in ("examples", "calibration"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in sys.modules.keys() - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in TUTORIALS])
def test_a_tutorial_is_walked(page: Path, here: Path) -> None:
    values: dict[str, Any] = {}
    with Terminal(here) as terminal:
        for block in blocks(page):
            if block.file is not None:
                path = here / block.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(terminal.here(block.text), encoding="utf-8")
            elif block.run and block.language == "python":
                exec(compile("\n" * block.line + block.text, str(page), "exec"), values)
            elif block.run and block.language == "console":
                walk(terminal, block, page.name)


def walk(terminal: Terminal, block: Block, name: str) -> None:
    """Give the commands of a block, and look at their output."""
    steps = list(dialogue(block.text))
    for (command, shown), following in zip(steps, [*steps[1:], ("", "")], strict=True):
        output, code = terminal.run(command)
        where = f"{name}:{block.line}: {command}\n{output}"
        assert code == 0 or following[0] == "echo $?", where
        assert not shown or as_shown(terminal.here(shown), output, loose=block.loose), where


def test_every_command_is_behind_a_prompt() -> None:
    for page in TUTORIALS:
        for block in blocks(page):
            assert block.language in ("console", "python", "toml", "{toctree}"), f"{page.name}:{block.line}"
            assert block.language != "console" or block.text.startswith("$ "), f"{page.name}:{block.line}"


def test_other_output_would_be_seen() -> None:
    assert as_shown("a 1.5 b\n...\n", "a  22 b\nand more\n", loose=True)
    assert not as_shown("a 1.5 b\n", "a 22 c\n", loose=True)
    assert not as_shown("a 1.5 b\n", "a 1.6 b\n", loose=False)
    assert not as_shown("one\n", "one\ntwo\n", loose=False)
