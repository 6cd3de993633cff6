"""A computer of Perceval on this machine as a device: its noise and its detectors, behind any program."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError
from ..photonics.detectors import efficiencies_from_perceval
from ..photonics.noise import Noise
from .local import LocalDevice
from .simulation import Engine, LocalModel

if TYPE_CHECKING:
    import perceval
    from perceval.runtime import SimulatedComputer


def open_perceval(found: perceval.Processor | SimulatedComputer, *, seed: int) -> LocalDevice:
    """The device that a local ``Processor`` or ``SimulatedComputer`` describes.

    Its probabilities are those of Perceval's simulator at full precision; shots are drawn by numpy's seeded generator,
    because Perceval's own samplers share a state that no seed of a device can own. A circuit in the processor is left
    aside: the program brings its own.

    :param seed: of the shots, and of errors of phases.
    :raises ConfigError: for a remote one, for other objects, and for detectors of several kinds.

    >>> from perceval.runtime import SimulatedComputer
    >>> open_perceval(SimulatedComputer("SLOS"), seed=1).spec.name
    'perceval:SLOS'
    """
    from perceval.runtime import AProcessor, SimulatedComputer

    if getattr(found, "is_remote", False) or not isinstance(found, AProcessor | SimulatedComputer):
        raise ConfigError(
            f"a {type(found).__name__} is no computer on this machine, so it is no device. Open a cloud by its name, "
            "such as quandela:sim:belenos, and a simulator as local:slos."
        )
    experiment = getattr(found, "experiment", None)
    noise = Noise.from_perceval(found.noise) if found.noise is not None else Noise()
    efficiencies, detector = efficiencies_from_perceval([] if experiment is None else experiment.detectors)
    backend: Any = getattr(found, "backend", None)
    name = f"perceval:{backend.name if backend is not None else found.name}"
    if not np.all(efficiencies == 1.0):
        noise = replace(noise, efficiency=tuple(efficiencies.tolist()))
    engine: Engine = "slos" if noise.only_loss else "perceval"
    return LocalDevice(seed=seed, model=LocalModel(noise=noise, detector=detector, engine=engine), name=name)
