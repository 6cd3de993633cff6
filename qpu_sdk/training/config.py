"""Configuration of a run: TOML in, validated values out; every key has a default.

``examples/lean.toml`` is the default written out, ``examples/paper.toml`` the published method.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, final

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from ..errors import ConfigError
from .allowed import (
    MOST_JOINT,
    OPTIMISERS,
    AtLeastZero,
    Pairs,
    Positive,
    PositiveOrZero,
    Rate,
    RealNumber,
    SeedNumber,
    Shots,
    Threads,
    as_value,
)
from .circuit_config import GeneratorConfig as GeneratorConfig
from .circuit_config import QNNConfig as QNNConfig
from .control_names import Controls
from .device_config import BudgetConfig, MitigationConfig
from .named_config import GIVEN as GIVEN
from .named_config import DataConfig as DataConfig
from .named_config import TargetConfig as TargetConfig
from .section import Section
from .spsa import SPSA
from .written import hash_of, or_none, toml_of

#: A table of the configuration as it is written.
Table: TypeAlias = Mapping[str, Any]
#: What no fingerprint has: limits may be raised, and files may lie elsewhere.
_UNHASHED: Any = {
    "budget": True,
    "mitigation": {"record", "max_age_h"},
    "target": {"folder"},
    "training": {"loss_folder", "optimiser_folder"},
}
#: Keys of [training] that came after the first release; with their defaults, nothing is as it was not before.
_LATER = {"augment_shift", "warm_start_optimiser", "rest_lr", "loss", "loss_folder", "accelerator", "optimiser_folder"}
#: Shots, which may change in mid-run: of what is not measured yet.
OF_SHOTS = {"training": {"shots", "final_shots"}, "spsa": {"shots"}}
#: All keys that may: those, learning rates for a run that diverged, and where it is computed.
CHANGEABLE = {
    "training": OF_SHOTS["training"] | {"lr", "warm_start_lr", "rest_lr", "clip", "accelerator"},
    "spsa": OF_SHOTS["spsa"],
}


@final
class TrainingConfig(Section):
    """Rounds of [measure p; generator epochs on it; SPSA on the phases], then a last measurement and fit.

    :param warm_start_epochs: with exact gradients of phases and generator, which ask no device.
    :param warm_start_lr: of the phases in these.
    :param trials: independent starts, of which the one with the lowest training loss goes on.
    :param trial_epochs: of each, counted within ``warm_start_epochs``.
    :param rounds: of a measurement of p, epochs of the generator and steps of SPSA.
    :param generator_epochs: in each round.
    :param final_epochs: after the last, longer measurement.
    :param batch_size: training images of one step.
    :param optimiser: of the generator.
    :param lr: peak learning rate of the generator; warm-up, then cosine.
    :param beta2: of Adam: how long squared gradients are remembered.
    :param clip: most norm of a gradient; 0: no limit.
    :param label_smoothing: share of a label that is spread over all classes.
    :param weight_penalty: times the sum of the squared generated weights, added to the loss.
    :param warmup: part of the schedule in which the rate rises.
    :param final_lr: part of ``lr`` that is left at the end.
    :param shots: of each round's measurement, a setting.
    :param final_shots: of the last measurement, a setting.
    :param threads: of torch; none: torch's own number.
    :param augment_shift: most pixels by which training images are moved, each way, anew in every epoch.
    :param accelerator: where generator and network are trained; ``auto``: the first of cuda, mps and cpu that is there.
    :param warm_start_optimiser: of the phases; none: ``rotated-adam`` for tapered chains, ``adam`` for others.
    :param rest_lr: peak learning rate of weights that are not generated; none: 0.003.
    :param loss: ``module:function`` or ``FILE.py:function`` of outputs and labels; none: cross-entropy.
    :param loss_folder: where that is, as of the target; a run writes it down.
    :param optimiser: of the generator: ``adam``, ``rotated-adam``, or ``module:function`` or ``FILE.py:function`` that
        makes a ``torch.optim.Optimizer`` of a list of parameters, such as ``torch.optim:NAdam``.
    :param optimiser_folder: where that is, as of the target.
    """

    warm_start_epochs: PositiveOrZero = 110
    warm_start_lr: Rate = 0.05
    trials: Positive = 4
    trial_epochs: Positive = 6
    rounds: PositiveOrZero = 4
    generator_epochs: PositiveOrZero = 4
    final_epochs: Positive = 20
    batch_size: Positive = 128
    optimiser: str = "rotated-adam"
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
    augment_shift: PositiveOrZero = 0
    warm_start_optimiser: Literal["adam", "rotated-adam"] | None = None
    rest_lr: Rate | None = None
    loss: str | None = None
    loss_folder: str | None = None
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "cpu"
    optimiser_folder: str | None = None

    @model_serializer(mode="wrap")
    def _without_later_keys(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave keys that came later out where they change nothing, as ``scale`` of the images where it is not set."""
        later = {key: field.default for key, field in type(self).model_fields.items() if key in _LATER}
        return {key: value for key, value in inner(self).items() if key not in later or value != later[key]}

    @field_validator("optimiser")
    @classmethod
    def _is_known(cls, optimiser: str) -> str:
        if optimiser not in OPTIMISERS and ":" not in optimiser:
            raise ValueError(f"it is none of {', '.join(OPTIMISERS)} and module:function, such as torch.optim:NAdam")
        return optimiser

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
    """Gains in Spall's letters, ``a`` calibrated unless given. Blocking rests where no step has several pairs.

    :param steps: a round; two settings a circuit and pair.
    :param shots: of each setting.
    :param a: gain of the steps; none: calibrated by the first step.
    :param c: size of the perturbation, radians.
    :param A: stability constant of the gain; none: a tenth of the steps.
    :param alpha: exponent with which the gain decays.
    :param gamma: exponent with which the perturbation decays.
    :param resamplings: pairs of a step, whose gradients are averaged.
    :param calibration_pairs: of the first step, which choose the gain.
    :param first_step: root-mean-square size of the first step, radians.
    :param max_step: of any step, radians; ``"none"``: no limit.
    :param smoothing: of the gradients over steps.
    :param blocking: whether steps are undone that raise the loss by more than its noise.
    :param images: of the minibatch that all pairs of a step share.
    """

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
    max_step: Annotated[Rate | None, BeforeValidator(or_none)] = 0.004
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
        own = {field.name: getattr(self, field.name) for field in fields(SPSA)}
        return SPSA(**own | {"A": A if self.A is None else self.A, "blocking": self.blocks})

    @property
    def blocks(self) -> bool:
        """Whether steps are blocked: without several losses at one point nobody knows their noise."""
        return self.blocking and max(self.resamplings, self.calibration_pairs if self.a is None else 1) > 1


@final
class RunConfig(Section):
    """The whole configuration.

    :param device: of every circuit that does not name its own.
    :param seed: of everything random.
    :param controls: whether the five controls are trained after the run; or the names of those that are.
    :param data: which images.
    :param target: the network whose weights are generated.
    :param qnn: circuits, two or more; p is the outer product of their distributions.
    :param generator: from probabilities to weights.
    :param training: rounds, epochs, learning rates and shots.
    :param spsa: the optimiser of the phases.
    :param mitigation: how counts become a distribution.
    :param budget: hard limits.

    >>> RunConfig().generator.bond_dim
    8
    """

    device: str = "local:slos"
    seed: SeedNumber = 0
    controls: Controls = False
    data: DataConfig = DataConfig()
    target: TargetConfig = TargetConfig()
    qnn: tuple[QNNConfig, ...] = (QNNConfig(modes=9, photons=4), QNNConfig(modes=8, photons=4))
    generator: GeneratorConfig = GeneratorConfig()
    training: TrainingConfig = TrainingConfig()
    spsa: SPSAConfig = SPSAConfig()
    mitigation: MitigationConfig = MitigationConfig()
    budget: BudgetConfig = BudgetConfig()
    _begun: bool = PrivateAttr(default=False)

    if TYPE_CHECKING:  # tables may be written as mappings, which the types of the fields do not say

        def __init__(
            self,
            *,
            device: str = ...,
            seed: int = ...,
            controls: bool | Sequence[str] = ...,
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

    @property
    def warm_start_optimiser(self) -> str:
        """Of the phases: that of the configuration, or else the kind of generator decides."""
        by_kind = "rotated-adam" if self.generator.kind == "tapered" else "adam"
        return self.training.warm_start_optimiser or by_kind

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

    def of_a_run(self) -> RunConfig:
        """The same as the file of a run that has begun: keys that it does not have came later, and change nothing."""
        other = self.model_copy()
        other._begun = True
        return other

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what decides the result: not the budget, which may be raised in mid-run.

        Nor where the target's code is, nor where records come from:
        :attr:`qpu_sdk.layer.estimator.Mitigation.fingerprint` has their content.
        """
        return self.fingerprint_but({})

    def fingerprint_but(self, leaving_out: Mapping[str, set[str]]) -> str:
        """:attr:`fingerprint` without some more keys, by table."""
        out: Any = _UNHASHED | {table: keys | _UNHASHED.get(table, set()) for table, keys in leaving_out.items()}
        values = self.model_dump(mode="json", exclude_unset=self._begun, exclude_none=True, exclude=out)
        return hash_of(values)

    def to_toml(self) -> str:
        """The resolved configuration as TOML; unset keys are left out, and so are those that came after a run began."""
        return toml_of(self.model_dump(mode="json", exclude_unset=self._begun))


def checked_config(config: object) -> RunConfig:
    """The configuration, once it is sure that it is one.

    :raises ConfigError: when it is something else, such as a path or a dictionary.
    """
    if isinstance(config, RunConfig):
        return config
    way = "qpu_sdk.RunConfig(**values)" if isinstance(config, Mapping) else "qpu_sdk.load_config(path)"
    raise ConfigError(f"config is a {type(config).__name__}; a RunConfig is needed. Make one with {way}.")
