"""The layer as a module of torch: what comes out, what flows back, and what a state_dict holds."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qpu_sdk.devices.registry import open_device
from qpu_sdk.errors import ConfigError, ProgramError
from qpu_sdk.layer.photonic_layer import PhotonicLayer
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh
from qpu_sdk.photonics.program import Program


def layer(**changes: Any) -> PhotonicLayer:
    return PhotonicLayer(IsometryMesh(5, 2), **{"seed": 1, **changes})


def test_p_is_the_conditional_distribution_of_the_program() -> None:
    for made, program in (
        (layer(), Program.random(IsometryMesh(5, 2), seed=1)),
        (PhotonicLayer(BrickwallMesh(4), (1, 3), seed=2), Program.random(BrickwallMesh(4), (1, 3), seed=2)),
        (PhotonicLayer(RectangularMesh(4), photons=3, seed=3), Program.random(RectangularMesh(4), photons=3, seed=3)),
    ):
        p = made()
        np.testing.assert_allclose(p.detach().numpy(), program.probabilities(), rtol=0, atol=1e-14)
        assert p.shape == (made.outcomes,)


def test_gradients_flow_to_own_and_given_phases() -> None:
    made = layer()
    given = torch.zeros(3, made.declared, dtype=torch.float64, requires_grad=True)
    weight = torch.arange(3.0 * made.outcomes, dtype=torch.float64).reshape(3, -1)
    (made(given) * weight).sum().backward()
    assert given.grad is not None
    assert made.phases.grad is not None
    torch.testing.assert_close(made.phases.grad, given.grad.sum(dim=0))
    assert float(given.grad.abs().max()) > 1e-2


@pytest.mark.parametrize("own", [torch.float64, torch.float32])
def test_p_has_the_type_of_what_came_in(own: torch.dtype) -> None:
    made = layer(dtype=own)
    assert (made.phases.dtype, made().dtype) == (own, own)
    for given in (torch.float32, torch.float64, torch.bfloat16):
        assert made(torch.zeros(2, made.declared, dtype=given)).dtype == given
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, made.declared), made, nn.Linear(made.outcomes, 3))
    model(torch.rand(2, 4)).sum().backward()  # in single precision around phases of any


@pytest.mark.parametrize("batch", [(), (1,), (4,), (2, 3), (0,)])
def test_every_batch_has_the_distributions_of_its_rows(batch: tuple[int, ...]) -> None:
    made = layer()
    phases = torch.from_numpy(np.random.default_rng(2).uniform(0, 6, (*batch, made.declared)))
    p = made(phases)
    assert p.shape == (*batch, made.outcomes)
    for index in np.ndindex(*batch):
        torch.testing.assert_close(p[index], made(phases[index]), rtol=0, atol=1e-15)


def loss_of(made: PhotonicLayer) -> Callable[..., Tensor]:
    weight = torch.linspace(-1, 1, made.outcomes, dtype=torch.float64)

    def loss(phases: Tensor, given: Tensor) -> Tensor:
        p: Tensor = torch.func.functional_call(made, {"phases": phases}, (given,))
        return (p.square() @ weight).sum()

    return loss


def test_double_backward_and_functional_transforms() -> None:
    made, given = layer(), torch.zeros(2, layer().declared, dtype=torch.float64)
    loss, phases = loss_of(made), made.phases.detach().clone().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: loss(x, given), (phases,))
    [expected] = torch.autograd.grad(loss(phases, given), phases)
    torch.testing.assert_close(torch.func.grad(loss)(phases.detach(), given), expected)
    rows = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(phases.detach(), given)
    torch.testing.assert_close(rows.sum(dim=0), expected)


def test_a_model_around_it_is_compiled_as_one_graph() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, layer().declared), layer(), nn.Linear(layer().outcomes, 2))
    images = torch.rand(4, 3)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    model(images).square().sum().backward()
    expected = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    compiled(images).square().sum().backward()
    for found, wanted in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(found.grad, wanted)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # which torch's compiler hides
def test_a_model_around_a_measured_one_is_compiled_but_for_it() -> None:
    torch.manual_seed(0)
    measured = layer(shots=100, gradient="spsa")
    model = nn.Sequential(nn.Linear(3, measured.declared), measured, nn.Linear(measured.outcomes, 2))
    plain, images = copy.deepcopy(model), torch.rand(4, 3)
    for whole in (False, True):
        compiled = torch.compile(model, fullgraph=whole, backend="aot_eager")
        expected = plain(images)
        torch.testing.assert_close(compiled(images), expected)
    expected.sum().backward()
    assert float(plain[1].phases.grad.abs().max()) > 0
    compiled(images).sum().backward()
    assert int(model[1].forwards) == 3
    assert model[1].spent.settings == 3 * 4 + 8  # one of them went back
    with pytest.raises(ProgramError, match=r"no vmap, torch.func.grad and torch.export, which exact ones have"):
        torch.export.export(model, (images,))


def test_on_the_meta_device_it_has_a_shape_alone() -> None:
    for made in (layer().to("meta"), layer(shots=100, gradient="spsa").to("meta")):
        assert "seed=1" in repr(copy.deepcopy(made))
        for batch in ((), (3,), (2, 3)):
            p = made(torch.zeros(*batch, made.declared, device="meta", dtype=torch.float32))
            assert (p.shape, p.device.type, p.dtype) == ((*batch, made.outcomes), "meta", torch.float32)
        assert made().shape == (made.outcomes,)
        assert made.spent.settings == 0


def test_one_made_on_the_meta_device_takes_values() -> None:
    trained = layer(shots=100, gradient="spsa", seed=7)
    with torch.device("meta"):
        made = layer(shots=100, gradient="spsa")
    made.load_state_dict(copy.deepcopy(trained).state_dict(), assign=True)
    torch.testing.assert_close(made(), trained(), rtol=0, atol=0)  # those of its device too


def test_layers_are_an_ensemble_of_torch_func() -> None:
    layers, given = [layer(seed=seed) for seed in range(3)], torch.zeros(2, layer().declared)
    state, base = torch.func.stack_module_state(layers), copy.deepcopy(layers[0]).to("meta")
    rows = torch.func.vmap(lambda one: torch.func.functional_call(base, one, (given,)))(state)
    torch.testing.assert_close(rows, torch.stack([made(given) for made in layers]))


@pytest.mark.parametrize(
    "optimiser",
    [
        lambda parameters: torch.optim.SGD(parameters, lr=0.5, momentum=0.9),
        lambda parameters: torch.optim.Adam(parameters, lr=0.1),
        lambda parameters: torch.optim.RMSprop(parameters, lr=0.03),
        lambda parameters: torch.optim.LBFGS(parameters, max_iter=5),
    ],
    ids=["SGD", "Adam", "RMSprop", "LBFGS"],
)
def test_any_optimiser_trains_it(optimiser: Callable[..., torch.optim.Optimizer]) -> None:
    made = layer()
    rule = optimiser(made.parameters())

    def closure() -> Tensor:
        rule.zero_grad()
        loss = 1.0 - made()[3]
        loss.backward()
        return loss

    first = float(closure().detach())
    for _ in range(40):
        rule.step(closure)
    assert float(closure().detach()) < 0.3 * first


def test_a_state_dict_holds_phases_and_seeds() -> None:
    made, other = layer(shots=100, gradient="spsa"), layer(shots=100, gradient="spsa", seed=7)
    made()
    state = made.state_dict()
    assert set(state) == {"phases", "seed", "forwards"}
    assert (int(state["seed"]), int(state["forwards"])) == (1, 1)
    other.load_state_dict(state)
    elsewhere = torch.ones(made.declared)
    torch.testing.assert_close(other(elsewhere), made(elsewhere), rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="size mismatch for phases"):
        PhotonicLayer(IsometryMesh(4, 2), seed=1).load_state_dict(state)


def test_a_copy_is_of_its_own() -> None:
    made = layer(shots=100, gradient="spsa")
    twin = copy.deepcopy(made)
    torch.testing.assert_close(twin(), made(), rtol=0, atol=0)
    with torch.no_grad():
        twin.phases += 1.0
    assert not torch.equal(twin.phases, made.phases)


@pytest.mark.parametrize("how", [{}, {"shots": 100, "gradient": "spsa"}])
def test_a_whole_model_is_saved_by_torch(how: dict[str, Any]) -> None:
    made, file = layer(**how), io.BytesIO()
    torch.save(nn.Sequential(made), file)
    assert file.getvalue()
    twin = copy.deepcopy(copy.copy(made))  # the first by what is saved, with the same tensors
    torch.testing.assert_close(twin(), made(), rtol=0, atol=0)
    assert twin.spent.settings == made.spent.settings == bool(how)


def test_an_open_device_stays_in_its_process() -> None:
    made = layer(device=open_device("local:slos", seed=1), shots=100)
    with pytest.raises(ConfigError, match=r"'local:slos', stays in this process. Give the layer the device's string"):
        torch.save(made, io.BytesIO())


def test_it_says_what_it_is() -> None:
    text = repr(layer())
    for part in ("IsometryMesh(modes=5", "inputs=(0, 1)", "outcomes=10", "'local:slos'", "exact", "seed=1"):
        assert part in text


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"shots": 0}, ConfigError, "shots is 0. Use 1 or more"),
        ({"gradient": "adjoint"}, ConfigError, "gradient is 'adjoint'. Use exact, parameter-shift or spsa"),
        ({"shift_phases": 3}, ConfigError, 'shift_phases is of gradient="parameter-shift"; gradient is exact'),
        ({"gradient": "parameter-shift", "shift_phases": [99]}, ConfigError, "Use indices from 0 to 9"),
        ({"gradient": "parameter-shift", "shift_phases": 0}, ConfigError, "shift_phases is 0. Use 1 or more"),
        ({"pairs": 0}, ConfigError, "pairs is 0"),
        ({"step": 0.0}, ConfigError, "step is 0.0"),
        ({"budget": {"setting": 3}}, ConfigError, "budget has no 'setting'. Use settings, shots"),
        ({"budget": {"settings": -1}}, ConfigError, "budget.settings is -1"),
        ({"dtype": torch.int64}, ConfigError, "Use torch.float64 or torch.float32"),
        ({"device": "local:slos?noise=belenos"}, ConfigError, "has no exact probabilities.* give shots="),
        ({"device": "slos"}, ConfigError, "is not KIND:NAME"),
        ({"method": "magic"}, ConfigError, "method 'magic' is unknown"),
        ({"input": (0, 9)}, ProgramError, "input modes .*9"),
        ({"seed": -1}, ConfigError, "seed is -1"),
        ({"dtype": "float32"}, ConfigError, "Use torch.float64 or torch.float32"),
        ({"device": 3}, ConfigError, "a int is no device"),
    ],
)
def test_what_does_not_fit_is_said_at_once(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        layer(**changes)


def test_other_phases_are_refused() -> None:
    with pytest.raises(ProgramError, match=r"phases are a tensor of torch.int64\. Give a floating-point tensor"):
        layer()(torch.zeros(2, 10, dtype=torch.int64))
    with pytest.raises(ProgramError, match="phases are a list"):
        layer()([0.0] * 10)
    with pytest.raises(ProgramError, match="a str is no mesh"):
        PhotonicLayer("isometry", seed=1)  # type: ignore[arg-type]
    with pytest.raises(ProgramError, match="not a finite number"):
        layer()(torch.full((10,), torch.nan))
    with pytest.raises(ProgramError, match=r"phases have shape \(2, 5\); the layer takes \(..., 10\)"):
        layer()(torch.zeros(2, 5))
