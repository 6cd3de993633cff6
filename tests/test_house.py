"""The house: one room for each thing, one meaning for each name, and docstrings that say shape and errors."""

from __future__ import annotations

import ast
import contextlib
import importlib
import re
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import perceval

from .places import PACKAGE, ROOT, SOURCES

PERCEVAL = Path(perceval.__file__).parent
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
#: A module's own business: every module may have its logger and its schema version.
PER_MODULE = {"log", "SCHEMA_VERSION", "main"}
DEVICES = {
    "Device",
    "RemoteDevice",
    "LocalDevice",
    "ReplayDevice",
    "RecordingDevice",
    "JournalledDevice",
    "CloudDevice",
}
ARRAYS = re.compile(r"\b(FloatArray|ComplexArray|IntArray|BoolArray|OutcomeArray|NDArray|ndarray|Tensor|Pixels)\b")
#: ``(K,)``, ``(..., M, N)``, ``(C(M, N), N)``: a shape as docstrings write it.
SHAPE = re.compile(r"\((?:\.\.\.|[\w\s()+*/^|.-]+)(?:,\s*(?:\.\.\.|[\w\s()+*/^|.-]+))*,?\)|same shapes?")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def public_functions() -> Iterator[tuple[str, Function, bool]]:
    """Public functions and methods with their names, and whether they are properties."""
    for path, tree in TREES.items():
        for node in tree.body:
            scopes = [("", node)] if isinstance(node, Function) else []
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                scopes = [(f"{node.name}.", inner) for inner in node.body if isinstance(inner, Function)]
            for prefix, function in scopes:
                decorators = {ast.unparse(d).rpartition(".")[2] for d in function.decorator_list}
                if not function.name.startswith("_"):
                    yield (
                        f"{name_of(path)}:{prefix}{function.name}",
                        function,
                        bool(decorators & {"property", "cached_property"}),
                    )


def public_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def imports_of(path: Path) -> set[str]:
    """Modules of ours that a module imports anywhere, in functions too."""
    base = list(path.relative_to(PACKAGE.parent).with_suffix("").parts)[:-1]
    known = {name_of(p).removesuffix(".__init__") for p in TREES}
    found = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ImportFrom):
            within = base[: len(base) - node.level + 1] if node.level else []
            module = ".".join([*within, *([node.module] if node.module else [])])
            if module.partition(".")[0] == "qpu_sdk":
                found |= {f"{module}.{a.name}" if f"{module}.{a.name}" in known else module for a in node.names}
    return found


def test_no_room_is_large_and_most_are_small() -> None:
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in TREES}
    assert {name: n for name, n in lines.items() if n > 350} == {}
    assert statistics.median(lines.values()) <= 140


def test_no_function_is_long() -> None:
    long = {
        f"{name_of(path)}:{node.name}": node.end_lineno - node.lineno + 1
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, Function) and node.end_lineno is not None and node.end_lineno - node.lineno + 1 > 50
    }
    docstrings_included = {name: n for name, n in long.items() if n > 75}
    assert docstrings_included == {}
    bodies = {
        f"{name_of(path)}:{node.name}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, Function)
        and sum(statement.end_lineno - statement.lineno + 1 for statement in body_of(node) if statement.end_lineno) > 50
    }
    assert bodies == set()


def body_of(function: Function) -> list[ast.stmt]:
    """The statements without the docstring."""
    return function.body[1:] if ast.get_docstring(function) else function.body


def test_a_public_name_means_one_thing() -> None:
    homes = defaultdict(list)
    for path, tree in TREES.items():
        if path.name != "__init__.py":
            for name in set(public_names(tree)) - PER_MODULE:
                if not name.startswith("_"):
                    homes[name].append(name_of(path))
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_imports_have_no_circle_and_nobody_imports_the_root() -> None:
    arrows = {name_of(path).removesuffix(".__init__"): imports_of(path) for path in TREES}
    arrows.pop("qpu_sdk")
    assert [name for name, found in arrows.items() if "qpu_sdk" in found] == []
    seen: dict[str, int] = {}

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        if name not in seen:
            for other in arrows.get(name, ()):
                walk(other, (*path, name))
            seen[name] = 1

    for name in arrows:
        walk(name, ())


def test_nobody_asks_what_kind_of_device_it_is() -> None:
    asked = [
        f"{name_of(path)}:{node.lineno}"
        for path, tree in TREES.items()
        if "devices" not in path.relative_to(PACKAGE).parts[:-1]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "isinstance"
        and {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)} & DEVICES
    ]
    assert asked == []


def test_classes_are_abstract_or_final() -> None:
    open_classes = [
        f"{name_of(path)}:{node.name}"
        for path, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and not any(ast.unparse(d).rpartition(".")[2] == "final" for d in node.decorator_list)
        and not {"abc.ABC", "Protocol", "BaseModel", "TypedDict", "enum.Enum"} & {ast.unparse(b) for b in node.bases}
        and not any(isinstance(n, Function) and "abstractmethod" in ast.unparse(n) for n in node.body)
        and node.name not in SUBCLASSED
    ]
    assert open_classes == []


#: Concrete classes that others refine: errors, which form a tree, and what is declared where it is refined.
SUBCLASSED = {
    base.rpartition(".")[2]
    for tree in TREES.values()
    for node in ast.walk(tree)
    if isinstance(node, ast.ClassDef)
    for base in map(ast.unparse, node.bases)
} | {node.name for node in TREES[PACKAGE / "errors.py"].body if isinstance(node, ast.ClassDef)}


def test_who_returns_an_array_says_its_shape() -> None:
    silent = [
        name
        for name, function, _ in public_functions()
        if function.returns is not None
        and ARRAYS.search(ast.unparse(function.returns))
        and not SHAPE.search(ast.get_docstring(function) or "")
    ]
    assert silent == []


def raised(function: Function) -> set[str]:
    """Errors that leave the function: not those of inner functions, nor what a handler around them catches."""
    found = set()
    inner = {id(n) for f in ast.walk(function) if isinstance(f, Function) and f is not function for n in ast.walk(f)}
    for tried in (node for node in ast.walk(function) if isinstance(node, ast.Try)):
        caught = {n.id for h in tried.handlers if h.type for n in ast.walk(h.type) if isinstance(n, ast.Name)}
        for node in (n for statement in tried.body for n in ast.walk(statement) if isinstance(n, ast.Raise)):
            if isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name) and node.exc.func.id in caught:
                inner.add(id(node))
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and id(node) not in inner and isinstance(node.exc, ast.Call | ast.Name):
            raised_name = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            text = ast.unparse(raised_name).rpartition(".")[2]
            if text[:1].isupper():
                found.add(text)
    return found


def test_who_raises_says_what() -> None:
    silent = [
        f"{name}: {error}"
        for name, function, _ in public_functions()
        for error in sorted(raised(function) - {"NotImplementedError", "AssertionError", "Exit"})
        if error not in (ast.get_docstring(function) or "")
        and "see " not in (ast.get_docstring(function) or "").lower()
    ]
    assert silent == []


def test_comments_say_why_where_a_reader_would_stop() -> None:
    code = comments = 0
    for path in TREES:
        for line in path.read_text(encoding="utf-8").splitlines():
            stripped = line.strip()
            code += bool(stripped) and not stripped.startswith("#")
            comments += "  # " in line or stripped.startswith("#")
    assert comments / code >= 0.03


def test_what_docstrings_and_comments_point_at_is_there() -> None:
    """Names of ours in roles are imported, and files named in the text exist."""
    lost = []
    for path in [*TREES, *sorted((ROOT / "tests").rglob("*.py"))]:
        text = path.read_text(encoding="utf-8")
        for dotted in re.findall(r":(?:mod|class|func|data|meth|attr):`[^`<]*?~?(qpu_sdk[\w.]+)`", text):
            if not exists(dotted):
                lost.append(f"{path}: {dotted}")
        for file in re.findall(r"``([\w/]+\.py)``", text):
            here = any((place / file).is_file() for place in (ROOT, PACKAGE.parent, path.parent))
            if not here and not any(PERCEVAL.rglob(file)):
                lost.append(f"{path}: {file}")
    assert lost == []


def exists(dotted: str) -> bool:
    """Whether a module, or a name in one, is there."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        with contextlib.suppress(ImportError):
            found: Any = importlib.import_module(".".join(parts[:cut]))
            for i, name in enumerate(parts[cut:]):
                if not hasattr(found, name):  # fields of dataclasses without a default are annotations only
                    return i == len(parts[cut:]) - 1 and name in getattr(found, "__annotations__", {})
                found = getattr(found, name)
            return True
    return False
