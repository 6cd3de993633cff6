"""One forward pass of what is measured, and the backward pass that its gradient is made of."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from ..arrays import FloatArray
from ..errors import ProgramError
from .bench import Bench
from .exact import conditional_probabilities
from .gradients import Gradients


def measured_pass(phases: Tensor, bench: Bench, ways: Gradients | None, number: int) -> Tensor:
    """p as a bench shows it, ``(B, declared) -> (B, K)``.

    :param ways: to the gradient; None for that of the ideal circuit.
    :param number: of the pass, which names its jobs and what it draws.
    :raises ProgramError: under a transform of torch.func or a compiler.
    :raises BudgetExceeded: before anything is sent, when the budget does not bear this pass and its backward pass.
    """
    vectors = _numbers(phases)
    jobs = {_forward(number): vectors}
    what = f"a forward pass of {len(vectors):,} phase vector{'s' if len(vectors) > 1 else ''}"
    if ways is not None and torch.is_grad_enabled() and phases.requires_grad:
        jobs[_backward(number)] = ways.points(vectors, number)
        what += " with its backward pass"
    bench.check(jobs, what)
    if ways is not None:
        found: Tensor = _Seen.apply(phases, bench, ways, number)  # type: ignore[no-untyped-call]
        return found
    exact = conditional_probabilities(phases, bench.circuit.mesh, bench.circuit.input_modes)
    # what was measured, with the gradient of what is ideal
    return torch.from_numpy(bench.look(vectors, _forward(number)).p) + (exact - exact.detach())


@final
class _Seen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, phases: Tensor, bench: Bench, ways: Gradients, number: int) -> Tensor:
        ctx.save_for_backward(phases)
        ctx.bench, ctx.ways, ctx.number = bench, ways, number
        ctx.here = bench.look(phases.detach().numpy(), _forward(number))
        return torch.from_numpy(ctx.here.p.copy())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None, None]:
        vectors: FloatArray = ctx.saved_tensors[0].detach().numpy()
        points, empty = ctx.ways.points(vectors, ctx.number), ctx.ways.takes_nothing
        there = ctx.bench.look(points, _backward(ctx.number), empty=empty)
        found = ctx.ways.pull(vectors, cotangent.numpy(), ctx.here, there, ctx.number)
        return torch.from_numpy(found), None, None, None


def _forward(number: int) -> str:
    return f"forward/{number}"


def _backward(number: int) -> str:
    return f"backward/{number}"


def _numbers(phases: Tensor) -> FloatArray:
    """What is measured has values, which a transform of torch.func has not."""
    try:
        return phases.detach().numpy()
    except RuntimeError:
        raise untraced() from None


def untraced() -> ProgramError:
    """The error where numbers are asked for before there are any."""
    return ProgramError(
        "measured probabilities have no vmap, torch.func.grad and torch.export, which exact ones have (shots=None). "
        "Pass a batch, take backward(), and export a layer without shots."
    )
