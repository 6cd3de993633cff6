"""Configuration of a run: TOML in, validated values out; every key has a default.

``examples/lean.toml`` is the default written out, ``examples/paper.toml`` the published method.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, final

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from ..devices.base import DeviceSpec
from ..devices.budget import Budget, Rates
from ..errors import ConfigError, ProgramError
from ..files import user_path
from ..generator.limits import checked_bond
from ..mitigation.methods import check_method
from ..photonics.interferometer import Mesh
from ..photonics.meshes import open_mesh
from .allowed import (
    MOST_JOINT,
    AtLeastZero,
    Limit,
    Pairs,
    Positive,
    PositiveOrZero,
    Rate,
    RealNumber,
    SeedNumber,
    Shots,
    Threads,
    WholeNumber,
    as_value,
)
from .section import Section
from .spsa import SPSA

#: A table of the configuration as it is written.
Table: TypeAlias = Mapping[str, Any]
#: What a configuration says of a network or images that were passed as objects, which no file can name.
GIVEN = "(given)"


@final
class DataConfig(Section):
    """Which images. ``draw="training"`` draws both sets by seed from the source's training images.

    :param scale: what all pixels are divided by; none: integers of more than 16 levels are bytes, the rest is as it is.
    """

    source: str = "mnist-5k"
    draw: Literal["given", "training"] = "given"
    train_size: Positive | None = None
    test_size: Positive | None = None
    validation_size: PositiveOrZero = 0
    seed: SeedNumber | None = None
    scale: Rate | None = None

    @model_serializer(mode="wrap")
    def _without_unset_scale(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave ``scale`` out where it is not set: fingerprints and models are the same as before there was one."""
        values: dict[str, Any] = inner(self)
        return {key: value for key, value in values.items() if key != "scale" or value is not None}


@final
class TargetConfig(Section):
    """The network whose weights are generated: ``module:function`` returning a ``torch.nn.Module``.

    :data:`GIVEN` stands for one that was passed to :func:`qpu_sdk.runs.train.train`; so it does for images.
    """

    factory: str = "qpu_sdk.training.targets:paper_cnn"


@final
class QNNConfig(Section):
    """One photonic circuit."""

    modes: Annotated[WholeNumber, Field(ge=2, le=64)]
    photons: Positive
    mesh: Literal["isometry", "rectangular", "brickwall"] = "isometry"
    device: str | None = None
    input_modes: tuple[PositiveOrZero, ...] | None = None

    def open_mesh(self) -> Mesh:
        """The mesh; raises :class:`ProgramError` when the photons do not fit the modes."""
        return open_mesh(self.mesh, modes=self.modes, photons=self.photons)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Input modes, the mesh's own unless given."""
        return self.input_modes if self.input_modes is not None else self.open_mesh().default_input(self.photons)

    @model_validator(mode="after")
    def _fits(self) -> QNNConfig:
        try:
            self.open_mesh()
        except ProgramError as error:
            raise ValueError(str(error)) from None
        inputs = self.inputs
        if len(inputs) != self.photons or len(set(inputs)) < len(inputs) or max(inputs) >= self.modes:
            raise ValueError(f"input_modes {inputs} are not {self.photons} distinct modes of 0..{self.modes - 1}")
        return self


@final
class GeneratorConfig(Section):
    """From probabilities to weights; see :mod:`qpu_sdk.generator.mps`."""

    kind: Literal["lean", "paper"] = "lean"
    bond_dim: Positive = 6
    init_std: AtLeastZero | None = None

    @field_validator("bond_dim")
    @classmethod
    def _fits_memory(cls, bond_dim: int) -> int:
        return as_value(lambda: checked_bond(bond_dim))


@final
class TrainingConfig(Section):
    """Rounds of [measure p; generator epochs on it; SPSA on the phases], then a last measurement and fit."""

    warm_start_epochs: PositiveOrZero = 70
    warm_start_lr: Rate = 0.02
    trials: Positive = 6
    trial_epochs: Positive = 6
    rounds: PositiveOrZero = 4
    generator_epochs: PositiveOrZero = 4
    final_epochs: Positive = 20
    batch_size: Positive = 128
    optimiser: Literal["adam", "rotated-adam"] = "rotated-adam"
    lr: Rate = 0.01
    beta2: Annotated[RealNumber, Field(gt=0.0, lt=1.0)] = 0.99
    clip: AtLeastZero = 1.0
    label_smoothing: Annotated[RealNumber, Field(ge=0.0, lt=1.0)] = 0.05
    weight_penalty: AtLeastZero = 0.0003
    warmup: Annotated[RealNumber, Field(ge=0.0, lt=1.0)] = 0.03
    final_lr: Annotated[RealNumber, Field(ge=0.0, le=1.0)] = 0.0
    shots: Shots = 100_000
    final_shots: Shots = 1_000_000
    threads: Threads | None = None

    @model_validator(mode="after")
    def _trials_are_warm(self) -> TrainingConfig:
        if self.trials > 1 and self.warm_start_epochs < self.trial_epochs:
            raise ValueError(
                f"{self.trials} trials need {self.trial_epochs} epochs of warm start; warm_start_epochs is "
                f"{self.warm_start_epochs}; raise it or set trials = 1"
            )
        return self


@final
class SPSAConfig(Section):
    """Gains in Spall's letters, ``a`` calibrated unless given. Blocking rests where no step has several pairs."""

    steps: PositiveOrZero = 5
    shots: Shots = 100_000
    a: Rate | None = None
    c: Rate = 0.02
    A: AtLeastZero | None = None
    alpha: Rate = 0.602
    gamma: Rate = 0.101
    resamplings: Pairs = 1
    calibration_pairs: Pairs = 4
    first_step: Rate = 0.002
    max_step: Rate | None = 0.004
    smoothing: Literal["none", "adam"] = "none"
    blocking: bool = True
    images: Positive = 1000

    @model_validator(mode="after")
    def _makes_sense(self) -> SPSAConfig:
        as_value(lambda: self.open(A=0.0))
        return self

    def open(self, *, A: float) -> SPSA:
        """The optimiser.

        :param A: unless the configuration names one.
        """
        own = self.model_dump(exclude={"steps", "shots", "images", "A", "blocking"})
        known = max(self.resamplings, self.calibration_pairs if self.a is None else 1) > 1  # the noise of a loss
        return SPSA(**own, A=A if self.A is None else self.A, blocking=self.blocking and known)


@final
class MitigationConfig(Section):
    """How counts become a distribution; see :mod:`qpu_sdk.mitigation.mitigate`.

    ``auto`` takes what the counts bear, and post-selects on devices without noise or without a record.

    :param method: ``auto``, or a name of :data:`qpu_sdk.mitigation.methods.METHODS`.
    :param record: file of a calibration record, or folder of records; none: simulators know their own noise.
    :param max_age_h: oldest record that is used, hours; none: what the record says itself.
    """

    method: str = "auto"
    record: str | None = None
    max_age_h: Rate | None = None

    @field_validator("method")
    @classmethod
    def _known(cls, name: str) -> str:
        return as_value(lambda: check_method(name))

    def absolute(self) -> MitigationConfig:
        """The same with an absolute path, which holds wherever a run goes on."""
        if self.record is None:
            return self
        path = user_path(self.record, "mitigation.record").absolute()
        return self.model_copy(update={"record": str(path)})


@final
class BudgetConfig(Section):
    """Hard limits of one run, reserved before each submission, and what devices charge, unless they say it."""

    settings: Limit | None = 400
    shots: Limit | None = None
    credits: AtLeastZero | None = None
    jobs: Limit | None = None
    seconds: Rate | None = None
    credits_per_shot: AtLeastZero | None = None
    seconds_per_setting: AtLeastZero | None = None

    @property
    def limits(self) -> Budget:
        """The limits alone."""
        return Budget(self.settings, self.shots, self.credits, self.jobs, self.seconds)

    def rates(self, spec: DeviceSpec) -> Rates:
        """What a device charges: what it says itself, or the configuration instead."""
        return Rates(
            spec.rates.credits_per_shot if self.credits_per_shot is None else self.credits_per_shot,
            spec.rates.seconds_per_setting if self.seconds_per_setting is None else self.seconds_per_setting,
        )


@final
class RunConfig(Section):
    """The whole configuration.

    >>> RunConfig().generator.bond_dim
    6
    """

    device: str = "local:slos"
    seed: SeedNumber = 0
    controls: bool = False
    data: DataConfig = DataConfig()
    target: TargetConfig = TargetConfig()
    qnn: tuple[QNNConfig, ...] = (QNNConfig(modes=9, photons=4), QNNConfig(modes=8, photons=4))
    generator: GeneratorConfig = GeneratorConfig()
    training: TrainingConfig = TrainingConfig()
    spsa: SPSAConfig = SPSAConfig()
    mitigation: MitigationConfig = MitigationConfig()
    budget: BudgetConfig = BudgetConfig()

    if TYPE_CHECKING:  # tables may be written as mappings, which the types of the fields do not say

        def __init__(
            self,
            *,
            device: str = ...,
            seed: int = ...,
            controls: bool = ...,
            data: DataConfig | Table = ...,
            target: TargetConfig | Table = ...,
            qnn: Sequence[QNNConfig | Table] = ...,
            generator: GeneratorConfig | Table = ...,
            training: TrainingConfig | Table = ...,
            spsa: SPSAConfig | Table = ...,
            mitigation: MitigationConfig | Table = ...,
            budget: BudgetConfig | Table = ...,
        ) -> None: ...

    @model_validator(mode="after")
    def _two_qnns(self) -> RunConfig:
        if len(self.qnn) < 2:
            raise ValueError(f"{len(self.qnn)} QNN is configured; at least 2 are needed. Add a [[qnn]] table")
        if (joint := math.prod(math.comb(q.modes, q.photons) for q in self.qnn)) > MOST_JOINT:
            raise ValueError(
                f"the circuits have {joint:.3g} joint outcomes, {4e-9 * joint:,.0f} GB for each copy of p; "
                f"{MOST_JOINT:,} is the limit. Use fewer modes, photons or circuits"
            )
        return self

    def device_of(self, index: int) -> str:
        """Device string of a QNN."""
        return self.qnn[index].device or self.device

    @property
    def device_names(self) -> tuple[str, ...]:
        """Device strings, each once, in the order of the QNNs."""
        return tuple(dict.fromkeys(self.device_of(i) for i in range(len(self.qnn))))

    @property
    def data_seed(self) -> int:
        """Seed of the split: the run's unless given."""
        return self.seed if self.data.seed is None else self.data.seed

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what decides the result: not the budget, which may be raised in mid-run.

        Nor where records come from: :attr:`qpu_sdk.training.estimator.Mitigation.fingerprint` has their content.
        """
        values = self.model_dump(mode="json", exclude={"budget": True, "mitigation": {"record", "max_age_h"}})
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def to_toml(self) -> str:
        """The resolved configuration as TOML; unset keys are left out."""
        data = self.model_dump(mode="json", exclude_none=True)  # TOML has no null
        lines = [f"{key} = {_toml(value)}" for key, value in data.items() if not isinstance(value, dict | list)]
        for key, value in data.items():
            for table in value if key == "qnn" else [value]:
                if isinstance(table, dict):
                    lines += ["", f"[[{key}]]" if key == "qnn" else f"[{key}]"]
                    lines += [f"{name} = {_toml(entry)}" for name, entry in table.items()]
        return "\n".join(lines) + "\n"


def checked_config(config: object) -> RunConfig:
    """The configuration, once it is sure that it is one.

    :raises ConfigError: when it is something else, such as a path or a dictionary.
    """
    if isinstance(config, RunConfig):
        return config
    way = "qpu_sdk.RunConfig(**values)" if isinstance(config, Mapping) else "qpu_sdk.load_config(path)"
    raise ConfigError(f"config is a {type(config).__name__}; a RunConfig is needed. Make one with {way}.")


def _toml(value: Any) -> str:
    """A scalar or list as TOML; JSON's notation of these is valid TOML, except for surrogate pairs and DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
