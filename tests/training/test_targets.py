"""Targets: the network as a function of flat weights is the network itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from qpu_sdk.errors import ConfigError
from qpu_sdk.training.config import GIVEN
from qpu_sdk.training.targets import PaperCNN, Target, load_target, paper_cnn

PAPER = "qpu_sdk.training.targets:paper_cnn"


class Awkward(nn.Module):
    """Buffers, dropout and a tied layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.drop(self.norm(self.first(self.first(x.flatten(1))))))
        return logits


def awkward() -> nn.Module:
    return Awkward()


def no_module() -> str:
    return "text"


not_callable = 3


def random_weights(size: int) -> Tensor:
    return 0.1 * torch.randn(size, generator=torch.Generator().manual_seed(1))


def random_images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(("build", "shape"), [(paper_cnn, (5, 1, 28, 28)), (awkward, (5, 1, 2, 3))])
def test_logits_are_those_of_the_module_with_the_weights_loaded(build: object, shape: tuple[int, ...]) -> None:
    assert callable(build)
    target, plain = Target(build()), build().eval()
    weights, images = random_weights(target.size), random_images(*shape)
    plain.load_state_dict(target.tensors(weights), strict=False)
    with torch.no_grad():
        assert torch.equal(target.logits(weights, images), plain(images))


def test_flat_weights_are_in_state_dict_order() -> None:
    target = Target(PaperCNN())
    names = list(PaperCNN().state_dict())
    assert list(target.shapes) == names
    starts = dict(zip(names, torch.tensor([0, *target.sizes]).cumsum(0).tolist(), strict=False))
    assert [starts[n] for n in ("conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight")] == [0, 208, 2620, 6480]
    assert target.size == 6690


def test_flat_and_tensors_are_inverse() -> None:
    target = Target(awkward())
    weights = random_weights(target.size)
    assert torch.equal(target.flat(target.tensors(weights)), weights)


def test_weights_carry_gradients_and_the_module_none() -> None:
    target = Target(paper_cnn())
    weights = random_weights(target.size).requires_grad_()
    (gradient,) = torch.autograd.grad(target.logits(weights, random_images(3, 1, 28, 28)).square().sum(), weights)
    assert gradient.shape == weights.shape
    assert float(gradient.abs().max()) > 0
    assert not any(q.requires_grad for q in target.module.parameters())


def test_evaluation_mode_is_deterministic() -> None:
    target = Target(awkward())
    weights, images = random_weights(target.size), random_images(4, 1, 2, 3)
    assert torch.equal(target.logits(weights, images), target.logits(weights, images))


def test_the_paper_network_has_no_activation() -> None:
    target = Target(paper_cnn())
    weights, images = random_weights(target.size), random_images(3, 1, 28, 28)
    biases = {name: ("bias" in name) for name in target.shapes}
    zeroed = {n: torch.zeros_like(t) if biases[n] else t for n, t in target.tensors(weights).items()}
    flat = target.flat(zeroed)
    scaled = target.logits(flat, 3.0 * images)  # max-pooling alone is homogeneous under positive factors
    torch.testing.assert_close(scaled, 3.0 * target.logits(flat, images), rtol=1e-4, atol=1e-5)


def test_template_depends_on_the_seed_alone_and_leaves_the_global_state() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (load_target(PAPER, seed=s) for s in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    flats = [t.flat(dict(t.module.named_parameters())) for t in (one, same, other)]
    assert torch.equal(flats[0], flats[1])
    assert not torch.equal(flats[0], flats[2])


def test_a_factory_of_the_users_own() -> None:
    assert load_target(f"{__name__}:awkward", seed=1).size == 6 * 7 + 12 + 3 * 7


@pytest.mark.parametrize(
    "factory",
    [
        "",
        "paper_cnn",
        ":paper_cnn",
        "qpu_sdk.training.targets:",
        "qpu_sdk.training.targets:none",
        "no.such.module:f",
        ".targets:paper_cnn",
        f"{__name__}:not_callable",
        f"{__name__}:no_module",
    ],
)
def test_factories_that_give_no_module_are_refused(factory: str) -> None:
    with pytest.raises(ConfigError, match="target ") as caught:
        load_target(factory, seed=1)
    assert "\n" not in str(caught.value)


# -- frozen layers -----------------------------------------------------------------------------------------


def partly_frozen() -> nn.Module:
    module = Awkward()
    module.first.requires_grad_(False)
    return module


def test_frozen_layers_keep_their_values_and_are_not_generated() -> None:
    module = partly_frozen()
    target = Target(module)
    assert list(target.shapes) == ["norm.weight", "norm.bias", "last.weight", "last.bias"]
    assert target.size == 12 + 21
    weights, images = random_weights(target.size), random_images(4, 1, 2, 3)
    state = target.state(weights)
    assert list(state) == list(module.state_dict())
    assert torch.equal(state["first.weight"], module.first.weight)
    assert torch.equal(target.flat(state), weights)
    plain = Awkward().eval()
    plain.load_state_dict(state)
    assert torch.equal(plain(images), target.logits(weights, images))
    assert all(p.requires_grad for p in module.last.parameters())


def test_frozen_values_are_part_of_the_fingerprint_and_generated_ones_are_not() -> None:
    module = partly_frozen()
    first = Target(module).fingerprint
    with torch.no_grad():
        module.get_parameter("last.weight").add_(1)
    assert Target(module).fingerprint == first
    with torch.no_grad():
        module.get_parameter("first.weight").add_(1)
    assert Target(module).fingerprint != first


def test_a_network_with_nothing_to_generate_is_one_line() -> None:
    with pytest.raises(ConfigError, match="no parameter to generate"):
        Target(paper_cnn().requires_grad_(False))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_a_compiled_or_uncopyable_network_is_one_line() -> None:
    tangled = nn.Linear(2, 2)
    tangled.register_buffer("late", tangled.weight * 2)  # no leaf of the graph: deepcopy refuses it
    for module, words in ((torch.jit.script(nn.Linear(2, 2)), "compiled"), (tangled, "cannot be copied")):
        with pytest.raises(ConfigError, match=words) as caught:
            Target(module)
        assert "\n" not in str(caught.value)


# -- what the network computes -----------------------------------------------------------------------------


class Scaled(nn.Module):
    """Says the same of itself whatever its factor is."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.layer, self.factor = nn.Linear(6, 3), factor

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.factor * self.layer(x.flatten(1))
        return logits


def test_a_probe_tells_networks_apart_that_say_the_same() -> None:
    one, again, other = (Target(Scaled(factor)) for factor in (1.0, 1.0, 1.1))
    assert one.fingerprint == other.fingerprint
    assert torch.equal(one.probe((1, 2, 3)), again.probe((1, 2, 3)))  # whatever the first weights are
    assert not torch.allclose(one.probe((1, 2, 3)), other.probe((1, 2, 3)), rtol=1e-2)


def test_a_probe_leaves_the_random_state_as_it_was() -> None:
    target, before = Target(paper_cnn()), torch.random.get_rng_state()
    assert target.probe((1, 28, 28)).shape == (4, 10)
    assert torch.equal(before, torch.random.get_rng_state())


def test_buffers_of_any_type_are_part_of_the_fingerprint() -> None:
    module = Scaled(1.0)
    module.register_buffer("kept", torch.ones(2, dtype=torch.bfloat16))
    first = Target(module).fingerprint
    module.get_buffer("kept").zero_()
    assert Target(module).fingerprint != first


class Noted(Scaled):
    def get_extra_state(self) -> str:
        return "text"

    def set_extra_state(self, state: object) -> None:
        pass


def with_buffer(values: Tensor, *, persistent: bool = True) -> nn.Module:
    module = Scaled(1.0)
    module.register_buffer("mask", values, persistent=persistent)
    return module


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Noted(1.0), "a str"),
        (with_buffer(torch.tensor([0.0, -torch.inf])), "not finite"),
        (with_buffer(torch.zeros(2, device="meta")), "without values"),
        (nn.Linear(2, 2, device="meta"), "without values"),
    ],
)
def test_what_no_model_file_keeps_is_refused_before_a_run(module: nn.Module, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Target(module)
    assert "\n" not in str(caught.value)


def test_a_mask_that_is_no_state_is_taken() -> None:
    assert Target(with_buffer(torch.tensor([0.0, -torch.inf]), persistent=False)).size == 21


def test_the_stand_in_for_a_passed_network_is_no_factory() -> None:
    with pytest.raises(ConfigError, match="passed from Python"):
        load_target(GIVEN, seed=1)
