"""``python -m tests.benchmarks.published TABLE MNIST``: run the sweep of a table, or go on with it, and write its JSON.

The protocol: 6,000 training and 600 test images drawn by seed from MNIST's training files, and as a second test set,
which no seed draws, all 10,000 images of its test files. Runs are folders under runs/published. What is done is not
done again, nor is what the JSON has of another machine: it is written whenever a cell is done.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from qpu_sdk.runs.cells import Cell, cells_of
from qpu_sdk.runs.sweep import sweep_cells
from qpu_sdk.runs.sweep_folder import SweepFolder
from qpu_sdk.runs.sweep_work import Advance
from tests.benchmarks.pages import ROOT
from tests.benchmarks.published import tables
from tests.benchmarks.published.circuits import circuit_rows
from tests.benchmarks.published.noise import NOISE_SHOTS, noise_rows

HERE = Path(__file__).parent
#: Sweeps by table, and the keys of all their cells.
TABLES: dict[str, tuple[str, ...]] = {
    "bond": (),
    "lean": (),
    "better": (),
    "noise": ("generator.bond_dim=10", *NOISE_SHOTS),
    "budget": (),
    "circuits": (),
    "phases": (),
}
ROWS = {"noise": noise_rows, "circuits": circuit_rows}


def overrides(table: str, mnist: str) -> list[str]:
    """Keys of all cells: the protocol, and what a table has."""
    data = [f"data.source={mnist}", "data.draw=training", "data.train_size=6000", "data.test_size=600"]
    return [*data, f"data.second_test={mnist}", *TABLES[table]]


def cells_of_table(table: str, mnist: str) -> list[Cell]:
    """All of them."""
    return cells_of(HERE / f"{table}.toml", overrides=overrides(table, mnist))


def run(table: str, mnist: str, scheduler: str | None) -> None:
    """The sweep of what no JSON has, and its rows, each as soon as it is there."""
    folder = ROOT / "runs" / "published" / table
    cells, known = cells_of_table(table, mnist), tables.known_rows(table)
    begun = {entry.name for entry in SweepFolder(folder).entries()} if (folder / "sweep.json").is_file() else set()
    left = [cell for cell in cells if cell.name in begun or tables.identity_of(cell.config) not in known]
    make = ROWS.get(table, tables.row_of)

    def tell(advance: Advance) -> None:
        for part in advance.settled:
            sys.stdout.write(f"{'/'.join(map(str, advance.cells))}  {part.name}  {part.error or 'done'}\n")
            sys.stdout.flush()
        if advance.settled:
            tables.store(table, cells, folder, make)

    share_warm_starts(folder)
    if left:
        sweep_cells(left, folder, scheduler=scheduler, force=True, observer=tell)
    tables.store(table, cells, folder, make)


def share_warm_starts(folder: Path) -> None:
    """All tables have one folder of warm starts: that of chi = 10 serves the table of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    common = folder.parent / "warm"
    common.mkdir(exist_ok=True)
    if not (link := folder / ".warm").is_symlink():
        link.symlink_to(common, target_is_directory=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("mnist", help="folder in torchvision's MNIST layout")
    parser.add_argument("--scheduler", help="address of a Dask scheduler whose workers do it")
    arguments = parser.parse_args()
    run(arguments.table, str(Path(arguments.mnist).resolve()), arguments.scheduler)


if __name__ == "__main__":
    main()
