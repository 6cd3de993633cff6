"""``python -m tests.benchmarks.house``: what each folder of the package imports, as docs/pictures/house.svg."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence

import grimp
from matplotlib.figure import Figure

from tests.benchmarks.drawn import picture, write_picture
from tests.benchmarks.pages import ROOT

#: The files at the top of the package, which every folder may import.
WORDS = "*.py"
Imports = Mapping[tuple[str, str], int]


def floors() -> list[str]:
    """Folders from the roof down, in the order of the contract that ``make check`` holds."""
    tree = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [contract] = [c for c in tree["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    layers = [[name.strip().rpartition(".")[2] for name in layer.split(":")] for layer in contract["layers"]]
    return [*(name for layer in layers[:-1] for name in layer), WORDS]


def floor_of(module: str, names: Sequence[str]) -> str:
    """The folder of a module, or the top of the package; what ``python -m qpu_sdk`` runs belongs to the commands."""
    folder = "cli" if module == "qpu_sdk.__main__" else module.split(".")[1]
    return folder if folder in names else WORDS


def counted(names: Sequence[str]) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Files of each floor, and imports from one floor to another: pairs of files."""
    graph = grimp.build_graph("qpu_sdk", cache_dir=None)
    modules = [m for m in sorted(graph.modules) if m.count(".") and not graph.find_children(m)]
    files, imports = Counter[str](), Counter[tuple[str, str]]()
    for module in modules:
        mine = floor_of(module, names)
        files[mine] += 1
        for other in graph.find_modules_directly_imported_by(module):
            if other.count("."):
                imports[mine, floor_of(other, names)] += 1
    return files, imports


def figure_of(names: Sequence[str], files: Mapping[str, int], imports: Imports) -> Figure:
    """A row for each floor, a column for each that it imports; below the diagonal nothing can stand."""
    drawn = Figure(figsize=(8.6, 5.2))
    axes = drawn.subplots()
    for row, name in enumerate(names):
        axes.text(-1.0, row, f"{name}  ({files[name]} files)", ha="right", va="center")
        axes.text(row, -0.8, name, ha="left", va="bottom", rotation=45)
        axes.add_patch(_square(row, row, "#1f77b4", 0.35))
        for column, other in enumerate(names):
            if number := imports.get((name, other), 0):
                axes.text(column, row, str(number), ha="center", va="center", fontsize=9)
                if column != row:
                    axes.add_patch(_square(column, row, "#2ca02c" if column > row else "#d62728", 0.2))
    size = len(names)
    axes.set(xlim=(-4.6, size + 0.6), ylim=(size - 0.4, -3.2))
    axes.axis("off")
    drawn.subplots_adjust(left=0.0, right=1.0, bottom=0.0, top=1.0)
    return drawn


def _square(x: int, y: int, colour: str, alpha: float) -> object:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.5, y - 0.5), 1.0, 1.0, color=colour, alpha=alpha, linewidth=0)


def house() -> str:
    """The picture as it is to be now."""
    names = floors()
    files, imports = counted(names)
    return picture(figure_of(names, files, imports), "How many imports each folder of qpu_sdk has from each other one")


if __name__ == "__main__":
    write_picture("house", house())
