"""Is this installation fine? Every check computes something and compares it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..devices.registry import open_device
from ..devices.simulation import exact_probabilities
from ..errors import DataError, QPUError
from ..photonics.meshes import IsometryMesh
from ..photonics.program import Program
from ..training.sources import read_embedded_digits
from ..versions import versions


def diagnose() -> list[tuple[str, bool, str]]:
    """Checks of the installation: name, whether it is fine, and a detail."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("versions", lambda: ", ".join(f"{name} {v}" for name, v in versions().items())),
        ("permanents against SLOS", _check_engines),
        ("sampling", _check_sampling),
        ("data mnist-5k", lambda: f"{len(read_embedded_digits()['y_train'])} digits"),
        ("torch threads", lambda: str(torch.get_num_threads())),
    ]
    rows = []
    for name, check in checks:
        try:
            rows.append((name, True, check()))
        except (QPUError, AssertionError) as error:
            rows.append((name, False, str(error)))
    return rows


def _check_engines() -> str:
    mesh = IsometryMesh(6, 3)
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, (1, mesh.declared))
    columns = mesh.columns(phases, mesh.default_input(3))
    ours = exact_probabilities(columns, collision_free=True, engine="permanents")
    slos = exact_probabilities(columns, collision_free=True, engine="slos")
    difference = float(np.abs(ours - slos).max())
    if difference > 1e-10:  # two ways of rounding differ by 1e-15; a wrong order of outcomes by 0.1
        raise DataError(f"the engines differ by {difference:.1e}; 1e-10 is allowed. Reinstall perceval-quandela.")
    return f"largest difference {difference:.1e}"


def _check_sampling() -> str:
    mesh = IsometryMesh(4, 2)
    program = Program(mesh, np.zeros(mesh.declared), mesh.default_input(2))
    [counts] = open_device("local:slos", seed=0).submit([program], shots=1000).result()
    return f"{counts.shots} shots, {counts.events} events"
