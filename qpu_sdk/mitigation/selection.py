"""Post-selection: the baseline, and what every other estimate is compared with."""

from __future__ import annotations

from ..errors import MitigationError
from ..photonics.counts import Counts
from .distribution import Distribution, MethodReport


def post_select(counts: Counts) -> Distribution:
    """Relative frequencies of the collision-free N-photon outcomes.

    Uniform loss commutes with the interferometer, so on a lossy device without other noise this is unbiased
    (only events are lost). Nothing else is corrected here.

    :raises MitigationError: when the counts hold no such event.

    >>> import numpy as np
    >>> outcomes = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 0]])
    >>> found = post_select(Counts(photons=2, outcomes=outcomes, numbers=np.array([3, 1, 6])))
    >>> found.probabilities.tolist(), str(found.history[0])
    ([0.75, 0.0, 0.25], 'post-select: 4 of 10 shots have all photons in different modes')
    """
    numbers = counts.collision_free()
    samples = int(numbers.sum())
    if samples == 0 and counts.events > 0:
        raise MitigationError(
            f"all {counts.events} events of {counts.photons} photons are bunched, none has them in different modes. "
            "Use another circuit, or more shots."
        )
    if samples == 0:
        raise MitigationError(
            f"no collision-free {counts.photons}-photon event in {counts.shots} shots. Use more shots or fewer photons."
        )
    why = f"{samples} of {counts.shots} shots have all photons in different modes"
    return Distribution(
        probabilities=numbers / samples,
        samples=samples,
        shots=counts.shots,
        method="post-select",
        history=(MethodReport("post-select", True, why),),
        raw=counts,
    )
