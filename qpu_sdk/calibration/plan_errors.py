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
from .counted import Axes, counted
from .goodness import joint_test
from .natural import numbers_of
from .parts import ChiSquare
from .plan import CalibrationSetting
from .prediction import predicted, repeated, tested
from .priors import OF_PLANS, with_some_g2
from .refit import refit


def with_phase_errors(
    plan: Sequence[CalibrationSetting], counts: Sequence[Counts], start: Noise
) -> tuple[list[ChiSquare], dict[str, Any]]:
    """The test of every setting, and the numbers of a record with its fit.

    :param start: where the fit begins: what the click model alone makes of the settings.
    """
    inputs = tuple(sorted({mode for setting in plan for mode in setting.program.input_modes}))
    axes = Axes(max(setting.program.modes for setting in plan), inputs)
    base = with_some_g2(replace(start, dark_counts=tuple(np.maximum(start.dark_counts, 1e-9).tolist())))
    seen = [
        counted(c, s.program, base, axes=axes, seed=child_seed(0, "phases", k))
        for k, (c, s) in enumerate(zip(counts, plan, strict=True))
    ]
    fitted = [one for one, setting in zip(seen, plan, strict=True) if setting.role == "fit"]
    found = refit(fitted, OF_PLANS.vector(axes), blind=False)
    # Light that wrong phases send into dark modes passes for dark counts, which so are known to themselves at best.
    found.covariance[axes.dark, axes.dark] += 1.0
    left = found.misfit
    own = iter([tested(one, drawn, left.scale) for one, drawn in zip(fitted, left.programs, strict=True)])
    tests = [next(own) if s.role == "fit" else predicted(one, found).test for one, s in zip(seen, plan, strict=True)]
    chip = chip_errors(fitted, found.x, left)
    numbers = numbers_of(base, axes, found) | {"phase_error": chip.phase, "angle_error": chip.angle}
    free = int((OF_PLANS.vector(axes) > 0.0).sum())
    fit = joint_test([t for t, s in zip(tests, plan, strict=True) if s.role == "fit"], less=free + 1)
    drift = repeated(seen[0], seen[-1], left.programs[0], left.scale)  # the plan ends with the circuit it began with
    return tests, numbers | {
        "fit": fit,
        "drift": drift,
        "notes": f"The circuits are not quite those that were asked for. {chip.note}",
    }
