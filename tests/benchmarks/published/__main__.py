"""``python -m tests.benchmarks.published TABLE MNIST``: run the sweep of a table, or go on with it, and write its JSON.

The protocol: 6,000 training and 600 test images drawn by seed from MNIST's training files, and as a second test set,
which no seed draws, all 10,000 images of its test files. Runs are folders under runs/published; what is done is not
done again.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import qpu_sdk as qs
from qpu_sdk.runs.sweep_result import Sweep
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


def run(table: str, mnist: str, seeds: str, scheduler: str | None) -> None:
    """The sweep, and its JSON after it."""
    begun, folder = time.monotonic(), ROOT / "runs" / "published" / table

    def tell(advance: Advance) -> None:
        for part in advance.settled:
            sys.stdout.write(f"{'/'.join(map(str, advance.cells))}  {part.name}  {part.error or 'done'}\n")
            sys.stdout.flush()

    command = f"python -m tests.benchmarks.published {table} MNIST"
    share_warm_starts(folder)
    file = with_seeds(HERE / f"{table}.toml", seeds)
    found = qs.sweep(file, folder, overrides=overrides(table, mnist), observer=tell, force=True, scheduler=scheduler)
    tables.store(table, found, command=command, seconds=time.monotonic() - begun, rows=ROWS.get(table))


def write(table: str) -> None:
    """The JSON of what is done of a sweep that was stopped."""
    found = Sweep.load(ROOT / "runs" / "published" / table)
    command = f"python -m tests.benchmarks.published {table} MNIST"
    tables.store(table, found, command=command, seconds=0.0, rows=ROWS.get(table))


def share_warm_starts(folder: Path) -> None:
    """All tables have one folder of warm starts: that of chi = 10 serves the table of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    common = folder.parent / "warm"
    common.mkdir(exist_ok=True)
    if not (link := folder / ".warm").is_symlink():
        link.symlink_to(common, target_is_directory=True)


def with_seeds(file: Path, seeds: str) -> Path:
    """The file of cells, or one beside it with other seeds."""
    if not seeds:
        return file
    text = (
        file.read_text(encoding="utf-8")
        .replace('"seed=1..5"', f'"seed={seeds}"')
        .replace('"seed=1..3"', f'"seed={seeds}"')
    )
    other = ROOT / "runs" / "published" / file.name
    other.write_text(text.replace('"../../../', f'"{ROOT.as_posix()}/'), encoding="utf-8")
    return other


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("mnist", nargs="?", default="", help="folder in torchvision's MNIST layout; none: see --write")
    parser.add_argument("--write", action="store_true", help="only write the JSON of what is done")
    parser.add_argument("--seeds", default="", help="fewer or more than the file says: 1..3")
    parser.add_argument("--scheduler", help="address of a Dask scheduler whose workers do it")
    arguments = parser.parse_args()
    if arguments.write:
        write(arguments.table)
        return
    if not arguments.mnist:
        parser.error("MNIST's folder is missing: make bond MNIST=FOLDER")
    run(arguments.table, str(Path(arguments.mnist).resolve()), arguments.seeds, arguments.scheduler)


if __name__ == "__main__":
    main()
