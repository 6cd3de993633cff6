"""Training elsewhere than on the CPU. Tensors of the meta device have no numbers: whatever looks at them raises."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from qpu_sdk.errors import ConfigError
from qpu_sdk.generator.mps import TaperedMPSGenerator
from qpu_sdk.training.accelerator import on_device, open_accelerator
from qpu_sdk.training.config import RunConfig, TrainingConfig
from qpu_sdk.training.fit import Fitter
from qpu_sdk.training.networks import ResNet20
from qpu_sdk.training.targets import Target
from tests.training import tiny

META = torch.device("meta")


def there(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in names)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in names)


@pytest.mark.parametrize(
    ("names", "first"), [((), "cpu"), (("cuda",), "cuda"), (("mps",), "mps"), (("mps", "cuda"), "cuda")]
)
def test_auto_is_the_first_that_is_there(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], first: str) -> None:
    there(monkeypatch, *names)
    assert open_accelerator("auto") == torch.device(first)
    assert open_accelerator("cpu") == torch.device("cpu")
    assert all(open_accelerator(name) == torch.device(name) for name in names)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_what_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    there(monkeypatch)
    with pytest.raises(ConfigError, match=rf"^training\.accelerator is {name}, and .* finds cpu here\. Use --set"):
        open_accelerator(name)
    config = tiny.config(training={"accelerator": name})
    with pytest.raises(ConfigError, match=r"training\.accelerator is"):
        tiny.training(config)


def test_the_default_is_left_out_of_files_and_fingerprints() -> None:
    named = RunConfig(training={"accelerator": "cpu"})
    assert "accelerator" not in named.to_toml()
    assert named.fingerprint == RunConfig().fingerprint
    other = RunConfig(training={"accelerator": "auto"})
    assert 'accelerator = "auto"' in other.to_toml()
    assert other.fingerprint != RunConfig().fingerprint


@pytest.mark.parametrize("optimiser", ["adam", "rotated-adam"])
@pytest.mark.parametrize("network", [tiny.seeded_linear(), ResNet20(width=2, depth=1)])
def test_a_step_stays_where_it_is(network: nn.Module, optimiser: Any) -> None:
    target = Target(network)
    generator = TaperedMPSGenerator(target.size, 2, seed=1)
    config = TrainingConfig(optimiser=optimiser)
    fitter = Fitter(generator, target, config, total_epochs=10, steps_per_epoch=3, seed=1, device=META).there()
    state = Fitter(generator, target, config, total_epochs=10, steps_per_epoch=3, seed=1).init(seed=1).to(META)
    images, labels = tiny.dataset().train.tensors()
    [(images, labels)] = on_device([(images, labels)], META)
    logits = fitter.step_(state, torch.rand(target.size + 1, device=META), images, labels)
    assert logits.device == META
    assert state.step == 1
    assert {tensor.device for tensor in state.parameters.values()} == {META}
    assert target.to(META).logits(torch.rand(target.size, device=META), images).device == META


def test_generator_and_target_are_moved_as_they_are_now_and_the_originals_stay() -> None:
    target = Target(tiny.seeded_linear())
    generator = TaperedMPSGenerator(target.size, 2, seed=1)
    fitter = Fitter(generator, target, TrainingConfig(), total_epochs=10, steps_per_epoch=3, seed=1, device=META)
    moved_ = fitter.there()
    assert {q.device for q in moved_.generator.parameters()} == {META}
    assert {q.device for q in moved_.target.module.parameters()} == {META}
    assert {q.device.type for q in (*generator.parameters(), *target.module.parameters())} == {"cpu"}
    here = Fitter(generator, target, TrainingConfig(), total_epochs=10, steps_per_epoch=3, seed=1)
    assert here.there() is here


def test_a_run_on_auto_has_the_bits_of_the_cpu_where_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    there(monkeypatch)
    states = []
    for name in ("cpu", "auto"):
        training = tiny.training(tiny.config(training={"accelerator": name}))
        *_, (state, _) = training.run(training.init())
        states.append(state.learnt.fit.parameters)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
