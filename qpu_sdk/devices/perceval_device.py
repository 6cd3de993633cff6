"""A computer of Perceval on this machine as a device: its noise and its detectors, behind any program."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from ..errors import ConfigError
from ..photonics.detectors import efficiencies_from_perceval
from ..photonics.noise import Noise
from .local import LocalDevice
from .simulation import Engine, LocalModel

if TYPE_CHECKING:
    import perceval
    from perceval.runtime import SimulatedComputer


log = logging.getLogger(__name__)


def open_perceval(found: perceval.Processor | SimulatedComputer, *, seed: int) -> LocalDevice:
    """The device that a local ``Processor`` or ``SimulatedComputer`` describes.

    Its probabilities are those of Perceval's simulator at full precision; shots are drawn by numpy's seeded generator,
    because Perceval's own samplers share a state that no seed of a device can own. A circuit in the processor is left
    aside: the program brings its own. So are heralds, filters and post-selections, with a warning. The device's name
    ends in a digest of noise and detectors, so that records of different computers are not mixed up.

    :param seed: of the shots, and of errors of phases.
    :raises ConfigError: for a remote one, for other objects, for detectors of several kinds, and for components that
        lose photons, which no program would meet.

    >>> from perceval.runtime import SimulatedComputer
    >>> open_perceval(SimulatedComputer("SLOS"), seed=1).spec.name
    'perceval:SLOS-57294a77'
    """
    from perceval.runtime import AProcessor, SimulatedComputer

    if getattr(found, "is_remote", False) or not isinstance(found, AProcessor | SimulatedComputer):
        raise ConfigError(
            f"a {type(found).__name__} is no computer on this machine, so it is no device. Open a cloud by its name, "
            "such as quandela:sim:belenos, and a simulator as local:slos."
        )
    experiment = getattr(found, "experiment", None)
    if experiment is not None:
        _check_ignored(experiment)
    noise = Noise.from_perceval(found.noise) if found.noise is not None else Noise()
    efficiencies, detector = efficiencies_from_perceval([] if experiment is None else experiment.detectors)
    backend: Any = getattr(found, "backend", None)
    name = f"perceval:{backend.name if backend is not None else found.name}"
    if not np.all(efficiencies == 1.0):
        noise = replace(noise, efficiency=tuple(efficiencies.tolist()))
    engine: Engine = "slos" if noise.only_loss else "perceval"
    digest = hashlib.sha256(repr((noise, detector, engine)).encode()).hexdigest()[:8]
    model = LocalModel(noise=noise, detector=detector, engine=engine)
    return LocalDevice(seed=seed, model=model, name=f"{name}-{digest}")


def is_noise_model(found: object) -> TypeGuard[perceval.NoiseModel]:
    """Whether an object of Perceval is noise alone."""
    import perceval as pcvl

    return isinstance(found, pcvl.NoiseModel)


def _check_ignored(experiment: perceval.Experiment) -> None:
    """Refuse loss, and tell of the rest, that stands in a processor beside its circuit."""
    import perceval as pcvl

    if any(isinstance(component, pcvl.LC) for _, component in experiment.flatten()):
        raise ConfigError(
            "the processor has components that lose photons (LC), and programs bring circuits of their own. Put the "
            "loss into its noise, as transmittance, or into its detectors."
        )
    select = experiment.post_select_fn
    ignored = {
        "heralds": experiment.heralds,
        "a filter of detected photons": experiment.min_photons_filter,
        "a post-selection": select is not None and select.has_condition,
        "feed-forward": experiment.has_feedforward,
        "time delays": experiment.has_td,
    }
    for what in (what for what, there in ignored.items() if there):
        log.warning("the processor has %s, which the device leaves aside: it returns raw counts of any program", what)
