"""The notebooks: plain Python that runs anywhere, and cells that run in Jupyter, where no display is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.digits import SMALLEST, train_arguments, write_small_digits
from tests.validation.notebooks import SCRIPTS, execute, write

#: Variables that a desktop sets, and Jupyter for its kernels.
WITHOUT = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")


@pytest.mark.parametrize("script", [pytest.param(script, id=script.stem) for script in SCRIPTS])
def test_a_script_is_plain_python(script: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in WITHOUT}
    result = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout
    assert result.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_there_are_two() -> None:
    assert [script.stem for script in SCRIPTS] == ["first_circuit", "mitigation_and_layer"]


@pytest.mark.slow
def test_a_script_is_a_notebook(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    pytest.importorskip("jupytext")
    notebook = nbformat.read(write(SCRIPTS[0], tmp_path), as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    printed = "".join(output.text for cell in code for output in cell.outputs if output.output_type == "stream")
    assert "total variation" in printed
    shown = {kind for cell in code for output in cell.outputs for kind in output.get("data", {})}
    assert {"text/html", "image/png"} <= shown  # the circuit and the bars, not their names


@pytest.mark.slow
def test_a_run_in_jupyter_without_a_display_loses_nothing(tmp_path: Path) -> None:
    """A command in a kernel, where rich writes HTML and matplotlib has Jupyter's backend: everything is there."""
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    data = write_small_digits(tmp_path / "digits.npz")
    arguments = train_arguments(data, tmp_path / "run", base=SMALLEST)
    arguments.remove("--json")
    cells = [
        "from qpu_sdk.cli.app import app",
        f"app({arguments!r}, standalone_mode=False)",
        f"app(['train', '--data', {str(tmp_path / 'none.npz')!r}, '--out', 'x'], standalone_mode=False)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    done = execute(notebook, tmp_path)
    told = str(done.cells[1].outputs)
    assert "test accuracy" in told
    assert "Traceback" not in told
    [refused] = [output.text for output in done.cells[2].outputs if output.output_type == "stream"]
    assert re.fullmatch(r"qpu-sdk: .*none\.npz.*\n", refused)  # one line
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8").count("<svg") >= 1
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_a_backend_that_needs_a_display_is_never_asked(tmp_path: Path) -> None:
    """Figures are drawn into files, whatever the environment would show windows with."""
    code = (
        "import qpu_sdk as qs\n"
        "program = qs.Program.random(qs.IsometryMesh(4, 2), seed=1)\n"
        "counts = qs.open_device('local:slos', seed=1).run(program, shots=1000)\n"
        "qs.post_select(counts).plot('p.png')\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in WITHOUT}
    for backend in ("tkagg", "module://matplotlib_inline.backend_inline"):
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment | {"MPLBACKEND": backend}, check=True
        )
        assert (tmp_path / "p.png").stat().st_size > 1000
        (tmp_path / "p.png").unlink()
