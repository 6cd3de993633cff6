"""What a result says, in one line."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..rendering.text import percent
from ..training.control_names import VOID
from .summary import RunSummary

CONTROL_NAMES = {
    "frozen_random": "control: p random and frozen",
    "constant": "control: p constant",
    "random_subspace": "control: random subspace, as many parameters",
    "plain_network": "control: plain network, all weights trained",
    "small_network": "control: small network, as many weights",
    "untrained_circuits": "control: p of untrained circuits",
    "fresh_random": "void control: p random at every call",
    "pruned": "control: plain network, pruned to as many weights",
    "weight_sharing": "control: largest layer of a few shared rows",
    "hashed": "control: weights share as many numbers by a hash",
    "low_rank": "control: layers of low rank, as many parameters",
}
#: Controls that lack nothing but the circuits.
_WITHOUT_CIRCUITS = ("frozen_random", "constant", "untrained_circuits")
#: Standard errors above chance from which a result is no accident.
_ABOVE_CHANCE = 2.0


def verdict(summary: RunSummary) -> str | None:
    """Whether the network learnt anything, and what the circuits had to do with it; None where nothing tells."""
    accuracy, chance = summary.test_accuracy, summary.chance
    if chance is not None and accuracy <= chance + _ABOVE_CHANCE * _error(chance, summary.test_size):
        return (
            f"at chance: {percent(chance)} of the test images are of one class, so who always says that one does as "
            "well. Train for more epochs, or with another training.lr."
        )
    equal = _within_budget(summary)
    beyond = "".join(f"; {one}" for one in _beyond_budget(summary))
    if not equal:
        return f"no control within the budget was trained{beyond}" if beyond else None
    name, best = max(equal.items(), key=lambda item: item[1])
    error = math.hypot(_error(accuracy, summary.test_size), _error(best, summary.test_size))
    told = f"{CONTROL_NAMES[name]} reaches {percent(best)}, this run {percent(accuracy)}{beyond}"
    if best - accuracy > error:
        nothing = ": the circuits brought nothing" if name in _WITHOUT_CIRCUITS else ""
        return f"a control within the budget does better by more than the error{nothing} ({told})"
    if accuracy - best > error:
        return f"better than every control within the budget by more than the error ({told})"
    return f"no different within the error from the best control within the budget ({told})"


def _within_budget(summary: RunSummary) -> dict[str, float]:
    """Controls that train no more numbers than the run, and stay what they were trained to be."""
    budget = summary.trainable_parameters.total
    counted = summary.control_parameters
    return {n: a for n, a in summary.controls.items() if counted[n] <= budget and n not in VOID}


def _beyond_budget(summary: RunSummary) -> Iterator[str]:
    """What controls reach that train more numbers than the run, which decides nothing."""
    for name, accuracy in summary.controls.items():
        count = summary.control_parameters[name]
        if count > summary.trainable_parameters.total and name not in VOID:
            told = CONTROL_NAMES[name].removeprefix("control: ")
            yield f"{told} ({count:,}), reaches {percent(accuracy)} and is beyond the budget"


def _error(accuracy: float, size: int) -> float:
    """Standard error of a share of test images."""
    return math.sqrt(max(0.0, accuracy * (1.0 - accuracy)) / size)
