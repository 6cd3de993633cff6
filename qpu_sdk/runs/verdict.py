"""What a result says, in one line."""

from __future__ import annotations

import math

from ..rendering.text import percent
from .summary import RunSummary

CONTROL_NAMES = {
    "frozen_random": "control: p random and frozen",
    "constant": "control: p constant",
    "random_subspace": "control: random subspace, as many parameters",
    "plain_network": "control: plain network, all weights trained",
}
#: Controls that lack nothing but the circuits.
_WITHOUT_CIRCUITS = ("frozen_random", "constant")
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
    if not summary.controls:
        return None
    name, best = max(summary.controls.items(), key=lambda item: item[1])
    error = math.hypot(_error(accuracy, summary.test_size), _error(best, summary.test_size))
    told = f"{CONTROL_NAMES[name]} reaches {percent(best)}, this run {percent(accuracy)}"
    if best - accuracy > error:
        nothing = ": the circuits brought nothing" if name in _WITHOUT_CIRCUITS else ""
        return f"a control does better by more than the error{nothing} ({told})"
    if accuracy - best > error:
        return f"better than every control by more than the error ({told})"
    return f"no different from the best control within the error ({told})"


def _error(accuracy: float, size: int) -> float:
    """Standard error of a share of test images."""
    return math.sqrt(max(0.0, accuracy * (1.0 - accuracy)) / size)
