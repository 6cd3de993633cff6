"""Fitting with p frozen: batches, schedule, clipping, evaluation, and controls under the same budget."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from qpu_sdk.errors import ConfigError
from qpu_sdk.training.baselines import DirectWeights
from qpu_sdk.training.batches import Batches
from qpu_sdk.training.config import TrainingConfig
from qpu_sdk.training.control_names import CONTROLS, VOID
from qpu_sdk.training.controls import open_control, train_control, trainable_parameters
from qpu_sdk.training.evaluation import evaluate
from qpu_sdk.training.fit import Fitter, clip_by_norm
from qpu_sdk.training.targets import Target
from tests.training import tiny

TARGET = Target(tiny.seeded_linear())


def direct() -> DirectWeights:
    return DirectWeights(TARGET.flat(dict(TARGET.module.named_parameters())))


def fitter(config: TrainingConfig, *, epochs: int = 10, steps: int = 3) -> Fitter:
    return Fitter(direct(), TARGET, config, total_epochs=epochs, steps_per_epoch=steps, seed=1)


# -- batches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 16, 48, 100])
def test_an_epoch_sees_every_image_once(size: int) -> None:
    batches = Batches.of(tiny.dataset(), seed=1)
    parts = list(batches.epoch(0, size))
    assert [len(labels) for _, labels in parts[:-1]] == [size] * (len(parts) - 1)
    seen = torch.cat([images for images, _ in parts])
    assert sorted(x.numpy().tobytes() for x in seen) == sorted(x.numpy().tobytes() for x in batches.images)
    owner = {x.numpy().tobytes(): int(y) for x, y in zip(batches.images, batches.labels, strict=True)}
    assert all(owner[x.numpy().tobytes()] == int(y) for xs, ys in parts for x, y in zip(xs, ys, strict=True))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    orders = []
    for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0)):
        [(images, _)] = Batches.of(tiny.dataset(), seed=seed).epoch(epoch, 48)
        orders.append(images)
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], orders[3])


@pytest.mark.parametrize("shift", [1, 2])
def test_shifted_images_have_zeros_where_nothing_was_and_their_own_labels(shift: int) -> None:
    batches = Batches.of(tiny.dataset(), seed=1, shift=shift)
    seen: set[tuple[int, int]] = set()
    order = torch.cat([labels for _, labels in Batches.of(tiny.dataset(), seed=1).epoch(0, 48)])
    [(plain, _)] = Batches.of(tiny.dataset(), seed=1).epoch(0, 48)
    [(images, labels)] = batches.epoch(0, 48)
    assert torch.equal(labels, order)
    moves = [(down, right) for down in range(-shift, shift + 1) for right in range(-shift, shift + 1)]
    for image, before in zip(images, plain, strict=True):
        fitting = [move for move in moves if torch.equal(image, moved(before, *move))]
        assert len(fitting) == 1
        seen |= set(fitting)
    assert len(seen) > len(moves) // 2


def moved(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Pixel by pixel."""
    out, (_, height, width) = torch.zeros_like(image), image.shape
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                out[:, y, x] = image[:, y - down, x - right]
    return out


def test_shifts_depend_on_seed_and_epoch_alone() -> None:
    drawn = []
    for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0)):
        batches = Batches.of(tiny.dataset(), seed=seed, shift=1)
        list(batches.epoch(3, 7))  # what was drawn before does not count
        drawn.append(torch.cat([images for images, _ in batches.epoch(epoch, 7)]))
    assert torch.equal(drawn[0], drawn[1])
    assert not any(torch.equal(drawn[0], other) for other in drawn[2:])


def test_no_shift_leaves_images_as_they_are() -> None:
    for (plain, _), (images, _) in zip(
        Batches.of(tiny.dataset(), seed=1).epoch(2, 7),
        Batches.of(tiny.dataset(), seed=1, shift=0).epoch(2, 7),
        strict=True,
    ):
        assert torch.equal(plain, images)


def test_shifts_are_refused_where_they_mean_nothing() -> None:
    with pytest.raises(ConfigError, match="augment_shift moves images"):
        Batches.of(tiny.dataset().as_rows(), seed=1, shift=1)
    with pytest.raises(ConfigError, match="Set it to 3 or less"):
        Batches.of(tiny.dataset(), seed=1, shift=4)


def test_samples_are_fixed_subsets() -> None:
    batches = Batches.of(tiny.dataset(), seed=1)
    (one, _), (same, _), (other, _) = (batches.sample(20, label) for label in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len({x.numpy().tobytes() for x in one}) == 20
    assert len(batches.sample(1000, 0)[1]) == 48


# -- schedule and clipping ---------------------------------------------------------------------------------


@given(
    lr=st.floats(1e-4, 1.0),
    warmup=st.floats(0, 0.9),
    final=st.floats(0, 1),
    epochs=st.integers(1, 40),
    steps=st.integers(1, 20),
)
@settings(max_examples=60)
def test_rate_is_the_documented_schedule(lr: float, warmup: float, final: float, epochs: int, steps: int) -> None:
    one = fitter(TrainingConfig(lr=lr, warmup=warmup, final_lr=final), epochs=epochs, steps=steps)
    total = epochs * steps
    for t in {1, max(1, total // 3), total}:
        cosine = final + (1 - final) * (1 + math.cos(math.pi * t / total)) / 2
        ramp = t / (warmup * total) if warmup * total > 0 else 1.0
        assert one.rate(t - 1) == pytest.approx(lr * min(ramp, cosine), rel=1e-9, abs=1e-15)


def test_the_last_step_of_a_run_has_the_final_rate() -> None:
    run = tiny.training(tiny.config(training={"lr": 0.1, "final_lr": 0.25, "warmup": 0.0}))
    rates = [row["lr"] for _, row in run.run(run.init()) if row["kind"] == "fit"]
    assert rates[-1] == pytest.approx(0.025)
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("limit", [0.1, 5.0, 1e6])
def test_clipping_bounds_the_norm_and_keeps_the_direction(limit: float) -> None:
    gradients = [torch.tensor([3.0, 0.0]), torch.tensor([[0.0], [4.0]])]
    clipped = clip_by_norm(gradients, limit)
    flat = torch.cat([g.reshape(-1) for g in clipped])
    assert float(flat.norm()) == pytest.approx(min(5.0, limit), rel=1e-6)
    torch.testing.assert_close(flat / flat.norm(), torch.tensor([0.6, 0.0, 0.0, 0.8]))


def test_no_limit_and_no_gradient_clip_nothing() -> None:
    gradients = [torch.tensor([300.0]), torch.zeros(2)]
    assert all(torch.equal(a, b) for a, b in zip(clip_by_norm(gradients, 0.0), gradients, strict=True))
    assert float(clip_by_norm([torch.zeros(3)], 0.1)[0].abs().max()) == 0.0


# -- epochs ------------------------------------------------------------------------------------------------


def test_an_epoch_without_a_rate_only_measures() -> None:
    batches, one = Batches.of(tiny.dataset(), seed=1), fitter(TrainingConfig(lr=1e-30, batch_size=7))
    start = one.init(seed=1)
    before = one.weights(start, torch.ones(1))
    state, result = one.run_epoch(start, batches, 0, torch.ones(1))
    logits = TARGET.logits(before, batches.images)
    assert result.loss == pytest.approx(float(F.cross_entropy(logits, batches.labels)), rel=1e-5)
    assert result.accuracy == pytest.approx(float((logits.argmax(1) == batches.labels).float().mean()))
    assert (start.step, state.step) == (0, 7)


def test_one_step_descends_the_documented_objective() -> None:
    config = TrainingConfig(
        optimiser="adam", lr=1e-3, warmup=0.0, batch_size=48, label_smoothing=0.2, weight_penalty=0.3
    )
    batches, one = Batches.of(tiny.dataset(), seed=1), fitter(config, epochs=1000, steps=1)
    state = one.init(seed=1)
    weights = one.weights(state, torch.ones(1)).clone().requires_grad_()
    logits = TARGET.logits(weights, batches.images)
    smooth = 0.8 * F.one_hot(batches.labels, 2) + 0.1
    objective = -(smooth * logits.log_softmax(dim=1)).sum(dim=1).mean() + 0.3 * weights.pow(2).sum()
    (gradient,) = torch.autograd.grad(objective, weights)
    state, _ = one.run_epoch(state, batches, 0, torch.ones(1))
    moved = one.weights(state, torch.ones(1)) - weights.detach()
    clear = gradient.abs() > 1e-5
    assert torch.equal(torch.sign(moved[clear]), -torch.sign(gradient[clear]))
    assert int(clear.sum()) > 20


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2500])
def test_evaluation_does_not_depend_on_its_batches(count: int) -> None:
    rng = torch.Generator().manual_seed(4)
    images, labels = torch.rand(count, 1, 4, 4, generator=rng), torch.randint(0, 2, (count,), generator=rng)
    weights = torch.randn(TARGET.size, generator=rng)
    logits = TARGET.logits(weights, images)
    result = evaluate(TARGET, weights, images, labels)
    assert result.size == count
    assert result.accuracy == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    assert result.loss == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-4)


# -- controls ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CONTROLS if name not in VOID])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training": {"trials": 2, "trial_epochs": 2, "warm_start_epochs": 3}},
        {"target": {"exclude": ["*.bias"]}},
    ],
)
def test_controls_train_for_as_many_epochs_as_the_run(name: str, changes: dict[str, Any]) -> None:
    run = tiny.training(tiny.config(**changes, seed=4))
    control, results = open_control(name, run), []
    for _ in range(2):
        states, epochs = zip(*train_control(control, run), strict=True)
        results.append(([epoch.loss for epoch in epochs], control.fitter.weights(states[-1], control.p)))
    assert len(results[0][0]) == run.schedule.total_epochs
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


def test_controls_have_the_budget_of_the_run() -> None:
    config = tiny.config()
    run = tiny.training(config)
    controls = {name: open_control(name, run) for name in CONTROLS}
    own, counted = run.fitter.generator.parameter_count, {}
    for name, control in controls.items():
        counted[name] = control.fitter.generator.parameter_count
    budget = trainable_parameters(run)
    assert budget == sum(q.open_mesh().declared for q in config.qnn) + own
    assert counted["random_subspace"] == min(budget, TARGET.size)
    assert counted["plain_network"] == TARGET.size
    assert all(count <= budget for count in counted.values())
    for name in ("constant", "frozen_random", "untrained_circuits"):
        assert counted[name] == own
        assert float(controls[name].p.mean()) == pytest.approx(1.0, abs=1e-5)
    assert torch.equal(controls["untrained_circuits"].p, run.bank.exact(torch.from_numpy(run.init().learnt.spsa.x)))
    assert np.ptp(controls["frozen_random"].p.numpy()) > 0.5


def test_unknown_controls_are_refused() -> None:
    with pytest.raises(ConfigError, match="'other' is unknown"):
        open_control("other", tiny.training(tiny.config()))


def test_pruning_ends_at_the_budget() -> None:
    run = tiny.training(tiny.config(generator={"bond_dim": 1}, training={"final_epochs": 20}))
    control = open_control("pruned", run)
    budget, left = trainable_parameters(run), []
    assert budget < TARGET.size
    for state, _ in train_control(control, run):
        left.append(int((control.fitter.weights(state, control.p) != 0).sum()))
    assert left[0] == TARGET.size
    assert left == sorted(left, reverse=True)
    assert left[-1] == control.fitter.generator.parameter_count == budget


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_train_ordinary_weights_as_the_run_does(name: str) -> None:
    run = tiny.training(tiny.config(target={"exclude": ["*.bias"]}, seed=2))
    control, budget = open_control(name, run), trainable_parameters(run)
    assert (run.target.generated, run.target.ordinary) == (32, 2)
    assert budget == run.bank.declared + run.fitter.generator.parameter_count
    count = control.fitter.generator.parameter_count
    assert count <= budget
    if name in ("frozen_random", "constant", "untrained_circuits", "fresh_random"):
        assert count == budget - run.bank.declared
    if name == "plain_network":
        assert count == 34
    state = control.fitter.init(seed=1)
    start = control.fitter.weights(state, control.p).clone()  # of some controls the parameter itself
    if name != "small_network":
        first = run.target.flat(dict(run.target.module.named_parameters()))
        assert torch.equal(start[32:], first[32:])
    images, labels = run.batches.images, run.batches.labels
    control.fitter.step_(state, control.p, images, labels)
    assert not torch.equal(control.fitter.weights(state, control.p)[32:], start[32:])
