"""What messages, help and pages tell people to type can be typed: the command is there, and a shell takes it."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from qpu_sdk.cli.app import app
from qpu_sdk.cli.examples import EXAMPLES
from qpu_sdk.words import command, one_line
from tests.places import ROOT, SOURCES

PAGES = [ROOT / "README.md", ROOT / "calibration" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += sorted(p for p in (ROOT / "examples").rglob("*") if p.suffix in (".md", ".py", ".toml"))
#: A command of ours in running text or in a block of a page, up to where it certainly ends.
TYPED = re.compile(r"qpu-sdk ((?:[a-z]+)(?: [^`\n|#]*)?)")
DEVICE = re.compile(r"\b(?:local|quandela|scaleway|replay):[\w:]*\?[^\s`\"'),;]*")


def check_command(words: list[str]) -> None:
    """The command is known, and so are its options; raises what typer would tell."""
    found: Any = typer.main.get_command(app)
    while words and hasattr(found, "commands"):
        assert words[0] in found.commands, f"no command {words[0]!r} in {words}"
        found, words = found.commands[words[0]], words[1:]
    known = {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    options = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    assert set(options) <= known, f"{sorted(set(options) - known)} of {found.name}"


def calls(tree: ast.AST, names: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node


def words_of(call: ast.Call) -> list[str]:
    """Arguments of a call as words; what is only known when it runs becomes one."""
    return [
        str(a.value) if isinstance(a, ast.Constant) else "WORD" for a in call.args if not isinstance(a, ast.Starred)
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_hint_of_the_source_is_a_command_that_there_is(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for call in calls(tree, {"command"}):
        if not any(isinstance(argument, ast.Starred) for argument in call.args):  # then its callers are looked at
            check_command(words_of(call))
    for call in calls(tree, {"jobs_command"}):
        check_command(["jobs", *words_of(call)[1:], "--run"])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_message_writes_a_command_by_hand(path: Path) -> None:
    """By hand, a name with a blank, a ``?`` or a quote would not be quoted."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    told = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}
    texts = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    by_hand = [
        node.value
        for node in texts
        if id(node) not in told and any(f"qpu-sdk {name}" in node.value for name in commands)
    ]
    assert by_hand == []


def blocks(text: str) -> Iterator[str]:
    """Commands of a page, their continued lines joined."""
    for found in TYPED.finditer(re.sub(r"\\\n[ #]*", " ", text)):
        yield found[1].strip()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_on_a_page_is_one_that_there_is(path: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for typed in blocks(path.read_text(encoding="utf-8")):
        try:
            words = shlex.split(typed)
        except ValueError:  # a sentence with an apostrophe
            continue
        if words[0] in commands:
            check_command([word for word in words if not re.fullmatch(r"\[.*|.*\]|\.\.\.", word)])


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: path.name)
def test_device_strings_that_are_typed_are_quoted(path: Path) -> None:
    """zsh takes ``?`` for a pattern of file names, and says that there are no matches."""
    text = re.sub(r"\\\n[ #]*", " ", path.read_text(encoding="utf-8"))
    for line in text.splitlines():
        typed = line.partition("qpu-sdk ")[2]
        if typed and "``" not in typed:
            bare = re.sub(r"\"[^\"]*\"|'[^']*'", "", typed)
            assert not DEVICE.search(bare), line


def helps(found: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, found
    for name, inner in getattr(found, "commands", {}).items():
        yield from helps(inner, (*path, name))


def test_device_strings_in_help_are_quoted_and_nothing_in_it_is_markup() -> None:
    for path, found in helps(typer.main.get_command(app)):
        texts = [
            found.help or "",
            found.epilog or "",
            *(getattr(parameter, "help", None) or "" for parameter in found.params),
        ]
        for text in texts:
            assert "[" not in text, f"{path}: {text}"
            for device in DEVICE.finditer(text):
                assert text[device.start() - 1] == "'", f"{path}: {text}"


def test_every_command_has_examples_and_they_parse() -> None:
    """Each is taken by the command's own parser, which knows its options and their types, and fits 80 columns whole."""
    root = typer.main.get_command(app)
    assert {" ".join(path) for path, _ in helps(root)} == set(EXAMPLES)
    for path, found in helps(root):
        for example in EXAMPLES[" ".join(path)]:
            assert f"qpu-sdk {example}" in (found.epilog or "").split("\n\n")
            assert len(f" qpu-sdk {example} ") <= 80
            words = shlex.split(re.sub(r"[<>].*", "", example))
            assert tuple(words[: len(path)]) == path
            check_command(words)
            inner = root
            while hasattr(inner, "commands"):
                inner, words = inner.commands[words[0]], words[1:]
            inner.make_context(example, words, resilient_parsing=False)


@pytest.mark.parametrize("path", [path.split() for path in EXAMPLES], ids=" ".join)
def test_examples_stand_whole_below_the_help(path: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.strip() for line in CliRunner().invoke(app, [*path, "--help"]).stdout.splitlines()]
    assert set(lines) >= {f"qpu-sdk {example}" for example in EXAMPLES[" ".join(path)]}


def test_examples_mean_in_zsh_what_they_mean_elsewhere() -> None:
    """zsh takes ? * [ ] for patterns of file names, ~ ^ # = at the beginning of a word for more of its own."""
    for example in (one for some in EXAMPLES.values() for one in some):
        bare = re.sub(r"'[^']*'", "", example)
        assert not re.search(r"[?*\[\](){}$!`\";|&\\]|(?:^|\s)[~^#=]", bare), example


NAMES = [
    "plain",
    "two words",
    "two  blanks",
    "it's",
    'a"b',
    "a?b*c[d]",
    "$HOME",
    "a;b|c&d",
    "-x",
    "ünïcødé",
    "new\nline",
]
NAMES += [
    "esc\x1b[2J",
    "tab\there",
    "back\\slash",
    "!history",
    "~",
    "#",
    "\udcff bytes",
    "'\udcff'",
    "\u202eright to left",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_command_with_any_name_can_be_pasted(name: str) -> None:
    """A shell gives back the name, byte for byte, also after the message went to a terminal."""
    text = one_line(command("resume", Path(name)), 10_000)
    assert text.isprintable()
    script = text.replace("qpu-sdk", "printf '%s\\0'", 1)
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    expected = f"./{name}" if name.startswith("-") else name
    assert done.stdout.split(b"\0")[:-1] == [b"resume", expected.encode("utf-8", "surrogateescape")]
