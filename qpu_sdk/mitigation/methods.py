"""The methods of mitigation: one function each, and one table of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..errors import ConfigError, MitigationError, ProgramError
from ..photonics.counts import merge
from ..plugins import plugged
from ..seeds import child_seed
from .agreement import Agreement
from .background import subtract
from .case import Case, need_program
from .detector import correct_response, select
from .distribution import Diagnostics, Distribution, MethodReport
from .forward import Forward, signal_without_circuit
from .fusion import fuse
from .posterior import Posterior
from .recycling import recycle
from .shrinkage import Shrunk, shrink
from .uncertainty import Multinomial, Replicas, Shared
from .unfolding import Unfolded, begin, iterate, unfold, unfold_below, unfold_on, windows_of

#: Above so many events an outcome, what bunched photons add to them is unfolded from all classes.
MANY_EVENTS = 100
#: Of a background of unknown shape: how much of what flatness would change, and its own spread in units of the mean.
FLATTER, SHAPE = 2.2, 0.5
#: Resampled counts of methods whose errors have no formula.
REPLICAS = 100  # a standard error is then known to 7 %


def _post_select(case: Case) -> Distribution:
    return case.baseline


def _response(case: Case) -> Distribution:
    here = case.noise.at((), modes=case.counts.modes)
    selected = select(correct_response(case.counts, here.efficiency, here.dark_counts))
    found = case.agreement
    if found is None:
        own, p = selected.uncertainty or Multinomial(selected.probabilities, selected.samples), selected.probabilities
        told = MethodReport("circuit", False, f"it was not given: {_not_corrected(case)}")
        return replace(selected, uncertainty=Shared(own, p, _unknown(case, p)), history=(told, *selected.history))
    # Nothing is subtracted: what stays in is known by its size, and the rest by what the counts showed of it.
    try:
        left_in = replace(case.gate, share=0.0)
    except (MitigationError, ProgramError):  # no model of the circuit, or of its noise
        return selected
    p = selected.probabilities
    rows = np.concatenate([left_in.kept * found.rows(case.model, p), left_in.bias[None]])
    return replace(
        selected,
        uncertainty=Shared(selected.uncertainty or Multinomial(p, selected.samples), p, rows),
        history=(found.report, *selected.history),
        diagnostics=replace(_diagnostics(found, 0.0), negative_mass=selected.diagnostics.negative_mass),
    )


def _subtract(case: Case) -> Distribution:
    need_program(case, "subtract")
    found = agreed(case)
    numbers = case.counts.collision_free().astype(np.float64)
    ideal = case.model.ideal[case.model.space.free]
    unlike = float((found.rows(case.model, ideal / ideal.sum()) ** 2).sum())
    subtracted = subtract(numbers, case.model, misfit=unlike)
    share = f"{100 * subtracted.background_share:.1f} % of the N-click class is background"
    why = f"{share}; {100 * subtracted.gate:.0f} % of it was subtracted, as much as events and misfit bear"
    shared = subtracted.kept * found.rows(case.model, subtracted.probabilities)
    rows = np.concatenate([shared, subtracted.bias(case.model)[None]])
    return case.result(
        subtracted.probabilities,
        found.report,
        MethodReport("subtract", True, why),
        unprojected=subtracted.unprojected,
        uncertainty=Shared(subtracted.uncertainty, subtracted.probabilities, rows),
        diagnostics=replace(
            _diagnostics(found, subtracted.gate),
            background_fraction=subtracted.background_share,
            negative_mass=float(np.maximum(-subtracted.unprojected, 0.0).sum()),
        ),
    )


def _unfold(case: Case) -> Distribution:
    model, numbers = case.model, case.numbers
    if case.filtered:
        raise MitigationError(case.filtered)
    if case.program is None:
        below, here = unfold_below(numbers, model), model.space
        guess, seen = below.fock[here.free], numbers[here.full]
        source = f"the {case.lower:,} shots of fewer clicks unfolded as prior, for loss alone"
        made = _without_circuit(case, seen, guess, model.gain, below.windows, source)
        done = MethodReport("unfold", True, f"{below.iterations} iterations, chosen by the likelihood of the events")
        return replace(made, history=(done, *made.history), diagnostics=Diagnostics(iterations=below.iterations))
    unfolded = unfold(numbers, model, seed=child_seed(case.seed, "held out"))
    rng = np.random.default_rng(child_seed(case.seed, "replicas"))
    # Poisson, not multinomial: how many windows clicked is random too.
    again = rng.poisson(numbers, (REPLICAS, len(numbers))).astype(np.float64)
    pi = begin(unfolded.start, again, model)
    if unfolded.iterations:
        # As many as were chosen, so that all share one bias: the spread is that of the counts alone.
        ((_, pi),) = iterate(again, model.response, model.background, pi, grid=(unfolded.iterations,))
    why = f"{unfolded.iterations} iterations from a {unfolded.start} start, chosen by held-out counts"
    return case.result(
        _conditional(unfolded.fock, model),
        MethodReport("unfold", True, why),
        uncertainty=Replicas(_conditional(pi, model)),
        diagnostics=Diagnostics(iterations=unfolded.iterations),
    )


def _unfold_fuse(case: Case) -> Distribution:
    need_program(case, "unfold-fuse")
    found = agreed(case)
    model, numbers = case.model, case.numbers
    if case.filtered:
        raise MitigationError(case.filtered)
    below = unfold_below(numbers, model) if case.counts.photons > 1 else _nothing_below(numbers, model)
    many = case.baseline.samples > MANY_EVENTS * len(case.baseline.probabilities)
    every = unfold_on(numbers, model, below.fock) if many else below
    here = model.space
    # Both together: what the circuit may do besides what was asked for decides how much may be taken away.
    background = case.gate.share * (model.background[here.full] + model.mistaken(every.fock))
    posterior = shrink(numbers[here.full], model.gain, background, below.fock[here.free], windows=every.windows)
    p = posterior.mean / posterior.mean.sum()
    rows = np.concatenate([case.gate.kept * found.rows(model, p), case.gate.bias[None]])
    plain = _unbiased(numbers[here.full], model, background, every.windows)
    signal = float((model.gain * posterior.mean).sum())
    return case.result(
        p,
        found.report,
        _below_report(case, below),
        _fused_report(case, posterior, found),
        unprojected=p if plain is None else plain,
        uncertainty=_posterior(posterior, rows),
        diagnostics=replace(
            _diagnostics(found, case.gate.share),
            iterations=below.iterations,
            background_fraction=float(background.sum()) / (signal + float(background.sum())),
            negative_mass=0.0 if plain is None else float(np.maximum(-plain, 0.0).sum()),
        ),
    )


def _fuse(case: Case) -> Distribution:
    fusion = fuse(case.counts)
    source = f"of shots that lost {fusion.lost} photons" if fusion.gain else "that is flat, as lossy shots say no more"
    numbers = case.counts.collision_free().astype(np.float64)
    gain, windows = np.ones(len(numbers)), float(numbers.sum())
    return _without_circuit(case, numbers, fusion.prior, gain, windows, f"a prior {source}")


def _without_circuit(
    case: Case, numbers: FloatArray, guess: FloatArray, gain: FloatArray, windows: float, source: str
) -> Distribution:
    """Events with a guess that they weigh themselves; what no model without the circuit knows is in the error bars."""
    posterior = shrink(numbers, gain, np.zeros(len(numbers)), guess, windows=windows)
    p = posterior.mean / posterior.mean.sum()
    why = f"the events with {source}, trusted at {100 * posterior.trust:.0f} %; {_not_corrected(case)}"
    return case.result(p, MethodReport("fuse", True, why), uncertainty=_posterior(posterior, _unknown(case, p)))


def _unknown(case: Case, p: FloatArray) -> FloatArray:
    """Errors of a background whose shape nobody knows without the circuit, ``(2, K)``, in probabilities.

    It is flatter than the signal, so that large outcomes have less of it than their share, and small ones more; and it
    has a shape of its own, of half the spread that interference gives.
    """
    rest, size = 1.0 - signal_without_circuit(case.noise, case.counts.photons), len(p)
    signs = np.where(np.arange(size) % 2, 1.0, -1.0)  # of both signs, so that no sum changes
    return np.stack([FLATTER * rest * (1.0 / size - p), SHAPE * rest * signs / size])


def _not_corrected(case: Case) -> str:
    rest = 1.0 - signal_without_circuit(case.noise, case.counts.photons)
    return (
        f"without the circuit about {100 * rest:.0f} % of the events, of photons that did not interfere or came twice, "
        "stay in, and errors of phases are not known"
    )


def _recycle(case: Case) -> Distribution:
    p = recycle(case.counts)
    rng = np.random.default_rng(child_seed(case.seed, "replicas"))
    sorted_counts, again = merge([case.counts]), []  # whatever order they came in
    for _ in range(REPLICAS):
        with suppress(MitigationError):  # a class of few shots may be gone
            again.append(recycle(replace(sorted_counts, numbers=rng.poisson(sorted_counts.numbers))))
    why = "as Perceval does it; its bias does not go away with more shots, and the errors do not know of it"
    return case.result(p, MethodReport("recycle", True, why), uncertainty=Replicas(np.stack(again)))


@final
@dataclass(frozen=True)
class Method:
    """One way from counts to a distribution.

    :param what: it does, in one line.
    """

    estimate: Callable[[Case], Distribution]
    what: str


#: What the method is called that chooses among the others.
AUTO = "auto"
#: Entry points of packages that add methods: functions from a :class:`~qpu_sdk.mitigation.case.Case` to a
#: :class:`~qpu_sdk.mitigation.distribution.Distribution`, by the name that a configuration asks for.
MITIGATIONS_GROUP = "qpu_sdk.mitigations"
#: Every other method, by name; one that is put in here can be asked for as these can.
METHODS: dict[str, Method] = {
    "post-select": Method(_post_select, "relative frequencies of the collision-free N-click events: the baseline"),
    "response": Method(_response, "relative detector efficiencies and dark counts inverted, then selected"),
    "subtract": Method(_subtract, "the modelled background taken from the N-click class, as far as the events bear it"),
    "unfold": Method(_unfold, "EM unfolding of all click classes, stopped by held-out counts"),
    "unfold-fuse": Method(_unfold_fuse, "the classes of fewer clicks unfolded, and the N-click class fused with them"),
    "fuse": Method(_fuse, "the N-click class fused with recycled photons, without the circuit"),
    "recycle": Method(_recycle, "photon recycling in closed form, as Perceval's, to compare with"),
}


def estimator_of(name: str) -> Callable[[Case], Distribution]:
    """What a method does, one of :data:`METHODS` or of an installed package, which replaces none of these.

    :raises ConfigError: when the package cannot be loaded.
    """
    if name in METHODS:
        return METHODS[name].estimate
    found: Callable[[Case], Distribution] = plugged(MITIGATIONS_GROUP)[name]()
    return found


def check_method(name: str) -> str:
    """The name, when it is ``auto``, of :data:`METHODS` or of a package's.

    :raises ConfigError: when it is not; names the nearest.

    >>> check_method("unfold-fuse")
    'unfold-fuse'
    >>> check_method("unfold, fuse")
    Traceback (most recent call last):
    qpu_sdk.errors.ConfigError: method 'unfold, fuse' is unknown; unfold-fuse is the nearest. Use auto, post-select, \
response, subtract, unfold, unfold-fuse, fuse or recycle.
    """
    if isinstance(name, str) and name in (AUTO, *METHODS):
        return name
    known = (AUTO, *METHODS, *plugged(MITIGATIONS_GROUP))
    if isinstance(name, str) and name in known:
        return name
    near = "".join(f"; {other} is the nearest" for other in get_close_matches(str(name), known, n=1))
    raise ConfigError(f"method {name!r} is unknown{near}. Use {', '.join(known[:-1])} or {known[-1]}.")


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


def _posterior(shrunk: Shrunk, rows: FloatArray) -> Posterior:
    total = shrunk.mean.sum()
    return Posterior(shrunk.edges / total, shrunk.masses, rows)


def agreed(case: Case) -> Agreement:
    """What counts, record and program say of each other, of a case whose program is known."""
    assert case.agreement is not None
    return case.agreement


def _diagnostics(found: Agreement, share: float) -> Diagnostics:
    return Diagnostics(
        verdict=found.verdict(share),
        chi2=found.chi2,
        dof=found.dof,
        p_value=found.p_value,
        subtracted=share,
        phase_error=found.phase_error,
    )


def _below_report(case: Case, below: Unfolded) -> MethodReport:
    """What became of the classes of fewer clicks."""
    photons = case.counts.photons
    if photons == 1:
        return MethodReport("unfold", False, "one photon has no class of fewer clicks; the prior is flat")
    on = f"{below.iterations} iterations on the {case.lower:,} shots of fewer than {photons} clicks"
    return MethodReport("unfold", True, f"{on}, chosen by the likelihood of the events")


def _fused_report(case: Case, posterior: Shrunk, found: Agreement) -> MethodReport:
    """How far the events trust them, and what the error bars hold."""
    source = "measured by these counts" if found.measured else "of the record"
    return MethodReport(
        "fuse",
        True,
        f"the {case.baseline.samples:,} events with that as prior, trusted at {100 * posterior.trust:.0f} %; "
        f"{100 * case.gate.share:.0f} % of the background subtracted; error bars include those of the parameters and a "
        f"phase error of {found.phase_error:.2g} rad {source}",
    )
