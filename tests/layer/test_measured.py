"""A layer on devices: jobs, budget, journal, mitigation, and what is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from qpu_sdk.devices.base import DeviceSpec, Job
from qpu_sdk.devices.journal import Journal
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.registry import open_device
from qpu_sdk.errors import (
    BudgetExceeded,
    CalibrationNotFound,
    CheckpointError,
    ConfigError,
    ProgramError,
)
from qpu_sdk.layer.photonic_layer import PhotonicLayer
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.photonics.shift_rule import shift_rules
from qpu_sdk.runs.jobs import list_jobs


def layer(**changes: Any) -> PhotonicLayer:
    return PhotonicLayer(IsometryMesh(4, 2), **{"seed": 1, "shots": 500, "gradient": "parameter-shift", **changes})


def trained(made: PhotonicLayer, *, steps: int = 3) -> Tensor:
    rule = torch.optim.Adam(made.parameters(), lr=0.1)
    for _ in range(steps):
        rule.zero_grad()
        made()[2].backward()
        rule.step()
    return made.phases.detach().clone()


def some_phases(made: PhotonicLayer) -> torch.Tensor:
    """Three vectors of them, the same every time: at some, no shifted setting would have an event to show."""
    return torch.rand(3, made.declared, generator=torch.Generator().manual_seed(1))


def jobs(folder: Path) -> list[tuple[str, int]]:
    return [(job.tag, len(job.programs)) for job in list_jobs(folder / "layer.sqlite")]


def test_a_pass_is_one_job_of_the_whole_batch(tmp_path: Path) -> None:
    made = layer().attach(tmp_path)
    given = some_phases(made)
    made(given).square().sum().backward()
    assert made.settings == (1, 20)
    assert jobs(tmp_path) == [("forward/0", 3), ("backward/0", 60)]


def test_without_gradients_none_is_paid_for(tmp_path: Path) -> None:
    made = layer(budget={"settings": 4}).attach(tmp_path)
    with torch.no_grad():
        made()
    made.requires_grad_(False)
    made.eval()(some_phases(made))
    assert jobs(tmp_path) == [("forward/0", 1), ("forward/1", 3)]
    with pytest.raises(BudgetExceeded, match=r"a forward pass of 1 phase vector takes 1 settings; 4 of 4"):
        made()


@pytest.mark.parametrize(
    ("options", "needed"), [({}, 21), ({"shift_phases": [4, 5]}, 9), ({"gradient": "spsa", "pairs": 3}, 7)]
)
def test_what_a_backward_pass_takes_is_refused_before_anything_is_sent(
    options: dict[str, Any], needed: int, tmp_path: Path
) -> None:
    made = layer(budget={"settings": needed - 1}, **options)
    made.attach(tmp_path)
    wanted = rf"with its backward pass takes {needed} settings; 0 of {needed - 1} .*budget=.\"settings\": {needed}"
    with pytest.raises(BudgetExceeded, match=wanted):
        made()
    assert jobs(tmp_path) == []
    enough = layer(budget={"settings": needed}, **options).attach(tmp_path / "enough")
    enough()[0].backward()


def test_the_same_training_draws_the_same_counts(tmp_path: Path) -> None:
    expected = trained(layer())
    torch.testing.assert_close(trained(layer()), expected, rtol=0, atol=0)
    torch.testing.assert_close(trained(layer().attach(tmp_path)), expected, rtol=0, atol=0)
    assert not torch.equal(trained(layer(device=open_device("local:slos", seed=5))), expected)


def test_a_training_in_the_folder_of_one_pays_nothing(tmp_path: Path) -> None:
    first = layer(budget={"settings": 63}).attach(tmp_path)
    expected, paid = trained(first), jobs(tmp_path)
    other = layer()
    with pytest.raises(CheckpointError, match="another process"):
        other.attach(tmp_path)
    assert other().shape == (6,)  # as if nothing had been asked
    assert first.attach(tmp_path) is first
    first.detach()
    again = layer(budget={"settings": 63}).attach(tmp_path)  # all of it is spent
    torch.testing.assert_close(trained(again), expected, rtol=0, atol=0)
    assert jobs(tmp_path) == paid
    with pytest.raises(BudgetExceeded, match="63 of 63"):
        again()


def test_passes_at_the_same_phases_are_measured_each() -> None:
    made = layer()
    first, second = made().detach(), made().detach()
    assert not torch.equal(first, second)
    assert int(made.forwards) == 2


def test_several_layers_share_a_folder_by_their_names(tmp_path: Path) -> None:
    for name in ("first", "second"):
        layer().attach(tmp_path, name=name)()
    assert {path.name for path in tmp_path.glob("*.sqlite")} == {"first.sqlite", "second.sqlite"}
    for name in ("", "a/b", ".."):
        with pytest.raises(ConfigError, match="Use the name of a file"):
            layer().attach(tmp_path, name=name)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        layer().attach(tmp_path / "file")
    with pytest.raises(ConfigError, match="measures nothing"):
        layer(shots=None).attach(tmp_path)


def test_noise_is_mitigated_with_the_record_that_was_begun_with(tmp_path: Path) -> None:
    noisy = {"device": "local:slos?transmittance=0.5&g2=0.05&indistinguishability=0.8", "shots": 200_000}
    exact = layer(shots=None, gradient="exact")().detach()
    raw = layer(**noisy, method="post-select")().detach()
    made = layer(**noisy).attach(tmp_path)
    assert float((made().detach() - exact).abs().sum()) < 0.5 * float((raw - exact).abs().sum())
    assert [path.name for path in (tmp_path / "layer-records").glob("*")]
    made.detach()
    assert layer(**noisy).attach(tmp_path)().shape == (6,)


class Hardware(LocalDevice.__base__):  # type: ignore[misc]
    """A stand-in that says it is a machine; nothing is known of its noise."""

    def __init__(self) -> None:
        self.spec = DeviceSpec("lab:qpu", max_modes=8, max_photons=3, simulated=False, settings_per_job=8)
        self.inner, self.sent = LocalDevice(seed=1), []

    def submit(self, programs: Any, *, shots: int, tag: str = "") -> Job:
        self.sent.append(len(programs))
        return self.inner.submit(programs, shots=shots, tag=tag)


def test_hardware_has_no_exact_gradient_and_trains_by_shifts() -> None:
    with pytest.raises(ConfigError, match="lab:qpu is no simulator, and gradient is exact"):
        layer(device=Hardware(), gradient="exact")
    with pytest.raises(ConfigError, match="lab:qpu has no exact probabilities"):
        layer(device=Hardware(), shots=None)
    with pytest.raises(CalibrationNotFound, match="no calibration record of lab:qpu"):
        layer(device=Hardware(), method="unfold-fuse")
    with pytest.raises(ProgramError, match="program uses 9 modes; lab:qpu has 8"):
        PhotonicLayer(IsometryMesh(9, 2), device=Hardware(), shots=10, gradient="spsa", seed=1)
    machine = Hardware()
    layer(device=machine)()[0].backward()
    assert machine.sent == [1, 8, 8, 4]


def test_limits_of_jobs_know_how_many_the_device_makes() -> None:
    with pytest.raises(BudgetExceeded, match=r"takes 21 settings, 4 jobs; 0 of 3"):
        layer(device=Hardware(), budget={"jobs": 3})()
    layer(device=Hardware(), budget={"jobs": 4})()[0].backward()


def test_an_interrupted_pass_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = layer().attach(tmp_path)
    p = made()

    def fail(*given: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LocalDevice, "submit", fail)
        with pytest.raises(KeyboardInterrupt):
            p[0].backward(retain_graph=True)
        with pytest.raises(KeyboardInterrupt):
            made()
    assert int(made.forwards) == 1
    p[0].backward()
    assert made.phases.grad is not None


def test_the_journal_finds_counts_by_tag(tmp_path: Path) -> None:
    made = layer().attach(tmp_path)
    made()
    [job] = list_jobs(tmp_path / "layer.sqlite")
    made.detach()
    with Journal(tmp_path / "layer.sqlite", write=False) as journal:
        find = {"device": job.device, "program": job.programs[0], "shots_each": 500}
        assert journal.counts(**find) is not None
        assert journal.counts(**find, tag="forward/0") is not None
        assert journal.counts(**find, tag="forward/1") is None


def test_transforms_of_a_measured_pass_are_refused_in_one_line() -> None:
    made = layer()
    for transform in (torch.func.vmap(made), torch.func.grad(lambda given: made(given).sum())):
        with pytest.raises(ProgramError, match=r"measured probabilities have no vmap.*Pass a batch"):
            transform(torch.zeros(2, made.declared))
    assert made.spent.settings == 0


def test_a_measured_pass_is_differentiated_once() -> None:
    made = layer()
    [gradient] = torch.autograd.grad(made().square().sum(), made.phases, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
    assert np.isfinite(gradient.detach().numpy()).all()


def test_a_shift_without_an_event_has_a_mass_of_zero(tmp_path: Path) -> None:
    """The gradient is that of the frequencies of all shots, by the quotient rule, whatever they are."""
    shots = 150  # 0.8 to 8 events of a setting in the mean
    made = layer(device="local:slos?transmittance=0.1", shots=shots, method="post-select").attach(tmp_path)
    made()[2].backward()
    [(here,), there] = ([c for c in found if c is not None] for found in counts_of_jobs(tmp_path))
    p, shifted = here.collision_free() / shots, np.array([one.collision_free() for one in there]) / shots
    assert (shifted.sum(axis=1) == 0.0).any()  # else this test shows nothing
    expected, begin = [], 0
    for rule in shift_rules(made.mesh, made.input_modes):
        slope = rule.weights @ shifted[begin : begin + rule.settings]
        expected.append((slope[2] - p[2] / p.sum() * slope.sum()) / p.sum())
        begin += rule.settings
    assert begin == len(there)
    assert made.phases.grad is not None
    np.testing.assert_allclose(made.phases.grad, expected, atol=1e-12)


def counts_of_jobs(folder: Path) -> list[list[Counts | None]]:
    with Journal(folder / "layer.sqlite", write=False, hold=False) as journal:
        return [journal.of_job(job.name) for job in journal.jobs()]
