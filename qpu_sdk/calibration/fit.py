"""One maximum-likelihood fit of all parameters to all settings.

The click model (:mod:`qpu_sdk.photonics.click_model`) gives P(T | theta) for every setting, so its parameters need no
chain of estimators. Windows without a click are usually not recorded; then what is observed is

    p(T | theta) = P(T | theta) / (1 - P(empty | theta)),        L = sum_settings sum_T N_T log p(T | theta),

and the absolute transmission comes from coincidences. With known numbers of windows the empty one is a pattern like
the others. The maximum is found by Fisher scoring, theta <- theta + F^-1 dL/dtheta with the information

    F = sum_settings N sum_T (dp/dtheta)(dp/dtheta)^T / p,

damped as by Levenberg and Marquardt; the inverse of F is the covariance. Brightness times transmission is all that
counts tell, and so is transmission times efficiency: the gauge is B = 1, and output efficiencies of mean 1, so that
an input transmission is the chance of a click averaged over outputs. (Were the best efficiency 1, its choice would
bias all others: the best of noisy estimates is too good.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import FloatArray
from ..errors import CalibrationError
from ..photonics.patterns import ModeSets, mode_sets
from .likelihood import Likelihood, Observation
from .parameters import Fit, Parameters, in_gauge

#: Two-click events that the Hong-Ou-Mandel settings must bring, so that the fit is better than a guess.
FEWEST_COINCIDENCES = 100  # a Poisson error of a tenth
#: Or pairs in the shifts: photons that are alike never leave a beam splitter apart, however many shots there are.
FEWEST_PAIRS = 1000  # with none of half as many coincidences, the overlap is known to better than a hundredth
#: Most iterations of scoring; five to ten are usual.
MOST_ITERATIONS = 60
#: A move that would raise the log-likelihood by less is not worth taking.
#: The gain to come is half of gradient @ move, a distance squared in standard errors: 1e-3 is 3 % of one.
SETTLED = 1e-3


def fit(observations: Sequence[Observation], *, most_clicks: int, pairs: bool = False) -> Fit:
    """Fit all parameters to all observations.

    :param pairs: True for an overlap of each pair, False for one of all.
    :raises CalibrationError: when the counts are too few, or a mode never fires.
    """
    observations = tuple(observations)
    inputs = tuple(sorted({j for o in observations for j in o.inputs}))
    modes = observations[0].columns.shape[0]
    sets = mode_sets(modes, most_clicks)
    check_enough(observations, sets, inputs)
    start = _start(observations, sets, inputs, pairs=pairs)
    problem = Likelihood(observations, sets, start)
    x, information, likelihood, iterations = _score(problem)
    return in_gauge(Fit(start.of(problem.vector(x)), problem.covariance(x, information), likelihood, iterations))


def check_enough(observations: Sequence[Observation], sets: ModeSets, inputs: tuple[int, ...]) -> None:
    """Raise :class:`CalibrationError` when the fit would be a guess; says how much is needed."""
    seen = sum((o.numbers for o in observations), np.zeros(len(sets.masks)))
    silent = [mode for mode in range(sets.members.shape[1]) if not seen[sets.members[:, mode]].sum()]
    if silent:
        shots = sum(o.shots for o in observations)
        raise CalibrationError(
            f"mode {silent[0]} never fires in {shots:,.0f} shots. Leave it out with fewer modes, or have it repaired."
        )
    # A plan of other circuits is judged as a whole.
    hom = [o for o in observations if o.circuit == "hong-ou-mandel"] or list(observations)
    coincidences = sum(float(o.numbers[sets.clicks == 2].sum()) for o in hom)
    pairs = sum(float(o.numbers[sets.clicks == 2].sum()) for o in observations if o.circuit == "shift")
    if coincidences < FEWEST_COINCIDENCES and pairs < FEWEST_PAIRS:
        shots = max(o.shots for o in hom)
        need = shots * min(FEWEST_COINCIDENCES / max(coincidences, 1.0), FEWEST_PAIRS / max(pairs, 1.0))
        raise CalibrationError(
            f"{coincidences:.0f} coincidences in the Hong-Ou-Mandel settings; the fit of {len(inputs)} inputs needs "
            f"{FEWEST_COINCIDENCES}. Use at least {need:,.0f} shots a setting."
        )


def _start(observations: Sequence[Observation], sets: ModeSets, inputs: tuple[int, ...], *, pairs: bool) -> Parameters:
    """Rough values: transmission from the ratio of double to single clicks, efficiencies from singles."""
    modes = sets.members.shape[1]
    one, two, shown, expected = 0.0, 0.0, np.zeros(modes), np.zeros(modes)
    for o in observations:
        one += o.numbers[sets.clicks == 1].sum()
        two += o.numbers[sets.clicks == 2].sum()
        singles = np.array([o.numbers[sets.members[:, i]].sum() for i in range(modes)])
        light = (np.abs(o.columns) ** 2).sum(axis=1)
        shown += singles
        expected += light * o.shots / light.sum()
    # n photons that arrive with t give n t (1-t)^(n-1) single clicks and n(n-1)/2 t^2 (1-t)^(n-2) double ones:
    # the ratio is t / (1 - t), whatever the number of windows, which is often unknown.
    ratio = 2.0 * two / (one * max(1, len(inputs) - 1))
    efficiencies = np.where(expected > 0.0, shown / np.maximum(expected, 1e-9), 1.0)
    efficiencies = np.clip(efficiencies / efficiencies.max(), 0.05, 1.0)
    # Where quantum dots and superconducting detectors usually are; the fit only begins here.
    return Parameters(
        inputs=inputs,
        overlap=np.full(len(inputs) * (len(inputs) - 1) // 2 if pairs else 1, 0.85),
        g2=0.03,
        transmissions=np.full(len(inputs), np.clip(ratio / (1.0 + ratio) / efficiencies.mean(), 1e-4, 0.95)),
        efficiencies=efficiencies,
        dark=np.full(modes, 1e-6),
    )


def _score(problem: Likelihood) -> tuple[FloatArray, FloatArray, float, int]:
    """Fisher scoring; the coordinates, the information about them, the log-likelihood and the iterations."""
    x = problem.clipped(problem.coordinates(problem.start.vector()))
    likelihood, damping = problem.likelihood(problem.probabilities(x[None])), 1e-3
    gradient, curvature, information = problem.derivatives(x)
    for iteration in range(1, MOST_ITERATIONS + 1):
        move = problem.move(x, gradient, curvature, damping)
        if gradient @ move[problem.free] < SETTLED:  # what the move promises, to first order
            return x, information, likelihood, iteration
        there = problem.clipped(x + move)
        found = problem.likelihood(problem.probabilities(there[None]))
        if found < likelihood:
            damping *= 10.0  # towards steepest ascent, from where it stands
            continue
        x, likelihood, damping = there, found, damping / 10.0  # towards the full step, which ends it
        gradient, curvature, information = problem.derivatives(x)
    raise CalibrationError(
        f"the fit has not settled after {MOST_ITERATIONS} iterations: the counts do not fit the model. Measure again, "
        "with more shots."
    )
