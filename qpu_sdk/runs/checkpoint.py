"""Checkpoints: the state of a run, its tensors as safetensors and the rest as JSON, committed by the JSON's rename.

A checkpoint is ``NNNNNN.safetensors`` and ``NNNNNN.json`` (N: units of work done). The JSON is written last and holds
the tensors' SHA-256, so a process killed at any moment leaves the previous checkpoint in force.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from pydantic import BaseModel, ConfigDict
from torch import Tensor, from_numpy

from ..devices.journal_known import Known
from ..errors import CheckpointError
from ..files import first_problem, regular, write_atomic
from ..training.fit import FitState
from ..training.loop import Learnt, TrainingState
from ..training.spsa import SPSAState

#: Version 1 is of before the first release; its runs are begun again. 2 hashed the shots too, and knew no journal.
SCHEMA_VERSION, OLDEST = 3, 2
#: Should the newest be damaged, the one before it is there.
KEPT = 2
VECTORS = ("x", "m", "v", "previous")


@final
@dataclass(frozen=True)
class RunOrigin:
    """What the bits of a state depend on besides itself: where it goes on, these are the same.

    :param config: fingerprint of the run's configuration and records, without what may change.
    :param data: fingerprint of the images.
    :param threads: torch threads; sums are only bit-identical at equal numbers.
    :param journal: what the journal held by then.
    :param exact: fingerprint of all but shots; earlier releases wrote it as ``config``.
    """

    config: str
    data: str
    threads: int
    journal: Known | None = None
    exact: str | None = None


class _Numbers(BaseModel):
    """What is no array of an :class:`SPSAState`."""

    model_config = ConfigDict(extra="forbid")

    seed: int
    k: int
    a: float | None
    loss: float | None
    spread: float
    provisional: bool = False  # older checkpoints do not say it


class _Header(BaseModel):
    """The JSON: where a state comes from, and what in it is no tensor."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int
    origin: RunOrigin
    sha256: str
    done: int
    epoch: int
    wall_s: float
    measured: dict[str, Any]
    spsa: _Numbers
    best: _Numbers | None
    best_loss: float | None


def save_checkpoint(folder: Path, state: TrainingState, origin: RunOrigin) -> None:
    """Write one checkpoint and drop all but the newest :data:`KEPT`."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{state.done:06d}"  # digits, so that sorted names are in the order of time
    blob = save({name: tensor.detach().contiguous().clone() for name, tensor in _tensors(state).items()})
    header = _Header(
        schema_version=SCHEMA_VERSION,
        origin=origin,
        sha256=hashlib.sha256(blob).hexdigest(),
        done=state.done,
        epoch=state.epoch,
        wall_s=state.wall_s,
        measured=dict(state.measured),
        spsa=_numbers(state.learnt),
        best=None if state.best is None else _numbers(state.best),
        best_loss=state.best_loss if math.isfinite(state.best_loss) else None,  # JSON has no infinity
    )
    write_atomic(stem.with_suffix(".safetensors"), blob)
    write_atomic(stem.with_suffix(".json"), json.dumps(header.model_dump(), indent=1, allow_nan=False))
    for old in sorted(folder.glob("[0-9]*.json"))[:-KEPT]:
        old.unlink()  # the JSON first: tensors alone are nothing, a JSON alone is damage
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def load_checkpoint(
    folder: Path, *, config: str, older: Collection[str] = ()
) -> tuple[TrainingState, RunOrigin] | None:
    """The newest checkpoint, ``None`` when there is none yet.

    :param config: fingerprint of the configuration and records that it must be of.
    :param older: the same as earlier releases made it.
    :raises CheckpointError: when it is damaged, of another SDK, or of another configuration.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    headers = sorted(folder.glob("[0-9]*.json"))
    if not headers:
        return None
    header = _read(path := headers[-1])
    if header.origin.config not in (config, *older):
        raise CheckpointError(
            f"{path} belongs to another configuration than config.toml and records beside it. Restore them."
        )
    try:
        blob = regular(path := path.with_suffix(".safetensors")).read_bytes()
        if hashlib.sha256(blob).hexdigest() != header.sha256:
            raise CheckpointError(_damaged(path, "checksum does not match"))
        return _state(header, load(blob)), header.origin
    except (OSError, SafetensorError, KeyError) as error:
        raise CheckpointError(_damaged(path, f"{type(error).__name__}: {error}")) from error


def _read(path: Path) -> _Header:
    try:
        values = json.loads(regular(path).read_text(encoding="utf-8"))
        version = values["schema_version"]
        if version in (OLDEST, SCHEMA_VERSION):
            return _Header.model_validate(values)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = first_problem(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise CheckpointError(_damaged(path, why)) from error
    older = isinstance(version, int) and version < SCHEMA_VERSION
    raise CheckpointError(
        f"{path} has schema version {version}; this SDK reads {SCHEMA_VERSION}. "
        f"{'Begin the run again.' if older else 'Update qpu_sdk.'}"
    )


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged ({why}). Delete {path.stem}.* in that folder to resume from the checkpoint before it."


# -- a state as named tensors and numbers --------------------------------------------------------------------


def _tensors(state: TrainingState) -> dict[str, Tensor]:
    best = {} if state.best is None else _learnt_tensors(state.best)
    tensors = _learnt_tensors(state.learnt) | {f"best.{name}": tensor for name, tensor in best.items()}
    return tensors | {"p": state.p, "p_before": state.p_before}


def _learnt_tensors(learnt: Learnt) -> dict[str, Tensor]:
    parts: dict[str, Mapping[str, Tensor]] = {
        "generator": learnt.fit.parameters,
        "optimiser": learnt.fit.optimiser,
        "adam": learnt.adam,
        "spsa": {name: from_numpy(getattr(learnt.spsa, name)) for name in VECTORS},
    }
    return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def _numbers(learnt: Learnt) -> _Numbers:
    return _Numbers(**{name: value for name, value in asdict(learnt.spsa).items() if name not in VECTORS})


def _state(header: _Header, tensors: Mapping[str, Tensor]) -> TrainingState:
    """The inverse of :func:`_tensors` and :func:`_numbers`; raises :class:`KeyError` for what is missing."""
    own = {name: tensor.clone() for name, tensor in tensors.items()}  # not a view of the file's bytes, ill-aligned
    return TrainingState(
        done=header.done,
        learnt=_learnt(own, header.spsa),
        p=own["p"],
        p_before=own["p_before"],
        measured=header.measured,
        epoch=header.epoch,
        best=None if header.best is None else _learnt(_under("best.", own), header.best),
        best_loss=math.inf if header.best_loss is None else header.best_loss,
        wall_s=header.wall_s,
    )


def _learnt(tensors: Mapping[str, Tensor], numbers: _Numbers) -> Learnt:
    x, m, v, previous = (tensors[f"spsa.{name}"].numpy() for name in VECTORS)
    return Learnt(
        FitState(_under("generator.", tensors), _under("optimiser.", tensors)),
        _under("adam.", tensors),
        SPSAState(x=x, m=m, v=v, previous=previous, **numbers.model_dump()),
    )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
