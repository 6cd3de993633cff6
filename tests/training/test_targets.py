"""Targets: the network as a function of flat weights is the network itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qpu_sdk.errors import ConfigError
from qpu_sdk.training.config import GIVEN, TargetConfig
from qpu_sdk.training.evaluation import check_learns
from qpu_sdk.training.targets import BUILT_IN, PaperCNN, Target, check_rebuilt, load_target, paper_cnn

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
        (with_buffer(torch.eye(2).to_sparse()), "sparse"),
        (with_buffer(torch.zeros(2, device="meta")), r"meta device \(mask\), where tensors have no values"),
        (nn.Linear(2, 2, device="meta"), r"meta device \(weight\).* Make it on the CPU"),
    ],
)
def test_what_no_model_file_keeps_is_refused_before_a_run(module: nn.Module, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Target(module)
    assert "\n" not in str(caught.value)


def test_a_quantised_buffer_is_refused_before_a_run() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch gives these tensors up
        buffer = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    with pytest.raises(ConfigError, match="complex, sparse or quantised numbers in its state_dict"):
        Target(with_buffer(buffer))


def test_a_number_beyond_single_precision_is_finite() -> None:
    buffer = torch.tensor([-1e300], dtype=torch.float64)
    target = Target(with_buffer(buffer))
    assert torch.equal(target.state(random_weights(target.size))["mask"], buffer)


def test_a_mask_that_is_no_state_is_taken() -> None:
    assert Target(with_buffer(torch.tensor([0.0, -torch.inf]), persistent=False)).size == 21


def test_the_stand_in_for_a_passed_network_is_no_factory() -> None:
    with pytest.raises(ConfigError, match="passed from Python"):
        load_target(GIVEN, seed=1)


# -- types and state ---------------------------------------------------------------------------------------


def layers(*more: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *more, nn.Linear(6, 3))


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16, torch.float32])
def test_a_network_keeps_the_type_of_its_numbers(kind: torch.dtype) -> None:
    target, images = Target(layers(nn.Linear(6, 6), nn.Tanh()).to(kind)), random_images(4, 1, 2, 3)
    weights = random_weights(target.size)
    state, fresh = target.state(weights), layers(nn.Linear(6, 6), nn.Tanh()).to(kind)
    assert {tensor.dtype for tensor in state.values()} == {kind}
    fresh.load_state_dict(state, strict=True)
    with torch.no_grad():
        assert torch.equal(target.logits(weights, images).to(kind), fresh(images.to(kind)))
    assert torch.equal(target.flat(state), torch.cat([t.reshape(-1).float() for t in target.tensors(weights).values()]))


class Careless(nn.Module):
    """Writes to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.sub_(0.5).flatten(1))
        return logits


def test_images_stay_as_they_are() -> None:
    target, images = Target(Careless()), random_images(4, 1, 2, 3)
    weights, before = random_weights(target.size), images.clone()
    for learning in (True, False):
        assert torch.equal(target.logits(weights, images, learning=learning), target.logits(weights, images))
        assert torch.equal(images, before)


def tied() -> nn.Module:
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    second.weight = first.weight
    return layers(first, nn.Tanh(), second)


def test_tied_weights_are_generated_once_and_leave_as_two() -> None:
    target, images = Target(tied()), random_images(4, 1, 2, 3)
    weights, fresh = random_weights(target.size), tied().eval()
    assert target.size == 36 + 12 + 21
    state = target.state(weights)
    assert torch.equal(state["1.weight"], state["3.weight"])
    fresh.load_state_dict(state, strict=True)
    with torch.no_grad():
        assert torch.equal(target.logits(weights, images), fresh(images))


def turned() -> nn.Module:
    module = layers()
    module.get_submodule("1").weight = nn.Parameter(torch.rand(6, 3).T)
    return module


def with_none() -> nn.Module:
    module = layers()
    module.register_parameter("empty", nn.Parameter(torch.zeros(0, 3)))
    return module


def normed() -> nn.Module:
    return layers(nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)))


@pytest.mark.parametrize("build", [turned, with_none, normed])
def test_parameters_of_every_form_are_generated(build: Callable[[], nn.Module]) -> None:
    target, images, fresh = Target(build()), random_images(4, 1, 2, 3), build().eval()
    weights = random_weights(target.size)
    fresh.load_state_dict(target.state(weights), strict=True)
    with torch.no_grad():
        assert torch.allclose(target.logits(weights, images), fresh(images))


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(6, 3, dtype=torch.complex64))


def keeping_statistics() -> nn.Module:
    return nn.Sequential(nn.InstanceNorm1d(2, track_running_stats=True), nn.Linear(6, 3))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (Complex, "complex parameters"),
        (lambda: with_buffer(torch.zeros(2, dtype=torch.complex64)), "complex"),
        (lambda: with_buffer(torch.eye(2).to_sparse()), "sparse"),
        (keeping_statistics, "track_running_stats=False"),
        (lambda: nn.Sequential(nn.LazyLinear(3)), "lazy"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_networks_that_cannot_be_generated_are_one_line(build: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Target(build())
    assert "\n" not in str(caught.value)


# -- built in ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("factory", "size"), [(PAPER, 6_690), ("qpu_sdk.training.networks:normed_cnn", 14_554)])
def test_built_in_targets_tell_ten_classes_of_digits(factory: str, size: int) -> None:
    assert factory in BUILT_IN
    target = load_target(factory, seed=1)
    assert (target.size, target.frozen) == (size, 0)
    assert target.logits(random_weights(target.size), random_images(3, 1, 28, 28)).shape == (3, 10)


def test_the_scale_of_normed_layers_does_not_matter_and_that_of_the_last_does() -> None:
    target = load_target("qpu_sdk.training.networks:normed_cnn", seed=1)
    weights, images = 0.1 * random_weights(target.size), random_images(20, 1, 28, 28)
    before = target.logits(weights, images, learning=True)
    for name in ("conv1.weight", "conv2.weight", "conv3.weight", "last.weight"):
        scaled = {n: t * (3.0 if n == name else 1.0) for n, t in target.tensors(weights).items()}
        after = target.logits(target.flat(scaled), images, learning=True)
        assert torch.allclose(after, before, rtol=1e-2, atol=1e-3) == (name != "last.weight")


# -- batch norms -------------------------------------------------------------------------------------------


def convolution() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))


def learning_like(module: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    module.load_state_dict(state)
    return module.train()


def test_batch_norms_see_the_batch_in_training_and_nothing_else_changes() -> None:
    target, images = Target(convolution()), random_images(20, 1, 4, 4)
    weights, before = random_weights(target.size), {n: t.clone() for n, t in target.module.state_dict().items()}
    expected = learning_like(convolution(), target.state(weights))(images)
    assert torch.allclose(target.logits(weights, images, learning=True), expected, atol=1e-6)
    assert not torch.allclose(target.logits(weights, images), expected, atol=1e-2)
    assert all(torch.equal(t, before[n]) for n, t in target.module.state_dict().items())
    assert not any(part.training for part in target.module.modules())


@pytest.mark.parametrize("images", [20, 2500])
def test_statistics_leave_as_those_of_all_training_images(images: int) -> None:
    target, x = Target(convolution()), random_images(images, 1, 4, 4)
    weights = random_weights(target.size)
    settled, fresh = target.settled(weights, x), convolution()
    fresh.load_state_dict(settled.state(weights), strict=True)
    with torch.no_grad():
        seen = fresh[0](x)
        assert torch.allclose(fresh.get_buffer("1.running_mean"), seen.mean((0, 2, 3)), atol=1e-5)
        assert torch.allclose(fresh.get_buffer("1.running_var"), seen.var((0, 2, 3)), rtol=1e-2)
        assert torch.equal(settled.logits(weights, x[:7]), fresh.eval()(x[:7]))
    assert torch.equal(
        settled.state(weights)["1.running_mean"], target.settled(weights, x).state(weights)["1.running_mean"]
    )
    assert torch.equal(target.module.get_buffer("1.running_mean"), torch.zeros(4))


def own_statistics(module: nn.Module) -> nn.Module:
    module.get_buffer("1.running_mean").fill_(0.3)
    return module


def frozen_norm() -> nn.Module:
    module = own_statistics(convolution())
    module.get_submodule("1").requires_grad_(False)
    return module


def evaluated_norm() -> nn.Module:
    return own_statistics(convolution()).eval()


@pytest.mark.parametrize("build", [frozen_norm, evaluated_norm])
def test_statistics_that_were_frozen_stay(build: Callable[[], nn.Module]) -> None:
    target, images = Target(build()), random_images(20, 1, 4, 4)
    weights = random_weights(target.size)
    assert not target.learns_statistics
    assert torch.equal(target.logits(weights, images, learning=True), target.logits(weights, images))
    assert torch.equal(target.settled(weights, images).state(weights)["1.running_mean"], torch.full((4,), 0.3))
    assert target.fingerprint != Target(own_statistics(convolution())).fingerprint  # a run goes on with what it began


# -- the same network again --------------------------------------------------------------------------------


class Projection(nn.Module):
    """Fixed random features, and where they are kept."""

    def __init__(self, keep: str, draw: Callable[[], Tensor]) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)
        if keep == "attribute":
            self.features = draw()
        else:
            self.register_buffer("features", draw(), persistent=keep == "buffer")

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.flatten(1) @ self.features)
        return logits


def seeded() -> Tensor:
    return torch.randn(6, 5)


def unseeded() -> Tensor:
    return torch.from_numpy(np.random.default_rng().normal(size=(6, 5))).float()  # none on purpose


def kept() -> nn.Module:
    return Projection("buffer", seeded)


def not_kept() -> nn.Module:
    return Projection("not persistent", seeded)


def hidden() -> nn.Module:
    return Projection("attribute", seeded)


def of_its_own() -> nn.Module:
    return Projection("buffer", unseeded)


@pytest.mark.parametrize(
    ("name", "words"),
    [("kept", ""), ("not_kept", "register_buffer"), ("hidden", "register_buffer"), ("of_its_own", "seeds")],
)
def test_a_file_and_a_resumed_run_have_the_network_again(name: str, words: str) -> None:
    named = TargetConfig(factory=f"{__name__}:{name}")
    target = load_target(named.factory, seed=1)
    if not words:
        check_rebuilt(target, named, (1, 2, 3), seed=1)
        return
    with pytest.raises(ConfigError, match=words) as caught:
        check_rebuilt(target, named, (1, 2, 3), seed=1)
    assert "\n" not in str(caught.value)


# -- what is generated, and in which mode ------------------------------------------------------------------


def layered() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


@pytest.mark.parametrize(
    ("include", "exclude", "generated"),
    [
        ((), (), ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]),
        (("0.*", "2.weight"), (), ["0.weight", "0.bias", "2.weight"]),
        ((), ("*.bias", "1.*"), ["0.weight", "2.weight"]),
        (("[02].*",), ("*.bias",), ["0.weight", "2.weight"]),
    ],
)
def test_patterns_choose_what_is_generated(
    include: tuple[str, ...], exclude: tuple[str, ...], generated: list[str]
) -> None:
    choice = TargetConfig(include=include, exclude=exclude)
    target, count = Target(layered(), choice), sum(layered().get_parameter(name).numel() for name in generated)
    assert (target.generated, target.size, target.frozen) == (count, 51, 0)
    assert list(target.shapes)[: len(generated)] == generated
    weights = random_weights(target.size)
    assert torch.equal(target.flat(target.tensors(weights)), weights)
    frozen = Target(layered(), choice.model_copy(update={"rest": "freeze"}))
    assert (frozen.generated, frozen.size, frozen.frozen) == (count, count, 51 - count)
    part = target.generated_part
    assert (list(part.shapes), part.size) == (generated, count)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"include": ["conv.*"]}, "target.include has 'conv.\\*', which matches no parameter that is trained"),
        ({"exclude": ["0.weigth"]}, "There are: 0.weight, 0.bias, 1.weight"),
        ({"exclude": ["*"]}, "leave no parameter to generate"),
    ],
)
def test_patterns_that_mean_nothing_are_one_line(options: dict[str, list[str]], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Target(layered(), TargetConfig(**options))
    assert "\n" not in str(caught.value)


def test_a_tied_parameter_is_meant_by_any_of_its_names() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].weight = module[0].weight
    assert Target(module, TargetConfig(exclude=["1.weight"])).generated == 8


class Dropping(nn.Module):
    """Drops by a function that asks for the mode, as many networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 50)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(self.layer(x.flatten(1)), 0.5, self.training)


@pytest.mark.parametrize("build", [Dropping, lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 50), nn.Dropout(0.5))])
def test_dropout_is_on_in_training_alone_and_of_the_seed_alone(build: Callable[[], nn.Module]) -> None:
    target, images = Target(build()), random_images(8, 1, 2, 3)
    weights = random_weights(target.size)
    state = torch.get_rng_state()
    one, again, other = (target.logits(weights, images, learning=True, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    plain = target.logits(weights, images)
    dropped = one == 0
    assert 100 < int(dropped.sum()) < 300  # of 400, half expected, standard deviation 10
    assert torch.allclose(one[~dropped], 2 * plain[~dropped], atol=1e-6)
    assert torch.equal(target.logits(weights, images, learning=True), plain)  # as SPSA compares losses


def test_what_was_put_into_evaluation_mode_stays_there() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 50), nn.Dropout(0.5).eval())
    target, images = Target(module), random_images(8, 1, 2, 3)
    weights = random_weights(target.size)
    assert torch.equal(target.logits(weights, images, learning=True, seed=1), target.logits(weights, images))


class Counting(nn.Module):
    """Keeps a mean of its own in training."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if self.training:
            self.get_buffer("mean").mul_(0.9).add_(0.1 * x.mean(0))
        logits: Tensor = self.layer(x - self.get_buffer("mean"))
        return logits


def test_a_statistic_that_nobody_settles_is_refused() -> None:
    with pytest.raises(ConfigError, match="writes to mean in training") as caught:
        check_learns(Target(Counting()), random_images(4, 1, 2, 3), batch_size=2)
    assert "\n" not in str(caught.value)
    check_learns(Target(Counting().eval()), random_images(4, 1, 2, 3), batch_size=2)


def test_a_network_on_another_device_is_one_line() -> None:
    from torch._subclasses import FakeTensorMode

    module = nn.Linear(2, 2)
    with FakeTensorMode():
        module.weight = nn.Parameter(torch.empty(2, 2, device="cuda:0"))
    with pytest.raises(ConfigError, match=r"Linear is on cuda:0 \(weight\).* \.cpu\(\)"):
        Target(module)


def test_a_layer_of_two_names_is_itself_again_afterwards() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 6))
    module.append(module[1])
    target, images = Target(module), random_images(3, 1, 2, 3)
    before, weights = {n: t.clone() for n, t in target.module.state_dict().items()}, random_weights(target.size)
    fresh = nn.Sequential(nn.Flatten(), nn.Linear(6, 6), nn.Linear(6, 6))
    fresh.load_state_dict(target.state(weights))
    assert torch.allclose(target.logits(weights, images), fresh(images), atol=1e-6)
    assert all(torch.equal(t, before[n]) for n, t in target.module.state_dict().items())
