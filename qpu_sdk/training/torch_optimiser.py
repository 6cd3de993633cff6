"""Any optimiser of torch as a rule without state: made anew for each step, its memory put in and taken out again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from ..errors import ConfigError
from .factories import open_function, what_it_raised
from .optimiser import NamedTensors, Optimiser

#: Of what an optimiser keeps beside tensors: how the name of a number ends in a checkpoint, and its type there.
_NUMBERS: dict[type, tuple[str, torch.dtype]] = {
    bool: ("bool", torch.bool),
    int: ("int", torch.int64),
    float: ("float", torch.float64),
}


@final
@dataclass(frozen=True)
class TorchOptimiser(Optimiser):
    """What ``make(parameters)`` gives, a ``torch.optim.Optimizer``, with the learning rate of the run's schedule.

    What it remembers of the i-th parameter stands under ``i.NAME``, and is there from its first step on.

    :param make: such as ``torch.optim.NAdam``, or a function of the user's own that takes a list of tensors.
    :param name: of it, for messages.

    >>> rule, x = TorchOptimiser(torch.optim.SGD, "torch.optim:SGD"), torch.tensor([3.0])
    >>> rule.step_(rule.init([x]), [x], [2 * x], 0.1)
    >>> round(float(x), 4)
    2.4
    """

    make: Callable[..., Any]
    name: str

    def init(self, parameters: Sequence[Tensor]) -> NamedTensors:
        """The count of steps; one step on copies tells now what would go wrong later.

        :raises ConfigError: when it cannot be made, cannot step, or remembers what no checkpoint holds.
        """
        copies = [q.detach().clone() for q in parameters]
        self.step_(_fresh(), copies, [torch.zeros_like(q) for q in copies], 1e-3)
        return _fresh()

    def step_(self, state: NamedTensors, parameters: Sequence[Tensor], gradients: Sequence[Tensor], lr: float) -> None:
        """One step of it.

        :raises ConfigError: when it cannot be made, cannot step, or remembers what no checkpoint holds.
        """
        optimiser = self._made(parameters)
        for index, q in enumerate(parameters):
            if known := _known(state, index):
                optimiser.state[q] = known
        for group in optimiser.param_groups:
            group["lr"] = lr
        try:
            for q, gradient in zip(parameters, gradients, strict=True):
                q.grad = gradient.to(q.dtype)
            optimiser.step()
        except Exception as error:  # it is the user's code: it may raise anything
            raise ConfigError(
                f"optimiser {self.name!r} raised {what_it_raised(error)}. Use one that takes a step of dense gradients "
                "without a closure."
            ) from error
        finally:
            for q in parameters:
                q.grad = None
        for index, q in enumerate(parameters):
            state.update(self._written(optimiser.state.get(q, {}), index))
        state["count"].add_(1)

    def _made(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        try:
            found = self.make(list(parameters))
        except Exception as error:  # it is the user's code: it may raise anything
            raise ConfigError(f"optimiser {self.name!r} raised {what_it_raised(error)}. Mend it.") from error
        if not isinstance(found, torch.optim.Optimizer):
            raise ConfigError(
                f"optimiser {self.name!r} gave a {type(found).__name__}. Return a torch.optim.Optimizer of the "
                "parameters that it is given."
            )
        taken = {id(q) for group in found.param_groups for q in group["params"]}
        if taken != {id(q) for q in parameters}:
            raise ConfigError(f"optimiser {self.name!r} is of other parameters than it was given. Give it all of them.")
        return found

    def _written(self, known: dict[str, Any], index: int) -> NamedTensors:
        out: NamedTensors = {}
        for name, value in known.items():
            if isinstance(value, Tensor):
                out[f"{index}.{name}"] = value.detach()
            elif type(value) in _NUMBERS:
                ending, dtype = _NUMBERS[type(value)]
                out[f"{index}.{name}:{ending}"] = torch.tensor(value, dtype=dtype)
            elif value is not None:
                raise ConfigError(
                    f"optimiser {self.name!r} remembers a {type(value).__name__} as {name!r}, which no checkpoint "
                    "holds. Use one that remembers tensors and numbers."
                )
        return out


def _fresh() -> NamedTensors:
    return {"count": torch.zeros((), dtype=torch.int64)}


def _known(state: NamedTensors, index: int) -> dict[str, Any]:
    """What the optimiser remembers of one parameter, as it was."""
    endings = tuple(f":{ending}" for ending, _ in _NUMBERS.values())
    found: dict[str, Any] = {}
    for key, tensor in state.items():
        place, _, name = key.partition(".")
        if place == str(index):
            number = name.endswith(endings)
            found[name.rpartition(":")[0] if number else name] = tensor.item() if number else tensor
    return found


def named_optimiser(name: str, folder: str | None) -> Optimiser:
    """The optimiser that ``module:function`` or ``FILE.py:function`` makes.

    :param folder: where the module is, unless it is installed or in the working folder.
    :raises ConfigError: when it cannot be found.
    """
    return TorchOptimiser(open_function(name, what="optimiser", folder=folder), name)
