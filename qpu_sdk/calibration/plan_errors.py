"""A calibration of a device whose circuits are not quite those that were asked for.

Where the click model does not fit the settings of a plan, the same parameters are fitted again with an error of every
phase whose size is told by what is left (:mod:`~qpu_sdk.calibration.refit`): settings then count by what their circuits
are worth, and standard errors are those of the estimate and not of the shots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..photonics.counts import Counts
from ..photonics.noise import Noise
from ..seeds import child_seed
from .chip_errors import chip_errors
from .counted import Axes, seen_of
from .natural import record_numbers
from .plan import CalibrationSetting
from .priors import OF_PLANS, with_some_g2
from .refit import refit


def with_phase_errors(plan: Sequence[CalibrationSetting], counts: Sequence[Counts], start: Noise) -> dict[str, Any]:
    """The numbers of a record.

    :param start: where the fit begins: what the click model alone makes of the settings.
    """
    inputs = tuple(sorted({mode for setting in plan for mode in setting.program.input_modes}))
    axes = Axes(max(setting.program.modes for setting in plan), inputs)
    base = with_some_g2(replace(start, dark_counts=tuple(np.maximum(start.dark_counts, 1e-9).tolist())))
    fitted = [
        seen_of(c, s.program, base, axes=axes, seed=child_seed(0, "phases", k))
        for k, (c, s) in enumerate(zip(counts, plan, strict=True))
        if s.role == "fit"
    ]
    found = refit(fitted, OF_PLANS.vector(axes), blind=False)
    # Light that wrong phases send into dark modes passes for dark counts, which so are known to themselves at best.
    found.covariance[axes.dark, axes.dark] += 1.0
    chip = chip_errors(fitted, found.x, found.misfit)
    notes = (
        "The click model alone does not fit, as the tests say: the circuits are not quite those that were asked for. "
        f"All numbers are of a fit with such errors. {chip.note}"
    )
    errors = {"phase_error": chip.phase, "angle_error": chip.angle}
    return record_numbers(base, axes, found) | errors | {"notes": notes}
