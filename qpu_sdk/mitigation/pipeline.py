"""Counts and a calibration record in, a distribution with error bars out.

======================  ===============================================================================================
``post-select``         relative frequencies of the collision-free N-click events: the baseline
``response``            detector efficiencies and dark counts are inverted, then selected
``subtract``            gated background subtraction of the N-click class; needs the circuit
``unfold``              EM unfolding of all click classes, stopped by held-out counts; without the circuit of loss only
``unfold, fuse``        the classes of fewer clicks are unfolded, and the N-click class fused with them: the best
``fuse``                fused with recycled photons instead, where the circuit is not known
``recycle``             photon recycling as Perceval does it, in closed form, to compare with
======================  ===============================================================================================

``auto`` takes what the counts can bear: with the circuit ``unfold, fuse``, or ``subtract`` where the classes of fewer
clicks were filtered away; without it, ``fuse`` where outcomes are many and events few, ``unfold`` below 500 events, and
``response`` else. What was left out and why is in the distribution's history. Every step that models the detectors does
so once: their response is part of ``unfold`` and ``subtract``. Correction comes before selection, always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np

from ..calibration.record import CalibrationRecord
from ..devices.conformance import chi_square, chi_square_tail
from ..errors import CalibrationMismatch, ConfigError, MitigationError
from ..files import child_seed
from ..photonics.click_model import DeviceNoise
from ..photonics.counts import Counts, merge
from ..photonics.permanents import FloatArray
from ..photonics.program import Program
from .background import LEAST_GAIN, subtract
from .detector import correct_response, select
from .distribution import Diagnostics, Distribution, Posterior, Replicas, StepReport
from .forward import Forward, forward, space, without_circuit
from .fusion import fuse
from .recycling import recycle
from .selection import post_select
from .shrinkage import Shrunk, shrink
from .systematics import Systematics, systematics
from .unfolding import Unfolded, begin, iterate, missing_classes, unfold, unfold_below, unfold_on, windows_of

STEPS = ("response", "unfold", "subtract", "fuse", "recycle", "post-select")
#: Without the circuit, loss is unfolded below so many events: with more, what it leaves out would show.
FEW_EVENTS = 500
#: Recycled photons help below so many events an outcome, in circuits of more modes than photons squared.
SPARSE = 5
#: A class of clicks that expects so many shots and has none was filtered away.
SURELY_SEEN = 20
#: Above so many events an outcome, what bunched photons add to them is unfolded from all classes.
MANY_EVENTS = 100
#: Resampled counts of steps whose errors have no formula.
REPLICAS = 100


@final
@dataclass(frozen=True, eq=False)
class _Case:
    """What a step works on."""

    counts: Counts
    record: CalibrationRecord
    noise: DeviceNoise
    program: Program | None
    baseline: Distribution
    seed: int

    @cached_property
    def model(self) -> Forward:
        """The model of the circuit, or of loss alone where none is known.

        :raises MitigationError: when some outcome is never seen.
        """
        model = self._forward()
        gain = model.gain
        worst = int(gain.argmin())
        if gain[worst] <= LEAST_GAIN * max(float(gain.max()), 1e-300):
            modes = np.flatnonzero(model.space.patterns[model.space.full[worst]]).tolist()
            raise MitigationError(
                f"by the record the device never shows {self.counts.photons} interfering photons in modes {modes}. "
                "Check its efficiencies, transmissions and indistinguishability, or use step post-select."
            )
        return model

    def _forward(self) -> Forward:
        if self.program is not None:
            columns = self.program.mesh.columns(self.program.phases, self.program.input_modes)
            here = self.noise.at(self.program.input_modes, modes=self.program.modes)
            return forward(columns, here, self.counts.detector)
        inputs = self.record.input_modes[: self.counts.photons]
        here = self.noise.at(inputs, modes=self.counts.modes)
        return without_circuit(here, self.counts.detector, modes=self.counts.modes, photons=self.counts.photons)

    @cached_property
    def numbers(self) -> FloatArray:
        """Of every pattern of at most N clicks."""
        return space(self.counts.modes, self.counts.photons, self.counts.detector).numbers(self.counts)

    @cached_property
    def lower(self) -> int:
        """Shots of fewer than N clicks."""
        clicks = self.counts.outcomes.sum(axis=1, dtype=np.int64)
        return int(self.counts.numbers[(clicks >= 1) & (clicks < self.counts.photons)].sum())

    @cached_property
    def filtered(self) -> str:
        """What the device seems to have filtered away of the classes of fewer than N clicks, ``""`` for nothing."""
        photons = self.counts.photons
        if photons == 1:
            return ""
        clicks = self.model.space.patterns.sum(axis=1)
        seen, rates = np.bincount(clicks, self.numbers), np.bincount(clicks, self.model.model)
        expected = rates * (seen.sum() / rates[seen > 0.0].sum())
        if not self.lower and expected[:photons].sum() <= SURELY_SEEN:
            return (
                f"the counts hold no event of fewer than {photons} clicks, and by the record hardly any are expected; "
                "unfolding needs them. Use steps subtract or post-select."
            )
        if not self.lower:
            return missing_classes(photons)
        for k in range(1, photons):
            if seen[k] == 0.0 and expected[k] > SURELY_SEEN:
                which = f"{k} {'click' if k == 1 else 'clicks'} where {expected[k]:.0f} are expected"
                return missing_classes(photons, which)
        return ""

    def result(self, p: FloatArray, report: Sequence[StepReport], **values: object) -> Distribution:
        """The baseline with another estimate."""
        return replace(
            self.baseline,
            probabilities=p,
            history=tuple(report),
            record_id=self.record.id,
            **({"unprojected": p, "uncertainty": None} | values),  # type: ignore[arg-type]
        )


def mitigate(
    counts: Counts,
    record: CalibrationRecord,
    *,
    program: Program | None = None,
    steps: str | Sequence[str] = "auto",
    seed: int,
) -> Distribution:
    """The best estimate of the conditional collision-free distribution that counts and record allow.

    :param counts: raw, of all click classes.
    :param program: what was run; steps that model the circuit need it.
    :param steps: ``"auto"``, or names out of :data:`STEPS`.
    :param seed: of held-out and resampled counts and of draws for error bars.
    :raises CalibrationMismatch: when the record is of another device, of fewer modes, other inputs or detectors.
    :raises MitigationError: when the counts have no event, or not what a step needs.
    :raises ConfigError: when steps are unknown or do not go together.
    :raises ProgramError: when a step has no model of the noise, such as detectors that count behind overlaps by pair.

    >>> from qpu_sdk.calibration.record import Identity, known_record
    >>> from qpu_sdk.devices.local import LocalDevice, LocalModel
    >>> from qpu_sdk.photonics.meshes import BrickwallMesh
    >>> from qpu_sdk.photonics.noise import NoiseParameters
    >>> noise = NoiseParameters(indistinguishability=0.9, g2=0.02, transmittance=0.2)
    >>> program = Program(BrickwallMesh(5), np.arange(30.0), (0, 2, 4))
    >>> device = LocalDevice(seed=1, model=LocalModel(noise=noise), name="twin")
    >>> [counts] = device.submit([program], shots=100_000).result()
    >>> identity = Identity("twin", "twin", 5, (0, 2, 4), "threshold")
    >>> record = known_record(DeviceNoise.of(noise, modes=5), identity)
    >>> found = mitigate(counts, record, program=program, seed=0)
    >>> [step.name for step in found.history if step.used], len(found.probabilities)
    (['unfold', 'fuse'], 10)
    """
    chosen = checked_steps(steps)
    check_match(counts, record, program)
    case = _Case(counts, record, record.noise(), program, post_select(counts), seed)
    if chosen:
        return _RUN[chosen](case, [])
    chosen, left_out = _choose(case)
    for names in dict.fromkeys((chosen, ("response",))):
        try:
            return _RUN[names](case, left_out)
        except MitigationError as error:
            left_out.append(StepReport(", ".join(names), False, str(error)))
    return _RUN[("post-select",)](case, left_out)


def checked_steps(steps: str | Sequence[str]) -> tuple[str, ...]:
    """The steps, empty for auto."""
    names = (steps,) if isinstance(steps, str) else tuple(steps)
    if names == ("auto",):
        return ()
    for name in names:
        if name not in STEPS:
            raise ConfigError(f"step {name!r} is unknown. Use auto, or of {', '.join(STEPS)}.")
    if "post-select" in names[:-1]:
        raise MitigationError(
            f"steps {', '.join(names)} select before they correct, which is worse than no correction. "
            "Put post-select last."
        )
    names = names[:-1] if len(names) > 1 and names[-1] == "post-select" else names
    if names not in _RUN:
        known = "; ".join(", ".join(key) for key in _RUN)
        raise ConfigError(f"steps {', '.join(names) or '(none)'} do not go together. Use auto, or one of: {known}.")
    return names


def check_match(counts: Counts, record: CalibrationRecord, program: Program | None) -> None:
    """Check that counts, record and program are of one setting.

    :raises CalibrationMismatch: when the record is of another device, of fewer modes, other inputs or detectors.
    :raises MitigationError: when the program is not that of the counts.
    """
    if counts.device and counts.device != record.device and not counts.device.startswith("local:twin"):
        raise CalibrationMismatch(
            f"the counts are of {counts.device}, the record is of {record.device}. Use a record of {counts.device}."
        )
    if counts.detector != record.detector:
        raise CalibrationMismatch(
            f"the counts are of {counts.detector} detectors, the record is of {record.detector} detectors. "
            "Use a record of such detectors."
        )
    if counts.modes > record.modes:
        raise CalibrationMismatch(
            f"the counts have {counts.modes} modes, the record {record.modes}. Calibrate {counts.modes} modes."
        )
    if program is None:
        if counts.photons > len(record.input_modes):
            raise CalibrationMismatch(
                f"the counts are of {counts.photons} photons, the record of {len(record.input_modes)} inputs. "
                "Calibrate more inputs."
            )
        return
    if (program.modes, program.photons) != (counts.modes, counts.photons):
        raise MitigationError(
            f"the program has {program.photons} photons in {program.modes} modes, the counts {counts.photons} in "
            f"{counts.modes}. Give the program that was run."
        )
    if counts.program and counts.program != program.fingerprint:
        raise MitigationError(
            f"the counts are of program {counts.program[:12]}, not of {program.fingerprint[:12]}. "
            "Give the program that was run."
        )
    missing = sorted(set(program.input_modes) - set(record.input_modes))
    if missing:
        raise CalibrationMismatch(
            f"the program sends a photon into mode {missing[0]}; the record knows {list(record.input_modes)}. "
            "Calibrate that input."
        )


def _choose(case: _Case) -> tuple[tuple[str, ...], list[StepReport]]:
    """The best steps that the counts can bear, and why the others were left out."""
    counts, events = case.counts, case.baseline.samples
    if case.program is not None and counts.detector == "pnr" and np.ndim(case.noise.indistinguishability):
        why = "detectors that count have no model of overlaps that differ by pair"
        return ("response",), [StepReport("unfold", False, why)]
    try:
        _ = case.model
    except MitigationError as error:
        return ("response",), [StepReport("unfold", False, str(error))]
    if case.program is not None:
        why = case.filtered.partition(";")[0]
        return (("subtract",), [StepReport("unfold", False, why)]) if why else (("unfold", "fuse"), [])
    unknown = StepReport("subtract", False, "the circuit was not given")
    why = "one photon has no class of fewer clicks" if counts.photons == 1 else case.filtered.partition(";")[0]
    if why:
        return ("response",), [unknown, StepReport("unfold", False, why)]
    outcomes = len(case.baseline.probabilities)
    if counts.modes > counts.photons**2 and events < SPARSE * outcomes:
        return ("fuse",), [unknown]
    if events < FEW_EVENTS:
        return ("unfold",), [unknown]
    why = "the circuit was not given, and with so many events loss alone is not enough"
    return ("response",), [unknown, StepReport("unfold", False, why)]


def _post_select(case: _Case, left_out: list[StepReport]) -> Distribution:
    return replace(case.baseline, history=(*left_out, *case.baseline.history), record_id=case.record.id)


def _response(case: _Case, left_out: list[StepReport]) -> Distribution:
    modes = case.counts.modes
    corrected = correct_response(case.counts, case.noise.output_efficiencies[:modes], case.noise.dark_counts[:modes])
    found = select(corrected)
    return replace(found, history=(*left_out, *found.history), record_id=case.record.id)


def _subtract(case: _Case, left_out: list[StepReport]) -> Distribution:
    _need_program(case, "subtract")
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


def _unfold(case: _Case, left_out: list[StepReport]) -> Distribution:
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


def _unfold_fuse(case: _Case, left_out: list[StepReport]) -> Distribution:
    program = _need_program(case, "unfold, fuse")
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


def _fuse(case: _Case, left_out: list[StepReport]) -> Distribution:
    found = fuse(case.counts)
    why = f"the events with a prior worth {found.concentration:.3g} of them, of shots that lost {found.lost} photons"
    flat = f"the events with a flat prior worth {found.concentration:.3g} of them; lossy shots say nothing more"
    return case.result(
        found.probabilities,
        [*left_out, StepReport("fuse", True, why if found.gain else flat)],
        uncertainty=found,
    )


def _recycle(case: _Case, left_out: list[StepReport]) -> Distribution:
    p = recycle(case.counts)
    rng = np.random.default_rng(child_seed(case.seed, "replicas"))
    sorted_counts, again = merge([case.counts], program=case.counts.program), []  # whatever order they came in
    for _ in range(REPLICAS):
        with suppress(MitigationError):  # a class of few shots may be gone
            again.append(recycle(replace(sorted_counts, numbers=rng.poisson(sorted_counts.numbers))))
    why = "as Perceval does it; its bias does not go away with more shots, and the errors do not know of it"
    return case.result(p, [*left_out, StepReport("recycle", True, why)], uncertainty=Replicas(np.stack(again)))


_RUN: Mapping[tuple[str, ...], Callable[[_Case, list[StepReport]], Distribution]] = {
    ("post-select",): _post_select,
    ("response",): _response,
    ("subtract",): _subtract,
    ("unfold",): _unfold,
    ("unfold", "fuse"): _unfold_fuse,
    ("fuse",): _fuse,
    ("recycle",): _recycle,
}


def _need_program(case: _Case, steps: str) -> Program:
    if case.program is None:
        raise MitigationError(f"steps {steps} model the circuit, which was not given. Give the program that was run.")
    return case.program


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


def _fused(case: _Case, below: Unfolded, posterior: Shrunk, common: Systematics) -> list[StepReport]:
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
