"""The scripts of ``examples/notebooks`` as notebooks, executed: ``python -m tests.validation.notebooks [FOLDER]``.

A notebook stands beside its script, or in the folder that is named, with all its output. A cell that fails ends it with
the cell's own error, and then nothing is written.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples" / "notebooks").glob("*.py"))
#: Seconds for one cell, on a machine that is busy with other things.
CELL_S = 900
#: What a desktop has and a server has not.
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def executed(script: Path, folder: Path) -> Any:
    """The notebook of a script, executed in a folder without a display.

    :raises CellExecutionError: of nbclient, when a cell fails.
    """
    import jupytext

    return execute(jupytext.read(script), folder)


def execute(notebook: Any, folder: Path) -> Any:
    """A notebook with its output; the kernel is this Python, with this repository on its path."""
    from nbclient import NotebookClient

    environment = {name: value for name, value in os.environ.items() if name not in _DISPLAYS}
    client = NotebookClient(
        notebook,
        timeout=CELL_S,
        startup_timeout=CELL_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute(env=environment | {"PYTHONPATH": str(ROOT)})


def write(script: Path, folder: Path) -> Path:
    """Execute the notebook of a script, and put it into a folder."""
    import nbformat

    from qpu_sdk.files import write_atomic

    path = folder / f"{script.stem}.ipynb"
    write_atomic(path, nbformat.writes(executed(script, folder)))
    return path


def main() -> int:
    """Print where each notebook is."""
    for script in SCRIPTS:
        folder = Path(sys.argv[1]) if sys.argv[1:] else script.parent
        folder.mkdir(parents=True, exist_ok=True)
        sys.stdout.write(f"{write(script, folder)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
