"""The tables of a configuration about devices: what is made of their counts, and what they may cost."""

from __future__ import annotations

from typing import Annotated, final

from pydantic import BeforeValidator, field_validator

from ..devices.base import DeviceSpec
from ..devices.budget import Budget, Rates
from ..files import user_path
from ..mitigation.methods import check_method
from .allowed import AtLeastZero, Limit, Rate, as_value
from .section import Section
from .written import or_none


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
    """Hard limits of one run, reserved before each submission, and what devices charge, unless they say it.

    :param settings: circuit configurations; ``"none"``: no limit.
    :param shots: of all settings together.
    :param credits: what the provider charges.
    :param jobs: that are submitted.
    :param seconds: of the machine.
    :param credits_per_shot: what a device charges; none: what it says itself, 1e-6 on QPUs.
    :param seconds_per_setting: what a setting takes; none: what it says itself, 15 on QPUs.
    """

    settings: Annotated[Limit | None, BeforeValidator(or_none)] = 400
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
