"""``seed.safetensors``: what a run trained and measured, of which its weights are made again without a device.

::

    phases            radians, of all circuits
    counts.0  p.1     of each circuit: how often each outcome was counted, or, where that was mitigated, its probability
    generator.cores   parameters of the generator, by name
    kept.norm.bias    what is not generated, by name

and in the metadata, as JSON, the generator's kind and size, the tensors that its weights are cut into, the metadata of
``model.safetensors``, and the SHA-256 of that file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from ..errors import ConfigError, DataError
from ..files import first_problem, regular, user_path
from ..generator.mps import Generator, LeanMPSGenerator, MPSGenerator, TaperedMPSGenerator
from ..training.factories import plain_torch
from ..training.qnn import joint
from ..training.targets import tensor_bytes
from ..words import one_line
from .cut import Cut, Piece
from .weights import SEED_KEY, Model, model_bytes

SCHEMA_VERSION = 1
#: Generators whose weights are made of their parameters and p alone, by the kind in a configuration.
GENERATORS: Mapping[str, Callable[..., Generator]] = {
    "paper": MPSGenerator,
    "lean": LeanMPSGenerator,
    "tapered": TaperedMPSGenerator,
}
#: Types of counts, from the smallest on.
_WHOLE = (torch.uint8, torch.int16, torch.int32, torch.int64)


class _Header(BaseModel):
    """The JSON of a seed.

    :ivar generated: see :class:`~qpu_sdk.export.cut.Cut`.
    :ivar copies: the same.
    :ivar threads: of torch, in which the weights were made: sums are only bit-identical at equal numbers.
    :ivar content: SHA-256 of the seed's own tensors.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int
    kind: str
    bond_dim: int
    generated: tuple[Piece, ...]
    copies: dict[str, str]
    threads: int = Field(ge=1, le=4096)
    model: dict[str, str]
    sha256: str
    content: str


@final
@dataclass(frozen=True, eq=False)
class Frequencies:
    """How often each outcome of one circuit was seen, in its last measurement.

    :param values: counts of its outcomes, whole numbers, or probabilities, float64, ``(K,)``.
    """

    values: Tensor

    @classmethod
    def of(cls, probabilities: Any, counts: Any | None) -> Self:
        """The smaller of both that gives the probabilities to the bit.

        :param probabilities: float64, ``(K,)``.
        :param counts: that they may be the relative frequencies of, ``(K,)``, or None.
        """
        p = torch.from_numpy(np.asarray(probabilities, dtype=np.float64).copy())
        if counts is not None:
            numbers = torch.from_numpy(np.asarray(counts, dtype=np.int64).copy())
            small = next(kind for kind in _WHOLE if int(numbers.max()) <= torch.iinfo(kind).max)
            found = cls(numbers.to(small))
            if torch.equal(found.probabilities, p):
                return found
        return cls(p)

    @property
    def probabilities(self) -> Tensor:
        """Float64, ``(K,)``."""
        if self.values.is_floating_point():
            return self.values
        numbers = self.values.to(torch.int64).numpy()
        return torch.from_numpy(numbers / int(numbers.sum()))


@final
@dataclass(frozen=True, eq=False)
class WeightSeed:
    """Everything that a model's weights are made of.

    :param kind: of the generator, a key of :data:`GENERATORS`.
    :param size: number of weights.
    :param parameters: of the generator, by name.
    :param phases: radians, float64, ``(declared,)``.
    :param measured: one a circuit.
    :param threads: of torch, in which the weights were made.
    """

    kind: str
    bond_dim: int
    size: int
    parameters: Mapping[str, Tensor]
    phases: Tensor
    measured: Sequence[Frequencies]
    threads: int

    def weights(self) -> Tensor:
        """What the generator makes of the measured p, ``(size,)``.

        :raises DataError: when the parts do not fit together.
        """
        before = torch.get_num_threads()
        with plain_torch(), torch.no_grad():
            try:
                torch.set_num_threads(self.threads)
                generator = GENERATORS[self.kind](self.size, self.bond_dim, seed=0)
                generator.load_state_dict(dict(self.parameters), strict=True)
                weights: Tensor = generator(joint([one.probabilities for one in self.measured]).float())
                return weights
            except (ConfigError, KeyError, RuntimeError, ValueError) as error:
                raise _damaged(error) from error
            finally:
                torch.set_num_threads(before)


def seed_bytes(seed: WeightSeed, model: Model) -> bytes:
    """The file from which :func:`expand_seed` makes the model again.

    :param model: whose weights the seed makes.
    :raises DataError: when they are not the same to the bit.
    """
    from safetensors.torch import save

    weights = seed.weights()
    cut = Cut.found(weights, model.tensors)
    if cut is None:
        raise _other_bits()
    kept = {name: tensor for name, tensor in model.tensors.items() if name not in cut.names}
    tensors = _tensors(seed) | {f"kept.{name}": t.detach().contiguous().clone() for name, t in kept.items()}
    sha256 = hashlib.sha256(model_bytes(model)).hexdigest()
    if sha256 != hashlib.sha256(model_bytes(Model(cut.tensors(weights) | kept, model.metadata))).hexdigest():
        raise _other_bits()
    header = _Header(
        schema_version=SCHEMA_VERSION,
        kind=seed.kind,
        bond_dim=seed.bond_dim,
        generated=cut.pieces,
        copies=dict(cut.copies),
        threads=seed.threads,
        model=dict(model.metadata),
        sha256=sha256,
        content=_content(tensors),
    )
    return save(tensors, metadata={SEED_KEY: header.model_dump_json()})


@final
@dataclass(frozen=True)
class Expanded:
    """A model that a seed made.

    :param content: the bytes of ``model.safetensors``.
    :param sha256: of these.
    :param identical: whether they are those of the run.
    :param seed_size: bytes of the seed.
    """

    content: bytes
    sha256: str
    identical: bool
    seed_size: int

    @property
    def ratio(self) -> float:
        """Bytes of the model a byte of the seed."""
        return len(self.content) / self.seed_size


def expand_seed(path: str | Path) -> Expanded:
    """The whole model out of its seed, without a device: the same bits as the run's, on one build of torch and CPU.

    :raises DataError: when the file is missing, no seed, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = user_path(path, "the seed's path")
    try:
        size = regular(path).stat().st_size
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no iterator)
            text = (file.metadata() or {}).get(SEED_KEY)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Name a seed that export --format seed wrote.") from None
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read as safetensors ({one_line(error, 160)}). Export it again.") from error
    if text is None:
        raise DataError(f"{path} is no seed. Name a file that export --format seed wrote.")
    header = _header(path, text)
    if _content(tensors) != header.content:
        raise DataError(f"{path} is damaged: its checksum does not match. Export it again.")
    content = model_bytes(_model(header, tensors))
    sha256 = hashlib.sha256(content).hexdigest()
    return Expanded(content, sha256, sha256 == header.sha256, size)


def _header(path: Path, text: str) -> _Header:
    try:
        version = json.loads(text)["schema_version"]
        if version != SCHEMA_VERSION:
            raise DataError(f"{path} has schema version {version}; this SDK reads {SCHEMA_VERSION}. Update qpu_sdk.")
        return _Header.model_validate_json(text)
    except (ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = first_problem(error) if isinstance(error, ValueError) else type(error).__name__
        raise DataError(f"{path} is a damaged seed ({why}). Export it again.") from error


def _model(header: _Header, tensors: Mapping[str, Tensor]) -> Model:
    cut, count = Cut(header.generated, header.copies), sum(name.startswith(("counts.", "p.")) for name in tensors)
    try:
        values = [tensors.get(f"counts.{i}", tensors.get(f"p.{i}")) for i in range(count)]
        seed = WeightSeed(
            header.kind,
            header.bond_dim,
            cut.size,
            _under("generator.", tensors),
            tensors["phases"],
            [Frequencies(value) for value in values if value is not None],
            header.threads,
        )
    except KeyError as error:
        raise _damaged(error) from error
    return Model(cut.tensors(seed.weights()) | _under("kept.", tensors), header.model)


def _tensors(seed: WeightSeed) -> dict[str, Tensor]:
    found = {"phases": seed.phases}
    for index, one in enumerate(seed.measured):
        found[f"{'p' if one.values.is_floating_point() else 'counts'}.{index}"] = one.values
    found |= {f"generator.{name}": tensor for name, tensor in seed.parameters.items()}
    return {name: tensor.detach().contiguous().clone() for name, tensor in found.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _content(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(
            f"{name} {tuple(tensors[name].shape)} {tensors[name].dtype} ".encode() + tensor_bytes(tensors[name])
        )
    return digest.hexdigest()


def _damaged(error: Exception) -> DataError:
    return DataError(f"the seed is damaged ({type(error).__name__}: {one_line(error, 160)}). Export it again.")


def _other_bits() -> DataError:
    return DataError(
        "the weights do not come out of the run's phases, counts and generator to the bit: it was trained by another "
        "version of the SDK or of torch, or on another machine. Export the seed there, or use --format safetensors."
    )
