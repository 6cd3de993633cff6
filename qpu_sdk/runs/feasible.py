"""What decides whether a configuration can work and needs no device: asked by a plan, and by a run before it begins."""

from __future__ import annotations

import numpy as np

from ..calibration.twin import twin
from ..devices.address import DeviceAddress
from ..devices.registry import open_device
from ..errors import MitigationError, ProgramError
from ..generator.mps import Generator, LeanMPSGenerator, MPSGenerator, TaperedMPSGenerator
from ..generator.phases import PhasesGenerator
from ..layer.estimator import Mitigation
from ..layer.measuring import QNN
from ..mitigation.methods import AUTO
from ..photonics.program import Program
from ..seeds import child_seed
from ..training.config import GIVEN, GeneratorConfig, RunConfig, TargetConfig
from ..training.data import Dataset, load_dataset, split_dataset
from ..training.evaluation import as_taken
from ..training.factories import plain_torch
from ..training.loop import check_network
from ..training.ordinary import optimiser_of, with_ordinary
from ..training.qnn import qnns_of
from ..training.schedule import Schedule
from ..training.second_test import with_second_test
from ..training.targets import BUILT_IN, Target, check_rebuilt, load_target
from .given import Given


def check_config(config: RunConfig, given: Given) -> None:
    """Load target and images and look whether they, the generator and the circuits fit together.

    What was passed to a run from Python, and is not passed here, is not looked at.

    :raises ConfigError: see :func:`~qpu_sdk.training.loop.check_network`, of which this is the check.
    """
    lacks_target = config.target.factory == GIVEN and given.target is None
    if lacks_target or (config.data.source == GIVEN and given.data is None):
        return
    with plain_torch():
        _check_network(config, given)


def _check_network(config: RunConfig, given: Given) -> None:
    target, dataset, generator = open_parts(config, given)
    outcomes = int(np.prod([qnn.outcomes for qnn in qnns_of(config)]))
    check_network(config.training, dataset, target, generator, outcomes=outcomes)
    check_rebuilds(config, given, target, dataset)
    optimiser_of(generator, config.training).init([q.detach() for q in generator.parameters()])


def check_rebuilds(config: RunConfig, given: Given, target: Target, dataset: Dataset) -> None:
    """Whether a run finds its network again, which is nobody's to say of what was passed or is the SDK's.

    :raises ConfigError: see :func:`~qpu_sdk.training.targets.check_rebuilt`.
    """
    if given.target is None and config.target.factory not in BUILT_IN:
        seed = child_seed(config.seed, "target")
        check_rebuilt(target, config.target, dataset.train.x.shape[1:], seed=seed)


def open_parts(config: RunConfig, given: Given) -> tuple[Target, Dataset, Generator]:
    """The target, the images and the untrained generator of a run."""
    seed = child_seed(config.seed, "target")
    target = given.target or _named_target(config.target, seed=seed)
    if given.data is None:
        dataset = load_dataset(config.data, seed=config.data_seed, classes=config.training.loss is None)
    else:
        dataset = split_dataset(given.data, config.data, seed=config.data_seed)
    dataset = as_taken(with_second_test(dataset, config.data), target)
    generator = open_generator(config.generator, target, seed=child_seed(config.seed, "generator"))
    return target, dataset, generator


def _named_target(config: TargetConfig, *, seed: int) -> Target:
    return load_target(config.factory, seed=seed, folder=config.folder, config=config)


def open_generator(config: GeneratorConfig, target: Target, *, seed: int) -> Generator:
    """The untrained generator of a run, with the weights that are trained as they are."""
    return with_ordinary(_open_generator(config, target.generated_part, seed=seed), target)


def _open_generator(config: GeneratorConfig, target: Target, *, seed: int) -> Generator:
    target_size = target.size
    own = {} if config.init_std is None else {"init_std": config.init_std}
    match config.kind:
        case "paper":
            return MPSGenerator(target_size, config.bond_dim, seed=seed, **own)
        case "lean":
            return LeanMPSGenerator(target_size, config.bond_dim, seed=seed, **own)
        case "tapered":
            return TaperedMPSGenerator(target_size, config.bond_dim, seed=seed, **own)
        case "phases":
            initial = target.flat(dict(target.module.named_parameters()))
            return PhasesGenerator(initial, target.sizes, seed=seed)


def method_problems(config: RunConfig, mitigation: Mitigation) -> list[MitigationError]:
    """What a method that was asked for by name says of counts as they will be, drawn on this machine.

    ``auto`` takes what the counts bear, and devices without a record are post-selected: neither is tried.
    """
    if mitigation.method in (AUTO, "post-select"):
        return []
    shots = Schedule.of(config).last_measurement.shots
    found = []
    for index, qnn in enumerate(qnns_of(config)):
        try:
            _try(mitigation, qnn, index, shots=shots)
        except MitigationError as error:
            found.append(error)
        except ProgramError:  # too large to be drawn here: only the device can tell
            continue
    return found


def _try(mitigation: Mitigation, qnn: QNN, index: int, *, shots: int) -> None:
    record = mitigation.records.get(qnn.device)
    if record is None:
        return
    seed = child_seed(mitigation.seed, "plan", index)
    if DeviceAddress.parse(qnn.device).kind == "local":
        device = open_device(qnn.device, seed=seed)  # with its detectors and what it leaves out
    else:
        device = twin(record, seed=seed)
    program = Program.random(qnn.mesh, qnn.input_modes, seed=seed)
    counts = device.run(program, shots=shots)
    mitigation.distribution(counts, program, device=qnn.device, label=f"a trial of method {mitigation.method}")
