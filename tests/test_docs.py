"""What the pages say is true: their Python runs, their commands parse, and what they name is there.

The Python blocks of a page run in order, in one namespace and an empty folder with ``examples/`` and ``calibration/``.
``x_train, y_train, x_test, y_test`` are there: small images of stripes. A block behind ``<!-- not run: REASON -->`` is
only looked at.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

import qpu_sdk as qs
from qpu_sdk import errors
from qpu_sdk.cli.app import app
from qpu_sdk.mitigation.methods import METHODS
from qpu_sdk.runs.cells import cells_of
from qpu_sdk.training.config_file import load_config, parse_config

from .benchmarks.configuration import tables
from .places import PACKAGE, ROOT
from .test_front_door import stripes

REFERENCE = ROOT / "docs" / "reference"
ERROR_PAGES = set((REFERENCE / "errors").glob("[A-Z]*.md"))
PAGES = [ROOT / "README.md", *(ROOT / folder / "README.md" for folder in ("calibration", "examples"))]
PAGES += sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
#: Whatever may name a page: code, configurations, pages, and files of the project's own.
NAMING = [ROOT / "Makefile", ROOT / "pyproject.toml", *sorted(ROOT.glob("*.md")), *PAGES[1:]]
NAMING += sorted(path for folder in ("qpu_sdk", "tests", "examples") for path in (ROOT / folder).rglob("*.*"))
#: Walked by test_tutorials.py, in a shell.
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
#: Modules of ours that a block may import beside the front door.
EXTENSIONS = {"qpu_sdk.errors", "qpu_sdk.devices.base", "qpu_sdk.devices.conformance", "qpu_sdk.mitigation.methods"}
FOLDERS = "|".join(("qpu_sdk", "docs", "examples", "tests", "calibration"))
NOT_RUN = re.compile(r"<!-- not run: \S.* -->")
FILE = re.compile(r"<!-- file: ([\w./-]+) -->")
FIGURES_DIFFER = "<!-- figures differ -->"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, whether it is run, is a file, and shows numbers that differ."""

    line: int
    language: str
    text: str
    run: bool
    file: str | None
    loose: bool


def blocks(page: Path) -> Iterator[Block]:
    found: list[str] | None = None
    language, begun, before = "", 0, ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.startswith("```"):
            if found is not None:
                found.append(line)
            elif line:
                before = line
        elif found is None:
            found, language, begun = [], line.strip("`"), number
        else:
            text, run, file = "\n".join(found) + "\n", NOT_RUN.fullmatch(before) is None, FILE.fullmatch(before)
            yield Block(begun, language, text, run, file[1] if file else None, before == FIGURES_DIFFER)
            found, before = None, ""
    assert found is None, f"{page.name}: the block of line {begun} has no end"


def inline(page: Path) -> list[str]:
    """What stands between single backticks outside blocks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", text)]


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command line, blocks and backticks alike."""
    for block in blocks(page):
        if block.language in ("", "sh", "bash", "console"):
            for line in block.text.replace("\\\n", " ").splitlines():
                if block.language != "console":
                    yield shlex.split(line, comments=True)
                elif line.startswith("$ "):  # else it is output
                    yield first_command(line.removeprefix("$ "))
    for text in inline(page):
        if text.startswith(("qpu-sdk ", "make ")):
            yield shlex.split(text)


def first_command(line: str) -> list[str]:
    """The words of a line of a shell up to the first of its signs, such as > and &."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    return list(itertools.takewhile(lambda word: not set(word) <= set("();<>|&"), words))


def named(pages: list[Path]) -> list[Any]:
    return [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in pages]


every_page = pytest.mark.parametrize("page", named(PAGES))
with_python = pytest.mark.parametrize(
    "page", named([page for page in PAGES if any(block.language == "python" for block in blocks(page))])
)


# -- Python ------------------------------------------------------------------------------------------------


@with_python
def test_python_imports_and_uses_what_is_there(page: Path) -> None:
    own = {Path(block.file).stem for block in blocks(page) if block.file is not None}
    for block in blocks(page):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text, f"{page.name}:{block.line}")):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    others = not block.run or alias.name in own  # may be a package of somebody else's, or of the page
                    if not others or alias.name.startswith("qpu_sdk"):
                        importlib.import_module(alias.name)
                    assert not alias.name.startswith("qpu_sdk") or (alias.name, alias.asname) == ("qpu_sdk", "qs")
            elif isinstance(node, ast.ImportFrom):
                assert node.module is not None
                assert node.module.partition(".")[0] != "qpu_sdk" or node.module in EXTENSIONS
                module = importlib.import_module(node.module)
                assert [a.name for a in node.names if not hasattr(module, a.name)] == []
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "qs":
                assert node.attr in qs.__all__, f"{page.name}:{block.line}: qs.{node.attr}"


@pytest.mark.parametrize("page", [page for page in with_python.args[1] if page.values[0] not in TUTORIALS])
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("examples", "calibration"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", "rehearsal")
    (x_train, y_train), (x_test, y_test) = stripes(200, 1), stripes(100, 2)
    values: dict[str, Any] = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    known = set(METHODS)  # a page may add one
    try:
        for block in blocks(page):
            if block.language == "python" and block.run and page not in ERROR_PAGES:
                code = compile("\n" * block.line + block.text, str(page), "exec")
                exec(code, values)
    finally:
        for name in METHODS.keys() - known:
            del METHODS[name]


@pytest.mark.parametrize("page", named(sorted(ERROR_PAGES)))
def test_the_example_of_an_error_is_what_is_raised(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``...`` stands for what differs from time to time, as the port of the emulated cloud."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", "rehearsal")
    example, printed = (block for block in blocks(page) if block.language in ("python", "text"))
    with pytest.raises(getattr(errors, page.stem)) as raised:
        exec(compile(example.text, str(page), "exec"), {})
    line = f"{type(raised.value).__name__}: {raised.value}\n"
    pattern = re.escape(printed.text).replace(re.escape("..."), ".*")
    assert re.fullmatch(pattern, line), line


def test_every_error_has_a_page() -> None:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, qs.QPUError)}
    assert {page.stem for page in ERROR_PAGES} == kinds
    text = (REFERENCE / "errors" / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\|[ -]*\[(\w+)\]\(\1\.md\) \|", text, re.MULTILINE)) == kinds
    for page in ERROR_PAGES:
        assert f".. autoclass:: qpu_sdk.errors.{page.stem}\n" in page.read_text(encoding="utf-8")


# -- commands and configurations ---------------------------------------------------------------------------


def parsed(words: list[str]) -> dict[str, Any]:
    """The values of a command's parameters by its own parser, which raises when it does not know one; nothing runs.

    A command that is only named, without arguments, has to be there.
    """
    command: Any = typer.main.get_command(app)
    own = {option for parameter in command.params for option in parameter.opts}  # of the program itself
    words = [word for word in words if word not in own | {"--help"}]
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"no such command: {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return dict(command.make_context(command.name, words).params) if words else {}


@every_page
def test_commands_are_understood(page: Path) -> None:
    for words in commands(page):
        if "qpu-sdk" in words:
            values = parsed(words[words.index("qpu-sdk") + 1 :])
            path = values.get("config")
            ours = path is not None and path.parts[0] == "examples"
            load_config(ROOT / path if ours else None, overrides=list(values.get("set_") or []))


def test_a_wrong_command_would_be_seen() -> None:
    for words in (["trane"], ["train", "--stepps", "3"], ["mitigate", "--seed", "1"], ["jobs", "lose"]):
        with pytest.raises(Exception, match=r"(?i)no such|missing|unexpected"):
            parsed(words)


def both(parameter: Any) -> list[str]:
    """``--invert`` and ``--no-invert``."""
    return [*parameter.opts, *parameter.secondary_opts]


@every_page
def test_options_and_targets_of_make_are_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    asked = {words[1] for words in commands(page) if words[:1] == ["make"]}
    assert asked <= targets
    known = {option for command in every_command() for parameter in command.params for option in both(parameter)}
    options = {match[0] for text in inline(page) if (match := re.match(r"--[a-z][a-z-]*", text))}
    assert options <= known | {"--help"}


def every_command() -> Iterator[Any]:
    waiting: list[Any] = [typer.main.get_command(app)]
    while waiting:
        command = waiting.pop()
        yield command
        waiting += getattr(command, "commands", {}).values()


@every_page
def test_configurations_are_understood(page: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for block in blocks(page):
        if block.language == "toml":
            tree = tomllib.loads(block.text)
            if "cell" in tree:
                (tmp_path / "cells.toml").write_text(block.text, encoding="utf-8")
                assert len(cells_of(tmp_path / "cells.toml")) >= len(tree["cell"])
            elif not {"project", "fault"} & set(tree):
                parse_config(tree, where=f"{page.name}:{block.line}")


@every_page
def test_local_devices_can_be_opened(page: Path) -> None:
    for name in set(re.findall(r"local:slos(?:\?[\w=:.,&]*\w)?", page.read_text(encoding="utf-8"))):
        assert qs.open_device(name, seed=0).spec.name


# -- what the pages name -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", named([*PAGES, ROOT / "CHANGELOG.md"]))
def test_files_and_modules_are_there(page: Path) -> None:
    for text in inline(page):
        if re.fullmatch(rf"(?:{FOLDERS})/[\w./*-]*", text):
            root = PACKAGE.parent if text.startswith("qpu_sdk/") else ROOT
            assert any(root.glob(text)) if "*" in text else (root / text).exists(), text
        elif re.fullmatch(r"qpu_sdk(?:\.\w+)+", text):
            assert resolves(text), text
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def test_every_path_below_docs_that_anything_names_is_there() -> None:
    """In messages of code, comments of configurations, commands and text alike; ``*`` stands for any name."""
    found, lost = 0, []
    for path in NAMING:
        if path.suffix in {".py", ".toml", ".md", ".html", ".cff"} or path.name == "Makefile":
            for named_path in re.findall(r"\bdocs/[\w./*-]+\.(?:md|json|svg|py)\b", path.read_text(encoding="utf-8")):
                found += 1
                if not any(ROOT.glob(named_path)):
                    lost.append(f"{path.relative_to(ROOT)}: {named_path}")
    assert lost == []
    assert found > 50


def test_headings_that_pages_outside_docs_point_at_are_there() -> None:
    """Links within docs/ are Sphinx's to check."""
    for page in [*sorted(ROOT.glob("*.md")), *PAGES[1:3]]:
        for target, heading in re.findall(r"\]\(([^)#\s:]+\.md)#([^)\s]+)\)", page.read_text(encoding="utf-8")):
            text = (page.parent / target).read_text(encoding="utf-8")
            titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, target


def resolves(dotted: str) -> bool:
    """Whether it is a module, or a name of one."""
    try:
        importlib.import_module(dotted)
    except ModuleNotFoundError:
        module, _, name = dotted.rpartition(".")
        return bool(module) and hasattr(importlib.import_module(module), name)
    return True


def test_the_reference_has_every_name_once() -> None:
    [listed] = re.findall(r"^:hidden:$(.*?)^```$", (REFERENCE / "index.md").read_text(encoding="utf-8"), re.M | re.S)
    text = "\n".join((REFERENCE / f"{page}.md").read_text(encoding="utf-8") for page in listed.split())
    names = re.findall(r"^\.\. auto(?:class|function):: qpu_sdk\.(\w+)(?:\(.*\))?$", text, re.MULTILINE)
    assert names == [name for name in qs.__all__ if not name.startswith("_")]
    assert re.findall(r"^   ~qpu_sdk\.(\w+)$", text, re.MULTILINE) == names  # the summary above the entries
    for page in ("README.md", "CHANGELOG.md", "docs/reference/index.md"):
        assert set(re.findall(r"(\d+) names", (ROOT / page).read_text(encoding="utf-8"))) == {str(len(names))}


@pytest.mark.parametrize(
    "page", named([page for page in PAGES if page.parent.name in ("how-to", "explanation", "reference")])
)
def test_blocks_say_their_language(page: Path) -> None:
    """Else they would be coloured as whatever the theme takes for the usual one."""
    assert [block.line for block in blocks(page) if not block.language] == []


def test_the_configuration_has_every_key_as_the_models_do() -> None:
    text = (REFERENCE / "configuration.md").read_text(encoding="utf-8")
    begin, end = "<!-- configuration tables -->\n", "\n<!-- end of configuration tables -->"
    assert text.partition(begin)[2].partition(end)[0] == tables()
    assert "learning rate" in tables()


def test_the_house_is_listed_in_the_order_of_imports() -> None:
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [contract] = [c for c in layers["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    floors = [{name.strip().rpartition(".")[2] for name in layer.split(":")} for layer in contract["layers"]][-2::-1]
    text = (ROOT / "docs/house.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `qpu_sdk/(\w+)/` \|", text, re.MULTILINE)
    for floor in floors:
        assert set(listed[: len(floor)]) == floor
        listed = listed[len(floor) :]
    assert listed == []


def test_the_methods_are_those_of_the_table() -> None:
    text = (ROOT / "docs/how-to/mitigation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| ([^|]+) \|", text, re.MULTILINE)
    assert dict(rows) == {name: method.what for name, method in METHODS.items()}
