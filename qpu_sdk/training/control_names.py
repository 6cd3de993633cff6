"""Names of the controls, which a configuration knows without loading what trains them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from ..words import did_you_mean, short

#: What ``controls = true`` trains.
STANDARD_CONTROLS = ("frozen_random", "constant", "random_subspace", "plain_network", "small_network")
#: All that there are.
CONTROLS = (
    *STANDARD_CONTROLS,
    "untrained_circuits",
    "fresh_random",
    "pruned",
    "weight_sharing",
    "hashed",
    "low_rank",
)
#: Those whose weights are drawn anew whenever they are asked for, so that there is no trained network to compare.
VOID = ("fresh_random",)
_TRUTH = TypeAdapter(bool)


def _checked(value: object) -> bool | tuple[str, ...]:
    if isinstance(value, str) and value in CONTROLS:
        value = [value]
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for name in value:
            if name not in CONTROLS:
                near = did_you_mean(str(name), CONTROLS)
                raise ValueError(f"control {short(name)} is unknown.{near} There are: {', '.join(CONTROLS)}")
        return tuple(dict.fromkeys(value))
    try:
        return _TRUTH.validate_python(value)
    except ValidationError:
        raise ValueError(f"Input should be true, false or a list of controls: {', '.join(CONTROLS)}") from None


#: ``controls`` of a configuration.
Controls: TypeAlias = Annotated[bool | tuple[str, ...], BeforeValidator(_checked)]


def chosen_controls(value: bool | Sequence[str]) -> tuple[str, ...]:
    """The controls that a configuration asks for.

    >>> chosen_controls(False), chosen_controls(["pruned"])
    ((), ('pruned',))
    """
    return (STANDARD_CONTROLS if value else ()) if isinstance(value, bool) else tuple(value)
