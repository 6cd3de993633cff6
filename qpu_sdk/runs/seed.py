"""The seed of a run, read back from its folder: phases and generator from the checkpoint, counts from the journal."""

from __future__ import annotations

import torch

from ..errors import CheckpointError, ConfigError, DataError
from ..export.seed import GENERATORS, Frequencies, WeightSeed
from ..training.config import CHANGEABLE, RunConfig
from ..training.config_file import read_config
from ..training.loop import TrainingState
from ..words import one_line
from .checkpoint import RunOrigin, load_checkpoint
from .folder import RunFolder
from .measured import MeasuredQNN, measured_last
from .records import load_records
from .summary import RunSummary


def seed_of(folder: RunFolder) -> WeightSeed:
    """What the run trained and measured last.

    :raises DataError: when it is not finished, its generator has no seed, or something of it is gone.
    """
    try:
        config = read_config(folder.config).of_a_run()
        summary = RunSummary.model_validate_json(folder.summary.read_bytes())
        state, origin = _last_state(folder, config)
        last = measured_last(folder, config)
    except (CheckpointError, ConfigError, OSError, ValueError) as error:
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
        size=summary.target_parameters,
        parameters=state.learnt.fit.parameters,
        phases=torch.from_numpy(state.learnt.spsa.x.copy()),
        measured=measured,
        threads=origin.threads,
    )


def _last_state(folder: RunFolder, config: RunConfig) -> tuple[TrainingState, RunOrigin]:
    known = load_records(folder.records, config)
    wanted = known.fingerprint(config, leaving_out=CHANGEABLE)
    found = load_checkpoint(folder.checkpoints, config=wanted, version_2=known.fingerprint(config))
    if found is None:
        raise CheckpointError("there is no checkpoint")
    return found


def _measured(qnn: MeasuredQNN) -> Frequencies | None:
    if qnn.before is None:
        return None
    if qnn.after is not None:
        return Frequencies.of(qnn.after.probabilities, None)
    raw = qnn.before.raw
    return Frequencies.of(qnn.before.probabilities, None if raw is None else raw.collision_free())
