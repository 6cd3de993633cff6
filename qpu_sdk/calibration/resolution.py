"""What detectors resolve, as counts tell it: nothing, some photons of a mode, or every one.

Patterns in which a mode shows several photons are never seen behind a detector that only clicks, and less often behind
few wires than behind many. Every kind of detector gives the counts another likelihood, at the same device; the kind
with the largest is taken, and the one that the counts claim for themselves where others are not clearly better.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import FloatArray, OutcomeArray
from ..errors import CalibrationError
from ..photonics.counts import Counts, Detector, wires
from ..photonics.detection import detected_distribution
from ..photonics.noise import Noise
from ..photonics.program import Program

#: Kinds that are tried: more wires than eight are as good as counting, of a few photons.
TRIED: tuple[Detector, ...] = ("threshold", "ppnr:2", "ppnr:3", "ppnr:4", "ppnr:8", "pnr")
#: By how much a log-likelihood must be larger than that of the kind that the counts claim.
CLEARLY = 3.0


def likely_detector(counts: Sequence[Counts], programs: Sequence[Program], noise: Noise) -> tuple[Detector, str]:
    """The kind of detector that the counts tell, and how much better it is than others, in words.

    :param noise: of the device.
    :raises CalibrationError: when no kind can have shown these counts.

    >>> from qpu_sdk.devices.registry import open_device
    >>> from qpu_sdk.photonics.meshes import RectangularMesh
    >>> program = Program.random(RectangularMesh(4), (0, 2), seed=1)
    >>> counts = open_device("local:slos?transmittance=0.3&detector=ppnr:2", seed=1).run(program, shots=100_000)
    >>> likely_detector([counts], [program], Noise(transmittance=0.3))[0]
    'ppnr:2'
    """
    most = max(int(c.outcomes[c.numbers > 0].max(initial=0)) for c in counts)
    tried = [kind for kind in TRIED if (size := wires(kind)) is None or size >= most]
    found = {kind: sum(_one(c, p, noise, kind) for c, p in zip(counts, programs, strict=True)) for kind in tried}
    best = max(found, key=lambda kind: found[kind])
    if not np.isfinite(found[best]):
        raise CalibrationError(
            "no kind of detector can show these counts of these programs. Check which belong together."
        )
    claimed = counts[0].detector
    if claimed in found and found[best] - found[claimed] < CLEARLY:
        best = claimed
    others = sorted((found[best] - value, kind) for kind, value in found.items() if kind != best)
    than = f", by {others[0][0]:.3g} in log-likelihood before {others[0][1]}" if others else ""
    return best, f"Detectors by the counts: {best}{than}."


def _one(counts: Counts, program: Program, noise: Noise, kind: Detector) -> float:
    """Log-likelihood of one setting's patterns among those that it can have."""
    columns = program.mesh.columns(program.phases, program.input_modes)
    outcomes, p = detected_distribution(columns, noise.at(program), kind, most_clicks=program.photons)
    return _log_likelihood(counts, outcomes, p, program.photons)


def _log_likelihood(counts: Counts, outcomes: OutcomeArray, p: FloatArray, photons: int) -> float:
    total = counts.outcomes.sum(axis=1, dtype=np.int64)
    kept = (total >= 1) & (total <= photons) & (counts.numbers > 0)
    lowest = int(total[kept].min())
    shown = outcomes.sum(axis=1, dtype=np.int64)
    able = (shown >= lowest) & (shown <= photons)
    places = {row.tobytes(): k for k, row in enumerate(np.ascontiguousarray(outcomes))}
    index = np.array([places.get(row.tobytes(), -1) for row in np.ascontiguousarray(counts.outcomes[kept])])
    if (index < 0).any():
        return -np.inf
    seen = p[index] / p[able].sum()
    with np.errstate(divide="ignore"):
        return float(counts.numbers[kept] @ np.log(seen))
