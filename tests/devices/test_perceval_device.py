"""Computers of Perceval on this machine: every one a name of its own, nothing of them left aside in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import perceval as pcvl
import pytest
from perceval.runtime import SimulatedComputer

from qpu_sdk.devices.base import DeviceSpec
from qpu_sdk.devices.registry import open_device
from qpu_sdk.errors import ConfigError


def spec(noise: Any = None, detector: Any = None, change: Callable[[Any], Any] = lambda p: p) -> DeviceSpec:
    found = pcvl.Processor("SLOS", 3, noise)
    for mode in range(3 if detector is not None else 0):
        found.add(mode, detector())
    change(found)
    return open_device(found, seed=1).spec


def dim() -> pcvl.Detector:
    out = pcvl.Detector.threshold()
    out.efficiency = 0.5
    return out


def test_a_name_tells_processors_apart() -> None:
    made = [
        spec(),
        spec(pcvl.NoiseModel(indistinguishability=0.9)),
        spec(pcvl.NoiseModel(indistinguishability=0.3)),
        spec(detector=pcvl.Detector.threshold),
        spec(detector=dim),
    ]
    assert len({one.name for one in made}) == len(made)
    assert all(one.name.startswith("perceval:SLOS-") and one.platform.startswith("SLOS") for one in made)
    computer = SimulatedComputer("SLOS")
    computer.noise = pcvl.NoiseModel(indistinguishability=0.9)
    assert open_device(computer, seed=2).spec.name == made[1].name


def test_loss_in_a_processor_is_refused() -> None:
    inner = pcvl.Processor("SLOS", 2)
    inner.add(0, pcvl.LC(0.2))
    for component in (pcvl.LC(0.1), inner):
        with pytest.raises(ConfigError, match="lose photons") as caught:
            spec(change=lambda p, c=component: p.add(0, c))  # type: ignore[misc]
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.add_herald(2, 1), "heralds"),
        (lambda p: p.min_detected_photons_filter(2), "a filter"),
        (lambda p: p.set_postselection(pcvl.PostSelect("[0]==1")), "a post-selection"),
    ],
)
def test_what_is_left_aside_is_told(change: Any, words: str, caplog: pytest.LogCaptureFixture) -> None:
    spec()
    assert not caplog.records
    spec(change=change)
    assert words in caplog.text
