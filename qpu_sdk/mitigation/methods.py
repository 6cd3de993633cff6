"""One function a method, and one table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ..arrays import FloatArray
from ..errors import MitigationError
from ..photonics.counts import merge
from ..seeds import child_seed
from ..statistics import chi_square, chi_square_tail
from .background import subtract
from .case import Case, need_program
from .detector import correct_response, select
from .distribution import Diagnostics, Distribution, StepReport
from .forward import Forward
from .fusion import fuse
from .recycling import recycle
from .shrinkage import Shrunk, shrink
from .systematics import Systematics, systematics
from .uncertainty import Posterior, Replicas
from .unfolding import Unfolded, begin, iterate, unfold, unfold_below, unfold_on, windows_of

#: Above so many events an outcome, what bunched photons add to them is unfolded from all classes.
MANY_EVENTS = 100
#: Resampled counts of steps whose errors have no formula.
REPLICAS = 100


def _post_select(case: Case, left_out: list[StepReport]) -> Distribution:
    return replace(case.baseline, history=(*left_out, *case.baseline.history), record_id=case.record.id)


def _response(case: Case, left_out: list[StepReport]) -> Distribution:
    here = case.noise.at((), modes=case.counts.modes)
    corrected = correct_response(case.counts, here.efficiency, here.dark_counts)
    found = select(corrected)
    return replace(found, history=(*left_out, *found.history), record_id=case.record.id)


def _subtract(case: Case, left_out: list[StepReport]) -> Distribution:
    need_program(case, "subtract")
    found = subtract(case.counts.collision_free().astype(np.float64), case.model)
    why = f"{100 * found.background_share:.1f} % of the N-click class is background; {100 * found.gate:.0f} % of it"
    return case.result(
        found.probabilities,
        [*left_out, StepReport("subtract", True, f"{why} was subtracted, as much as the events bear")],
        unprojected=found.unprojected,
        uncertainty=found.uncertainty,
        diagnostics=Diagnostics(
            background_fraction=found.background_share,
            negative_mass=float(np.maximum(-found.unprojected, 0.0).sum()),
        ),
    )


def _unfold(case: Case, left_out: list[StepReport]) -> Distribution:
    model, numbers = case.model, case.numbers
    if case.filtered:
        raise MitigationError(case.filtered)
    found = unfold(numbers, model, seed=child_seed(case.seed, "held out"))
    p = _conditional(found.fock, model)
    rng = np.random.default_rng(child_seed(case.seed, "replicas"))
    again = rng.poisson(numbers, (REPLICAS, len(numbers))).astype(np.float64)
    pi = begin(found.start, again, model)
    if found.iterations:
        ((_, pi),) = iterate(again, model.response, model.background, pi, grid=(found.iterations,))
    circuit = "" if case.program is not None else "; loss alone, because the circuit was not given"
    why = f"{found.iterations} steps from a {found.start} start, chosen by held-out counts{circuit}"
    return case.result(
        p,
        [*left_out, StepReport("unfold", True, why)],
        uncertainty=Replicas(_conditional(pi, model)),
        diagnostics=_diagnostics(numbers, model, found.fock, found.iterations),
    )


def _unfold_fuse(case: Case, left_out: list[StepReport]) -> Distribution:
    program = need_program(case, "unfold, fuse")
    model, numbers = case.model, case.numbers
    if case.filtered:
        raise MitigationError(case.filtered)
    below = unfold_below(numbers, model) if case.counts.photons > 1 else _nothing_below(numbers, model)
    many = case.baseline.samples > MANY_EVENTS * len(case.baseline.probabilities)
    every = unfold_on(numbers, model, below.fock) if many else below
    here = model.space
    background = model.background[here.full] + model.mistaken(every.fock)
    posterior = shrink(numbers[here.full], model.gain, background, below.fock[here.free], windows=every.windows)
    p = posterior.mean / posterior.mean.sum()
    common = systematics(numbers, program, case.record, model, p, seed=child_seed(case.seed, "systematics"))
    fock = every.fock.copy()
    fock[here.free] = posterior.mean
    plain = _unbiased(numbers[here.full], model, background, every.windows)
    diagnostics = _diagnostics(numbers, model, fock / fock.sum(), below.iterations)
    return case.result(
        p,
        [*left_out, *_fused(case, below, posterior, common)],
        unprojected=p if plain is None else plain,
        uncertainty=_posterior(posterior, common),
        diagnostics=replace(
            diagnostics,
            phase_error=common.phase_error,
            negative_mass=0.0 if plain is None else float(np.maximum(-plain, 0.0).sum()),
        ),
    )


def _fuse(case: Case, left_out: list[StepReport]) -> Distribution:
    found = fuse(case.counts)
    why = f"the events with a prior worth {found.concentration:.3g} of them, of shots that lost {found.lost} photons"
    flat = f"the events with a flat prior worth {found.concentration:.3g} of them; lossy shots say nothing more"
    return case.result(
        found.probabilities,
        [*left_out, StepReport("fuse", True, why if found.gain else flat)],
        uncertainty=found,
    )


def _recycle(case: Case, left_out: list[StepReport]) -> Distribution:
    p = recycle(case.counts)
    rng = np.random.default_rng(child_seed(case.seed, "replicas"))
    sorted_counts, again = merge([case.counts], program=case.counts.program), []  # whatever order they came in
    for _ in range(REPLICAS):
        with suppress(MitigationError):  # a class of few shots may be gone
            again.append(recycle(replace(sorted_counts, numbers=rng.poisson(sorted_counts.numbers))))
    why = "as Perceval does it; its bias does not go away with more shots, and the errors do not know of it"
    return case.result(p, [*left_out, StepReport("recycle", True, why)], uncertainty=Replicas(np.stack(again)))


RUN: Mapping[tuple[str, ...], Callable[[Case, list[StepReport]], Distribution]] = {
    ("post-select",): _post_select,
    ("response",): _response,
    ("subtract",): _subtract,
    ("unfold",): _unfold,
    ("unfold", "fuse"): _unfold_fuse,
    ("fuse",): _fuse,
    ("recycle",): _recycle,
}


def _nothing_below(numbers: FloatArray, model: Forward) -> Unfolded:
    """One photon has no class below its own."""
    [fock] = begin("uniform", numbers[None], model)
    return Unfolded(fock, windows_of(numbers, model.response, model.background, fock), 0, "uniform")


def _conditional(fock: FloatArray, model: Forward) -> FloatArray:
    p = fock[..., model.space.free]
    return np.asarray(p / p.sum(axis=-1, keepdims=True))


def _unbiased(seen: FloatArray, model: Forward, background: FloatArray, windows: float) -> FloatArray | None:
    """(N / A - b) / g, normalised; None where the background is all there is."""
    x = (seen / windows - background) / np.maximum(model.gain, 1e-300)
    return x / x.sum() if x.sum() > 0.0 else None


def _posterior(found: Shrunk, common: Systematics) -> Posterior:
    total = found.mean.sum()
    return Posterior(found.edges / total, found.masses, common.rows)


def _diagnostics(numbers: FloatArray, model: Forward, fock: FloatArray, iterations: int) -> Diagnostics:
    """Chi-square of the N-click class against the estimate with its noise put back, and the share of background there.

    The classes of fewer clicks hold so many counts that the last digit of a phase shows; the phase error tells of them.
    """
    full = model.space.full
    mu = model.response[full] @ fock + model.background[full]
    chi2, dof = chi_square(numbers[full], mu * (numbers[full].sum() / mu.sum()))
    signal = float((model.gain * fock[model.space.free]).sum())
    return Diagnostics(
        chi2=chi2,
        dof=dof,
        p_value=chi_square_tail(chi2, dof) if dof > 0 else None,
        iterations=iterations,
        background_fraction=1.0 - signal / float(mu.sum()),
    )


def _fused(case: Case, below: Unfolded, posterior: Shrunk, common: Systematics) -> list[StepReport]:
    if case.counts.photons == 1:
        first = StepReport("unfold", False, "one photon has no class of fewer clicks; the prior is flat")
    else:
        steps = f"{below.iterations} steps on the {case.lower:,} shots of fewer than {case.counts.photons} clicks"
        first = StepReport("unfold", True, f"{steps}, chosen by the likelihood of the events")
    source = "measured by these counts" if common.measured else "of the record"
    published = case.record.origin == "vendor"
    known = "do not include the record's, which has none, but" if published else "include the record's and"
    return [
        first,
        StepReport(
            "fuse",
            True,
            f"the {case.baseline.samples:,} events with that as prior, trusted at {100 * posterior.trust:.0f} %; "
            f"error bars {known} a phase error of {common.phase_error:.2g} rad {source}",
        ),
    ]
