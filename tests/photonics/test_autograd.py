"""Derivatives of exact probabilities: of every order, by every way that torch has to take them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from qpu_sdk.errors import ProgramError
from qpu_sdk.photonics.autograd import torch_probabilities
from qpu_sdk.photonics.interferometer import Mesh
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh, mesh_of
from qpu_sdk.photonics.permanents import collision_free_tree, probabilities
from qpu_sdk.photonics.plain import plain_probabilities

CASES = [
    (BrickwallMesh(4), (0, 2)),
    (RectangularMesh(4), (0, 1, 3)),
    (IsometryMesh(5, 3), (0, 1, 2)),
    (IsometryMesh(3, 1), (0,)),
]
each = pytest.mark.parametrize(("mesh", "inputs"), CASES, ids=str)


def random_phases(mesh: Mesh, *batch: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 2 * np.pi, (*batch, mesh.declared)))


def loss_of(
    mesh: Mesh, inputs: tuple[int, ...], how: Callable[..., Tensor] = torch_probabilities
) -> Callable[..., Tensor]:
    weight = torch.linspace(-1, 2, len(collision_free_tree(mesh.modes, len(inputs)).norm), dtype=torch.float64)
    return lambda phases: (how(phases, mesh, inputs).square() @ weight).sum()


@each
def test_probabilities_are_numpys_and_the_plain_ones(mesh: Mesh, inputs: tuple[int, ...]) -> None:
    phases = random_phases(mesh, 2, 3, seed=1)
    found = torch_probabilities(phases, mesh, inputs)
    tree = collision_free_tree(mesh.modes, len(inputs))
    np.testing.assert_array_equal(found.numpy(), probabilities(mesh.columns(phases.numpy(), inputs), tree))
    torch.testing.assert_close(found, plain_probabilities(phases, mesh, inputs), rtol=0, atol=1e-14)


@each
def test_first_and_second_derivatives_pass_torchs_checks(mesh: Mesh, inputs: tuple[int, ...]) -> None:
    phases = random_phases(mesh, 2, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: torch_probabilities(x, mesh, inputs), (phases,))
    assert torch.autograd.gradgradcheck(lambda x: torch_probabilities(x, mesh, inputs), (phases,))


@each
def test_functional_transforms_agree_with_backward(mesh: Mesh, inputs: tuple[int, ...]) -> None:
    loss, phases = loss_of(mesh, inputs), random_phases(mesh, 3, seed=3).requires_grad_()
    [expected] = torch.autograd.grad(loss(phases), phases)
    fixed = phases.detach()
    torch.testing.assert_close(torch.func.grad(loss)(fixed), expected, rtol=0, atol=0)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(fixed), expected)
    last = torch.func.vmap(torch.func.grad(loss), in_dims=1)(fixed.T.contiguous())
    torch.testing.assert_close(last, expected)


@each
def test_hessians_are_the_plain_ones(mesh: Mesh, inputs: tuple[int, ...]) -> None:
    phases = random_phases(mesh, seed=4)
    plain = torch.autograd.functional.hessian(loss_of(mesh, inputs, plain_probabilities), phases)
    found = torch.func.jacrev(torch.func.jacrev(loss_of(mesh, inputs)))(phases)
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)
    assert float(plain.abs().max()) > 1e-2 or len(inputs) == 1
    batched = torch.func.vmap(torch.func.jacrev(torch.func.grad(loss_of(mesh, inputs))))(phases[None])
    torch.testing.assert_close(batched[0], plain, rtol=0, atol=1e-12)


forward = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch.func.jvp imports it


@forward
@each
def test_forward_mode_agrees_with_reverse_mode_and_differences(mesh: Mesh, inputs: tuple[int, ...]) -> None:
    def circuit(phases: Tensor) -> Tensor:
        return torch_probabilities(phases, mesh, inputs)

    at, along = random_phases(mesh, 2, seed=11)
    jacobian = torch.func.jacrev(circuit)(at)
    torch.testing.assert_close(torch.func.jacfwd(circuit)(at), jacobian, rtol=0, atol=1e-12)
    pushed = torch.func.jvp(circuit, (at,), (along,))[1]
    torch.testing.assert_close(pushed, jacobian @ along, rtol=0, atol=1e-12)
    h = 1e-5
    difference = (circuit(at + h * along) - circuit(at - h * along)) / (2 * h)
    torch.testing.assert_close(pushed, difference, rtol=0, atol=1e-7)
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(circuit(forward_ad.make_dual(at, along)))
    torch.testing.assert_close(dual.tangent, pushed, rtol=0, atol=1e-14)
    torch.testing.assert_close(dual.primal, circuit(at), rtol=0, atol=1e-14)


@forward
@each
def test_forward_and_reverse_mode_nest_in_any_order(mesh: Mesh, inputs: tuple[int, ...]) -> None:
    loss, phases = loss_of(mesh, inputs), random_phases(mesh, seed=12)
    expected = torch.func.jacrev(torch.func.jacrev(loss))(phases)
    fwd, rev = torch.func.jacfwd, torch.func.jacrev
    for outer, inner in ((fwd, rev), (rev, fwd), (fwd, fwd)):
        torch.testing.assert_close(outer(inner(loss))(phases), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.func.hessian(loss)(phases), expected, rtol=0, atol=1e-12)
    several = torch.func.vmap(torch.func.hessian(loss))(phases.repeat(2, 1))
    torch.testing.assert_close(several[1], expected, rtol=0, atol=1e-12)


def test_third_derivatives_are_the_plain_ones() -> None:
    mesh, inputs = CASES[3]
    phases = random_phases(mesh, seed=10)
    found, plain = (
        torch.func.jacrev(torch.func.jacrev(torch.func.grad(loss_of(mesh, inputs, how))))(phases)
        for how in (torch_probabilities, plain_probabilities)
    )
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("mesh", "inputs"), CASES[:2], ids=str)
def test_one_graph_is_compiled_with_the_same_gradient(mesh: Mesh, inputs: tuple[int, ...]) -> None:
    loss, phases = loss_of(mesh, inputs), random_phases(mesh, 2, seed=5).requires_grad_()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    [expected] = torch.autograd.grad(loss(phases), phases)
    [found] = torch.autograd.grad(compiled(phases), phases)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)


def test_an_exported_graph_computes_the_same() -> None:
    mesh, inputs = CASES[0]

    class Circuit(torch.nn.Module):
        def forward(self, phases: Tensor) -> Tensor:
            return torch_probabilities(phases, mesh, inputs)

    phases = random_phases(mesh, 2, seed=6)
    program = torch.export.export(Circuit(), (phases,))
    torch.testing.assert_close(program.module()(phases), torch_probabilities(phases, mesh, inputs), rtol=0, atol=0)


@each
def test_a_mesh_goes_through_text(mesh: Mesh, inputs: tuple[int, ...]) -> None:
    again = mesh_of(mesh.written)
    assert (again.fingerprint, again.declared) == (mesh.fingerprint, mesh.declared)
    phases = random_phases(mesh, seed=7).numpy()
    np.testing.assert_array_equal(again.columns(phases, inputs), mesh.columns(phases, inputs))


def test_operations_keep_torchs_rules() -> None:
    mesh, inputs = CASES[0]
    phases = random_phases(mesh, 2, seed=8)
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.qpu_sdk.probabilities.default, (phases, mesh.written, [*inputs]), test_utils=tests)
    gradient = torch_probabilities(phases, mesh, inputs)
    given = (phases, gradient, mesh.written, [*inputs])
    torch.library.opcheck(torch.ops.qpu_sdk.probabilities_vjp.default, given, test_utils=tests)


def test_phases_changed_before_backward_do_not_change_the_gradient_silently() -> None:
    """torch's own operations refuse a backward pass over tensors that were changed in place."""
    mesh, inputs = CASES[2]
    phases = random_phases(mesh, seed=9).requires_grad_()
    loss = torch_probabilities(phases, mesh, inputs)[0]
    with torch.no_grad():
        phases += 0.5
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(loss, phases)


def test_bad_phases_are_refused() -> None:
    mesh, inputs = CASES[0]
    with pytest.raises(ProgramError, match=f"takes {mesh.declared} phases"):
        torch_probabilities(torch.zeros(3, dtype=torch.float64), mesh, inputs)
    with forward_ad.dual_level(), pytest.raises(ProgramError, match=f"takes {mesh.declared} phases"):
        torch_probabilities(torch.zeros(3, dtype=torch.float64), mesh, inputs)
    with pytest.raises(ProgramError, match="not a finite number"):
        torch_probabilities(torch.full((mesh.declared,), torch.nan, dtype=torch.float64), mesh, inputs)
