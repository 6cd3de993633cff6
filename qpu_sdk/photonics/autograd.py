"""The torch twin of interferometer and permanents: the only place in photonics that knows torch.

Forward passes and gradients are those of :meth:`Mesh.columns`, :meth:`Mesh.columns_vjp`,
:func:`~qpu_sdk.photonics.permanents.amplitudes` and its pullback, written out in numpy; torch only chains them.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch

from ..arrays import FloatArray
from .interferometer import Mesh
from .permanents import PrefixTree, amplitudes, amplitudes_vjp, collision_free_tree, probabilities


@final
class _Columns(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, phases: torch.Tensor, mesh: Mesh, input_modes: tuple[int, ...]) -> torch.Tensor:
        ctx.save_for_backward(phases)  # backward propagates again: cheaper than keeping every layer
        ctx.mesh, ctx.input_modes = mesh, input_modes
        return torch.from_numpy(mesh.columns(phases.detach().numpy(), input_modes))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        gradient = gradients[0].resolve_conj().numpy()  # torch conjugates lazily, and numpy takes no such view
        [phases] = ctx.saved_tensors  # raises when they were changed in place meanwhile
        pulled = ctx.mesh.columns_vjp(phases.detach().numpy(), ctx.input_modes, gradient)
        return torch.from_numpy(pulled), None, None


@final
class _Amplitudes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, columns: torch.Tensor, tree: PrefixTree) -> torch.Tensor:
        ctx.save_for_backward(columns)
        ctx.tree = tree
        return torch.from_numpy(amplitudes(columns.detach().resolve_conj().numpy(), tree))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        [columns] = ctx.saved_tensors
        gradient = gradients[0].resolve_conj().numpy()
        return torch.from_numpy(amplitudes_vjp(columns.detach().resolve_conj().numpy(), ctx.tree, gradient)), None


def torch_columns(phases: torch.Tensor, mesh: Mesh, input_modes: tuple[int, ...]) -> torch.Tensor:
    """:meth:`Mesh.columns` as a differentiable torch operation, on the CPU.

    :param phases: radians, float64, ``(..., declared)``.
    :returns: complex128, ``(..., M, N)``.
    """
    result: torch.Tensor = _Columns.apply(phases, mesh, input_modes)  # type: ignore[no-untyped-call]
    return result


def torch_amplitudes(columns: torch.Tensor, tree: PrefixTree) -> torch.Tensor:
    """:func:`~qpu_sdk.photonics.permanents.amplitudes` as a differentiable torch operation, on the CPU.

    :param columns: complex128, ``(..., M, N)``.
    :returns: complex128, ``(..., K)``.
    """
    result: torch.Tensor = _Amplitudes.apply(columns, tree)  # type: ignore[no-untyped-call]
    return result


def torch_probabilities(phases: torch.Tensor, mesh: Mesh, input_modes: tuple[int, ...]) -> torch.Tensor:
    """Exact collision-free probabilities, differentiable in the phases.

    :param phases: radians, float64, ``(..., declared)``.
    :returns: ``(..., C(M, N))``; they sum to the collision-free mass, which is below 1.

    >>> from qpu_sdk.photonics.meshes import IsometryMesh
    >>> mesh = IsometryMesh(3, 2)
    >>> p = torch_probabilities(torch.zeros(mesh.declared, dtype=torch.float64), mesh, (0, 1))
    >>> p.round(decimals=6).tolist()
    [0.0, 0.0, 1.0]
    """
    # cached, and so built once for all steps
    tree = collision_free_tree(mesh.modes, len(input_modes))
    amplitude = torch_amplitudes(torch_columns(phases, mesh, input_modes), tree)
    return amplitude.real**2 + amplitude.imag**2


def phase_jacobian(mesh: Mesh, phases: FloatArray, input_modes: tuple[int, ...]) -> FloatArray:
    """d p / d phases of the *conditional* collision-free distribution, ``(K, declared)``."""
    tree = collision_free_tree(mesh.modes, len(input_modes))
    columns = mesh.columns(phases, input_modes)
    amplitude = amplitudes(columns, tree)
    p = probabilities(columns, tree)
    cotangents = np.diag(2.0 * amplitude)  # d |a|^2 = 2 Re(conj(a) da), one outcome a row
    repeated = np.broadcast_to(columns, (len(p), *columns.shape))
    grad_columns = amplitudes_vjp(np.ascontiguousarray(repeated), tree, cotangents)
    jacobian = mesh.columns_vjp(np.tile(phases, (len(p), 1)), input_modes, grad_columns)
    total = p.sum()
    return np.asarray(jacobian / total - np.outer(p, jacobian.sum(axis=0)) / total**2)


def identifiable_phases(mesh: Mesh, input_modes: tuple[int, ...], *, seed: int) -> int:
    """Rank of :func:`phase_jacobian` at random phases: the phases that the measured distribution can tell apart.

    >>> from qpu_sdk.photonics.meshes import IsometryMesh
    >>> identifiable_phases(IsometryMesh(6, 2), (0, 1), seed=1), IsometryMesh(6, 2).declared
    (13, 13)
    """
    phases = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, mesh.declared)
    return int(np.linalg.matrix_rank(phase_jacobian(mesh, phases, input_modes), rtol=1e-9))
