"""The seed of a run, read back from its folder: phases and generator from the checkpoint, counts from the journal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from ..errors import CheckpointError, ConfigError, DataError
from ..export.seed import GENERATORS, Frequencies, WeightSeed
from ..files import regular
from ..training.config import GeneratorConfig
from ..training.config_file import read_config
from ..words import one_line
from .folder import RunFolder
from .measured import MeasuredQNN, measured_last
from .summary import read_summary


def seed_of(folder: RunFolder) -> WeightSeed:
    """What the run trained and measured last.

    :raises DataError: when it is not finished, its generator has no seed, or something of it is gone.
    """
    try:
        config = read_config(folder.config).of_a_run()
        size = read_summary(folder.summary).target_parameters
        tensors, threads = _last_checkpoint(folder.checkpoints)
        last = measured_last(folder, config)
    except (CheckpointError, ConfigError, SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder.path} has no seed ({one_line(error, 200)}). Name the whole folder of a finished run."
        ) from error
    if config.generator.kind not in GENERATORS:
        raise DataError(
            f"generator.kind is {config.generator.kind!r}, which changes the network's first weights: a seed would be "
            "as large as they are. Use --format safetensors."
        )
    measured = [one for one in map(_measured, last.qnns) if one is not None]
    if len(measured) < len(last.qnns) or last.missing:
        raise DataError(f"{folder.path} has no seed ({'; '.join(last.missing)}). Use --format safetensors.")
    return WeightSeed(
        kind=config.generator.kind,
        bond_dim=config.generator.bond_dim,
        size=size,
        parameters=_of_the_generator(config.generator, size, tensors),
        phases=tensors["spsa.x"].clone(),
        measured=measured,
        threads=threads,
    )


def _last_checkpoint(folder: Path) -> tuple[dict[str, Tensor], int]:
    """The tensors of the newest one, and with how many threads they were made; what is wrong with them shows later."""
    from safetensors.torch import load

    headers = sorted(folder.glob("[0-9]*.json"))
    if not headers:
        raise CheckpointError("there is no checkpoint")
    threads = json.loads(regular(headers[-1]).read_text(encoding="utf-8"))["origin"]["threads"]
    return load(regular(headers[-1].with_suffix(".safetensors")).read_bytes()), int(threads)


def _of_the_generator(config: GeneratorConfig, size: int, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Its parameters by name, whatever else is trained beside it."""
    own = GENERATORS[config.kind](size, config.bond_dim, seed=0).state_dict()
    names = {name.rpartition(".")[2]: name for name in tensors if name.startswith("generator.")}
    return {key: tensors[names[key]].clone() for key in own}


def _measured(qnn: MeasuredQNN) -> Frequencies | None:
    if qnn.before is None:
        return None
    if qnn.after is not None:
        return Frequencies.of(qnn.after.probabilities, None)
    raw = qnn.before.raw
    return Frequencies.of(qnn.before.probabilities, None if raw is None else raw.collision_free())
