"""Exact probabilities as one operation of torch.

Forward passes and first derivatives are written out in numpy, :meth:`Mesh.columns`, its pullback and those of
:mod:`~qpu_sdk.photonics.permanents`. Second and forward-mode derivatives are those of :mod:`~qpu_sdk.photonics.plain`,
in torch. A mesh goes through torch as text, so that a compiled or exported graph says by itself what it computes.
"""

from __future__ import annotations

import inspect
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..arrays import FloatArray
from ..errors import ProgramError
from .interferometer import Mesh
from .meshes import mesh_of
from .permanents import amplitudes, amplitudes_vjp, collision_free_tree, probabilities, probabilities_vjp
from .plain import plain_probabilities


def _forward(phases: Tensor, mesh: str, inputs: list[int]) -> Tensor:
    found = mesh_of(mesh)
    columns = found.columns(phases.detach().numpy(), tuple(inputs))
    # the tree is cached, and so built once for all steps
    return torch.from_numpy(probabilities(columns, collision_free_tree(found.modes, len(inputs))))


def _pullback(phases: Tensor, gradient: Tensor, mesh: str, inputs: list[int]) -> Tensor:
    found = mesh_of(mesh)
    tree = collision_free_tree(found.modes, len(inputs))
    # propagated again: cheaper than keeping every layer of every step
    columns, pull = found.traced_columns(phases.detach().numpy(), tuple(inputs))
    pulled = pull(probabilities_vjp(columns, tree, gradient.detach().numpy()))
    return torch.from_numpy(np.ascontiguousarray(pulled))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.mesh, ctx.inputs = inputs
    ctx.save_for_backward(*tensors)  # reading them raises when they were changed in place meanwhile


def _batch(info: Any, axes: tuple[int | None, ...], tensors: tuple[Tensor, ...]) -> list[Tensor]:
    """The tensors with the axis that vmap runs over as first axis of their batch."""
    return [
        one.expand(info.batch_size, *one.shape) if axis is None else one.movedim(axis, 0)
        for one, axis in zip(tensors, axes, strict=False)
    ]


def _apply(function: Any, *given: Any) -> Tensor:
    found: Tensor = function.apply(*given)
    return found


@final
class _Probabilities(torch.autograd.Function):
    setup_context = staticmethod(_keep)

    @staticmethod
    def forward(phases: Tensor, mesh: str, inputs: list[int]) -> Tensor:
        return _forward(phases, mesh, inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        [phases] = ctx.saved_tensors
        return _apply(_Pullback, phases, gradient, ctx.mesh, ctx.inputs), None, None

    @staticmethod
    def vmap(info: Any, axes: tuple[int | None, ...], phases: Tensor, mesh: str, inputs: list[int]) -> tuple[Any, int]:
        return _apply(_Probabilities, *_batch(info, axes, (phases,)), mesh, inputs), 0


@final
class _Pullback(torch.autograd.Function):
    setup_context = staticmethod(_keep)

    @staticmethod
    def forward(phases: Tensor, gradient: Tensor, mesh: str, inputs: list[int]) -> Tensor:
        return _pullback(phases, gradient, mesh, inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        mesh, inputs = mesh_of(ctx.mesh), tuple(ctx.inputs)

        def pulled(phases: Tensor, cotangent: Tensor) -> Tensor:
            pull: Any = torch.func.vjp(lambda x: plain_probabilities(x, mesh, inputs), phases)[1]
            found: Tensor = pull(cotangent)[0]
            return found

        pull: Any = torch.func.vjp(pulled, *ctx.saved_tensors)[1]
        return *pull(gradient), None, None

    @staticmethod
    def vmap(
        info: Any, axes: tuple[int | None, ...], phases: Tensor, gradient: Tensor, mesh: str, inputs: list[int]
    ) -> tuple[Any, int]:
        return _apply(_Pullback, *_batch(info, axes, (phases, gradient)), mesh, inputs), 0


for _function in (_Probabilities.forward, _Pullback.forward):  # torch asks for it at every call, which costs a tenth
    vars(_function)["__signature__"] = inspect.signature(_function)

# What a compiler sees: it takes no class apart then. Transforms of torch.func take the classes alone.
_ONE_FORWARD = torch.library.custom_op("qpu_sdk::probabilities", _forward, mutates_args=())
_ONE_PULLBACK = torch.library.custom_op("qpu_sdk::probabilities_vjp", _pullback, mutates_args=())


@_ONE_FORWARD.register_fake
def _(phases: Tensor, mesh: str, inputs: list[int]) -> Tensor:
    outcomes = len(collision_free_tree(mesh_of(mesh).modes, len(inputs)).norm)
    return phases.new_empty((*phases.shape[:-1], outcomes))


@_ONE_PULLBACK.register_fake
def _(phases: Tensor, gradient: Tensor, mesh: str, inputs: list[int]) -> Tensor:
    return phases.new_empty(phases.shape)


def _pulled(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    return _ONE_PULLBACK(*ctx.saved_tensors, gradient, ctx.mesh, ctx.inputs), None, None


_ONE_FORWARD.register_autograd(_pulled, setup_context=_keep)


def torch_probabilities(phases: Tensor, mesh: Mesh, input_modes: tuple[int, ...]) -> Tensor:
    """Exact collision-free probabilities, differentiable in the phases as often as one likes, on the CPU.

    Second derivatives, ``torch.func`` (``grad``, ``vjp``, ``jacrev``, ``jvp``, ``jacfwd``, ``hessian``, ``vmap``),
    ``torch.compile`` and ``torch.export`` work, in any order. While a forward-mode derivative is taken, all of it is
    computed in torch's own operations, which takes longer.

    :param phases: radians, float64, ``(..., declared)``.
    :returns: ``(..., C(M, N))``; they sum to the collision-free mass, which is below 1.

    >>> from qpu_sdk.photonics.meshes import IsometryMesh
    >>> mesh = IsometryMesh(3, 2)
    >>> p = torch_probabilities(torch.zeros(mesh.declared, dtype=torch.float64), mesh, (0, 1))
    >>> p.round(decimals=6).tolist()
    [0.0, 0.0, 1.0]
    """
    if _in_forward_mode():
        return plain_probabilities(_checked(phases, mesh), mesh, input_modes)
    given = (phases, mesh.written, list(input_modes))
    return _ONE_FORWARD(*given) if torch.compiler.is_compiling() else _apply(_Probabilities, *given)


def _in_forward_mode() -> bool:
    """Whether tangents are being pushed forward, by ``torch.func`` or ``torch.autograd.forward_ad``.

    A Function of ours could have a ``jvp``, but torch leaves out what an outer forward mode adds to it, in silence.
    """
    return getattr(forward_ad, "_current_level", -1) >= 0  # unknown to a later torch: it refuses the Function then


def _checked(phases: Tensor, mesh: Mesh) -> Tensor:
    if phases.shape[-1:] != (mesh.declared,):
        raise ProgramError(f"{mesh!r} takes {mesh.declared} phases; phases have shape {tuple(phases.shape)}.")
    return phases


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
