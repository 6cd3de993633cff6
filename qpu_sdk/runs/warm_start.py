"""The warm start that runs share: epochs with exact gradients, which ask no device.

What they leave depends on seed, images, target, meshes, generator and training alone. Runs that differ in devices,
noise, shots, mitigation, SPSA, controls or budgets begin with the same bits, so that one of them is computed for all;
differences between such runs are paired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from ..errors import CheckpointError, ConfigError
from ..files import regular
from ..training.config import CHANGEABLE, OF_SHOTS, RunConfig, SPSAConfig, TrainingConfig
from ..training.device_config import BudgetConfig, MitigationConfig
from ..training.loop import TrainingState
from ..training.schedule import Schedule
from .checkpoint import load_checkpoint
from .folder import RunFolder
from .opened import Opened
from .records import load_records

#: Keys of [training] that a warm start does not look at.
_OF_DEVICES = ("shots", "final_shots")


def warm_config(config: RunConfig) -> RunConfig:
    """The run whose warm start is that of a configuration: its fingerprint is what the warm start depends on.

    :raises ConfigError: when there is no warm start.

    >>> warm_config(RunConfig(device="local:slos?noise=belenos")) == warm_config(RunConfig(spsa={"steps": 9}))
    True
    """
    if not Schedule.of(config).exact_epochs:
        raise ConfigError("the run has no warm start: training.warm_start_epochs is 0. Raise it.")
    plain = TrainingConfig()
    shots = {key: getattr(plain, key) for key in _OF_DEVICES}
    return config.model_copy(
        update={
            "device": RunConfig().device,
            "controls": False,
            "qnn": tuple(qnn.model_copy(update={"device": None}) for qnn in config.qnn),
            "training": config.training.model_copy(update=shots),
            "spsa": SPSAConfig(steps=0),
            "mitigation": MitigationConfig(method="post-select"),
            "budget": BudgetConfig(),
        }
    )


@final
@dataclass(frozen=True, eq=False)
class WarmStart:
    """Where runs that share a warm start go on.

    :param state: after the last of its epochs.
    :param rows: of ``metrics.jsonl`` until then.
    """

    state: TrainingState
    rows: str

    @classmethod
    def load(cls, folder: RunFolder, run: Opened) -> WarmStart:
        """What :func:`~qpu_sdk.runs.train.warm_up` left, for a run that begins.

        :raises CheckpointError: when it is not finished, or is of another run.
        """
        config = warm_config(run.config)
        known = load_records(folder.records, config)
        exact = known.fingerprint(config, leaving_out=OF_SHOTS)
        wanted = known.fingerprint(config, leaving_out=CHANGEABLE)
        found = load_checkpoint(folder.checkpoints, config=wanted, older=[exact])
        epochs = run.training.schedule.exact_epochs
        if found is None or found[0].done != epochs:
            done = 0 if found is None else found[0].done
            raise CheckpointError(f"{folder.path} has {done} of the {epochs} epochs of a warm start. Finish it first.")
        state, origin = found
        same = (origin.data, origin.threads, origin.exact or origin.config)
        if same != (run.dataset.fingerprint, torch.get_num_threads(), exact):
            raise CheckpointError(
                f"the warm start in {folder.path} saw other images, or has other rates or another number of threads. "
                "Begin another."
            )
        return cls(run.training.warmed(state), regular(folder.metrics).read_text(encoding="utf-8"))
