"""What the repository says of itself: versions, what is installed, pictures, and the choices that make takes."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import date
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import qpu_sdk as qs
from tests.benchmarks.accuracy import accuracy
from tests.benchmarks.components import brought, installed, name_licence, needed
from tests.benchmarks.house import counted, floors, house

from .places import ROOT, SOURCES
from .test_docs import blocks

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: Extras that constraints.txt leaves alone: their own needs decide.
UNPINNED = {"torchvision", "bench"}
FOUND = installed(sys.path)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# -- versions and papers -----------------------------------------------------------------------------------


def test_the_release_is_the_same_everywhere() -> None:
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load(text_of("CITATION.cff"))
    [version, day] = re.findall(r"^## \[([\d.]+)\] - ([\d-]+)$", text_of("CHANGELOG.md"), re.MULTILINE)[0]
    assert cited["version"] == version == qs.__version__
    assert cited["date-released"] == date.fromisoformat(day)


def test_the_citation_has_what_its_format_wants() -> None:
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load(text_of("CITATION.cff"))
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license", "type"} <= cited.keys()
    people = {"name", "given-names", "family-names", "alias", "affiliation", "orcid"}
    for source in (cited, *cited["references"]):
        assert source["authors"]
        assert all(author.keys() <= people for author in source["authors"])
    for reference in cited["references"]:
        assert {"type", "title", "authors"} <= reference.keys()
        assert re.fullmatch(r"10\.\d{4,}/\S+", reference["doi"])


def test_pages_of_the_front_are_short() -> None:
    assert len(text_of("README.md").splitlines()) <= 100
    assert len(text_of("CONTRIBUTING.md").splitlines()) < 50


def test_the_lines_under_the_ten_lines_are_what_they_print(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = [block for block in blocks(ROOT / "README.md") if block.language in ("python", "text")][:2]
    exec(compile(code.text, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    begin = next(i for i, line in enumerate(printed.splitlines()) if line.startswith("outcome"))
    there = printed.splitlines()[begin:]
    for promised, line in zip(shown.text.splitlines()[1:], there[1:], strict=False):
        assert promised.split()[0] == line.split()[0]
        numbers = [[float(n) for n in re.findall(r"\d\.\d+", row)] for row in (promised, line)]
        assert numbers[1] == pytest.approx(numbers[0], abs=2e-3)
    [distance] = re.findall(r"# (0\.\d+): how far", code.text)
    assert float(printed.splitlines()[-1]) == pytest.approx(float(distance), abs=0.01)


def test_the_licence_that_is_not_free_is_told() -> None:
    licence = FOUND["exqalibur"].metadata["License"]
    assert licence.startswith("CC BY-NC")
    assert licence in text_of("README.md")


# -- what is installed -------------------------------------------------------------------------------------


def imported() -> set[str]:
    """Names of the modules of others that the package imports anywhere."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.partition(".")[0])
    return found - {"qpu_sdk"} - set(sys.stdlib_module_names)


def declared(*extras: str) -> set[str]:
    """Names of the packages that the core or some extras ask for."""
    lists = [PROJECT["optional-dependencies"][extra] for extra in extras] or [PROJECT["dependencies"]]
    return {canonicalize_name(Requirement(text).name) for found in lists for text in found}


def test_what_is_imported_is_declared_and_the_core_declares_no_more() -> None:
    homes = packages_distributions()
    names = {name: {canonicalize_name(home) for home in homes.get(name, [name])} for name in imported()}
    every = declared() | declared("torchvision", "onnx", "hub", "cloud-emulator", "dask", "tensorboard")
    assert [name for name, found in names.items() if not found & every] == []
    assert declared() <= {home for found in names.values() for home in found}


def test_the_core_brings_little_beside_torch_and_perceval() -> None:
    sizes = brought(FOUND, declared())
    assert {"pydantic", "rich", "safetensors", "tenacity", "typer"} <= sizes.keys()
    assert len(sizes) <= 13
    assert sum(sizes.values()) < 16e6
    [told] = re.findall(r"(\d+) packages beside torch", text_of("CHANGELOG.md"))
    assert int(told) >= len(sizes)


def test_every_package_of_the_core_and_of_the_extras_is_pinned() -> None:
    pinned = {
        canonicalize_name(Requirement(line).name)
        for line in text_of("constraints.txt").splitlines()
        if line and not line.startswith("#")
    }
    extras = PROJECT["optional-dependencies"].keys() - UNPINNED
    wanted = needed(declared() | declared(*extras), FOUND) | declared(*extras)
    build_of_gpus = re.compile(r"nvidia-.*|cuda-.*|triton|setuptools")  # as torch itself asks for them
    assert {name for name in wanted - pinned if not build_of_gpus.fullmatch(name)} == set()


def test_a_licence_in_words_of_its_own_is_in_the_bill_of_materials() -> None:
    component: dict[str, Any] = {"name": "exqalibur"}
    name_licence(component, FOUND)
    assert component["licenses"] == [{"license": {"name": "CC BY-NC-ND 4.0", "acknowledgement": "declared"}}]
    known = {"name": "exqalibur", "licenses": [{"license": {"id": "MIT"}}]}
    name_licence(known, FOUND)
    assert known["licenses"] == [{"license": {"id": "MIT"}}]


# -- pictures ----------------------------------------------------------------------------------------------


def words(picture: str) -> list[str]:
    """Every text in a picture, which does not depend on how lines are drawn."""
    return re.findall(r">([^<>]+)</text>", picture)


@pytest.mark.parametrize(("name", "draw"), [("house", house), ("accuracy", accuracy)])
def test_the_picture_is_that_of_today(name: str, draw: Any) -> None:
    picture = text_of(f"docs/pictures/{name}.svg")
    assert len(words(picture)) > 10
    assert words(picture) == words(draw()), f"draw it again: make {name}"
    assert "prefers-color-scheme: dark" in picture


def test_the_house_is_imported_downwards() -> None:
    names = floors()
    files, imports = counted(names)
    assert sum(files.values()) == len([path for path in SOURCES if path.name != "__init__.py"])
    assert {pair for pair in imports if names.index(pair[0]) > names.index(pair[1])} == set()
    assert imports["cli", "runs"] > 0


# -- make --------------------------------------------------------------------------------------------------


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


class Make:
    """``make`` in an empty folder, where the programs are scripts that write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.log = folder / "bin", folder / "log"
        self.folder = folder
        for name in ("grep", "touch", "uname"):
            found = shutil.which(name)
            assert found is not None
            script(self.bin / name, f'exec {found} "$@"')
        script(self.bin / "uname", "echo Linux")
        for name in ("pyproject.toml", "constraints.txt"):
            (folder / name).touch()

    def python(self, name: str, *, suits: bool = True, index: str = "", uv: bool = True) -> None:
        """A Python that makes environments with another like it inside."""
        answers = f'"-m pip config list") echo "{index}";; *uv\\ pip*) {str(uv).lower()};;'
        inner = f'echo "$*" >> {self.log}\ncase "$*" in {answers} esac'
        script(self.folder / "inner", inner)
        venv = self.folder / ".venv" / "bin"
        suited = f'case "$1" in -c) exit {int(not suits)};; esac'
        script(self.bin / name, f"{suited}\n/bin/mkdir -p {venv}; /bin/cp {self.folder}/inner {venv}/python")

    def run(self, **variables: str) -> tuple[int, str, list[str]]:
        """The exit code, what went to standard error, and how the environment's Python was called."""
        make = shutil.which("make")
        assert make is not None
        given = [f"{name}={value}" for name, value in variables.items()]
        done = subprocess.run(
            [make, "-f", str(ROOT / "Makefile"), *given, ".venv/.installed"],
            cwd=self.folder,
            env={"PATH": str(self.bin)},
            capture_output=True,
            text=True,
        )
        calls = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return done.returncode, done.stderr, calls


@pytest.fixture
def make(tmp_path: Path) -> Make:
    if shutil.which("make") is None or os.name != "posix":
        pytest.skip("there is no make")
    return Make(tmp_path)


def torch_calls(calls: list[str]) -> list[str]:
    return [call for call in calls if call.endswith(" torch")]


def test_the_first_python_of_a_version_that_suits_is_taken(make: Make) -> None:
    make.python("python3", suits=False)
    make.python("python3.13")
    code, _, calls = make.run()
    assert code == 0
    assert calls


def test_no_python_that_suits_is_one_line(make: Make) -> None:
    make.python("python3", suits=False)
    for variables in ({}, {"PYTHON": "python3"}):
        code, error, calls = make.run(**variables)
        told = [line for line in error.splitlines() if not line.startswith("make: ")]
        assert code != 0
        assert len(told) == 1
        assert "No Python 3.11 to 3.14" in told[0]
        assert "PYTHON=/path/to" in told[0]
        assert calls == []


def test_make_and_the_metadata_name_the_same_pythons() -> None:
    low, high = re.findall(r"\(3, (\d+)\) <= sys.version_info\[:2\] <= \(3, (\d+)\)", text_of("Makefile"))[0]
    assert PROJECT["requires-python"] == f">=3.{low}"
    named = {
        int(n) for c in PROJECT["classifiers"] if (n := c.removeprefix("Programming Language :: Python :: 3.")) != c
    }
    assert {int(low)} <= named <= set(range(int(low), int(high) + 1))


def test_without_a_driver_torch_is_that_of_the_cpu(make: Make) -> None:
    make.python("python3")
    code, _, calls = make.run()
    first, second = torch_calls(calls)
    assert code == 0
    assert first.endswith("--torch-backend cpu -c constraints.txt torch")
    assert second == "-m pip install --quiet -c constraints.txt torch"  # which then has nothing to do


@pytest.mark.parametrize(
    "index", ["global.index-url='INDEX'", ":env:.extra-index-url='INDEX'", "global.find-links='F'"]
)
def test_an_index_of_the_users_decides(make: Make, index: str) -> None:
    make.python("python3", index=index)
    _, _, calls = make.run()
    assert torch_calls(calls) == ["-m pip install --quiet -c constraints.txt torch"]


def test_a_driver_decides(make: Make) -> None:
    make.python("python3")
    script(make.bin / "nvidia-smi", "true")
    _, _, calls = make.run()
    assert torch_calls(calls) == ["-m pip install --quiet -c constraints.txt torch"]


def test_an_index_that_is_not_reached_ends_nothing(make: Make) -> None:
    make.python("python3", uv=False)
    code, error, calls = make.run(TORCH="cu130")
    assert code == 0
    assert "No torch for cu130" in error
    assert "--torch-backend cu130" in torch_calls(calls)[0]
    assert torch_calls(calls)[-1] == "-m pip install --quiet -c constraints.txt torch"


def test_the_user_decides_for_pip(make: Make) -> None:
    make.python("python3")
    _, _, calls = make.run(TORCH="pip")
    assert torch_calls(calls) == ["-m pip install --quiet -c constraints.txt torch"]
