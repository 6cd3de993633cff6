"""What mitigation returns: a collision-free distribution, how sure it is, and how it came about."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from ..arrays import FloatArray, reals, whole
from ..errors import MitigationError, ProgramError
from ..markup import Html, notebook_table
from ..photonics.counts import Counts
from ..photonics.fock import collision_free_outcomes, occupations
from ..rendering.figures import save
from ..rendering.text import number_of, percent, two_columns
from .correlations import draw_correlations
from .outcomes import LEVEL, Estimate, draw_estimates, outcome_cells, outcome_names, outcome_table
from .uncertainty import Multinomial, Uncertainty

if TYPE_CHECKING:
    import perceval
    from matplotlib.figure import Figure

#: Probabilities up to this are rounding errors, and variances up to its square.
ROUNDING = 1e-14
#: With fewer events than this the first thing to say is how few they are.
FEW = 10
#: Outcomes in a representation.
_FEW_OUTCOMES = 3
#: What the sum of probabilities may differ from 1 by, as of numbers that were rounded to be written.
SUM_ERROR = 1e-3


@final
@dataclass(frozen=True)
class MethodReport:
    """A method or a part of one: whether it was used, and why or why not.

    >>> print(MethodReport("fuse", False, "no lossy shots"))
    fuse not used: no lossy shots
    """

    name: str
    used: bool
    why: str

    def __str__(self) -> str:
        return f"{self.name}: {self.why}" if self.used else f"{self.name} not used: {self.why}"


@final
@dataclass(frozen=True)
class Diagnostics:
    """What tells whether to believe an estimate; None where a method has nothing to say.

    :param verdict: whether the counts bear the correction, in one line; ``""`` where nothing was compared.
    :param chi2: of the N-click class against what record and program predict, rare outcomes merged; nothing of these
        events but their number is in the prediction.
    :param dof: bins of that test.
    :param p_value: of that test; tiny: the device is not what the record says.
    :param iterations: chosen by held-out counts.
    :param background_fraction: of the N-click class: from fewer than N interfering photons, or from second photons.
    :param subtracted: share of that background that was taken away: less where the model is not to be trusted.
    :param phase_error: largest error of a phase, radians, of the record or as the counts tell; far above what the
        device had when it was calibrated, the record does not describe it any more.
    :param negative_mass: what the projection on probabilities removed.
    """

    chi2: float | None = None
    dof: int | None = None
    p_value: float | None = None
    iterations: int | None = None
    background_fraction: float | None = None
    phase_error: float | None = None
    negative_mass: float = 0.0
    subtracted: float | None = None
    verdict: str = ""

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of what there is to say.

        >>> Diagnostics(phase_error=0.0114).rows()
        [('phase error', '0.011 rad')]
        """
        rows = []
        if self.chi2 is not None and self.dof:  # on no degree of freedom it tests nothing
            p = "" if self.p_value is None else f", p = {self.p_value:.2g}"
            rows.append(("fit", f"chi-square {self.chi2:.1f} on {self.dof} degrees of freedom{p}"))
        if self.background_fraction is not None:
            rows.append(("background", f"{percent(self.background_fraction)} of the events of all photons"))
        if self.phase_error is not None:
            rows.append(("phase error", f"{self.phase_error:.2g} rad"))
        if self.negative_mass > 0.0:
            rows.append(("negative mass", f"{self.negative_mass:.5f} before it was made a distribution"))
        return rows


@final
@dataclass(frozen=True, eq=False, repr=False)
class Distribution:
    """Estimated collision-free distribution with its uncertainty.

    :param probabilities: conditional on a collision-free N-photon event, lexicographic, ``(C(M, N),)``, sum 1.
    :param samples: collision-free N-click events among the counts.
    :param shots: shots spent.
    :param uncertainty: None for that of relative frequencies.
    :param unprojected: the estimate before it was made a distribution, ``(C(M, N),)``; None where it was one.
    :param method: that it is of, a name of :data:`~qpu_sdk.mitigation.methods.METHODS`; relative frequencies unless
        said.
    :param history: what led here, and what was left out, with the reasons.
    :param record_id: of the calibration record behind it, ``""`` for none.
    :param raw: the counts.
    :raises MitigationError: when probabilities do not sum to 1, or samples or shots are no whole numbers.

    >>> Distribution(probabilities=np.array([0.25, 0.75]), samples=100, shots=400).standard_errors.round(3).tolist()
    [0.043, 0.043]
    >>> Distribution(probabilities=np.array([0.25, 0.75]), samples=100, shots=400)
    Distribution({1: 0.7500, 0: 0.2500}, 2 outcomes by post-select, 100 events in 400 shots)
    >>> print(Distribution(probabilities=np.array([0.25, 0.75]), samples=100, shots=400))
    outcome  probability  standard error     95 % interval
    1             0.7500          0.0433  0.6570 .. 0.8245
    0             0.2500          0.0433  0.1755 .. 0.3430
    <BLANKLINE>
    method             post-select
    record             none
    shots              400
    samples            100 collision-free events of all photons
    effective samples  100.0 events of a perfect device
    """

    probabilities: FloatArray = field(repr=False)
    samples: int
    shots: int
    uncertainty: Uncertainty | None = field(default=None, repr=False)
    unprojected: FloatArray | None = field(default=None, repr=False)
    method: str = "post-select"
    history: tuple[MethodReport, ...] = ()
    diagnostics: Diagnostics = Diagnostics()
    record_id: str = ""
    raw: Counts | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        p = reals(self.probabilities, "a probability", MitigationError)
        if p.ndim != 1 or not p.size:
            raise MitigationError(f"probabilities have shape {p.shape}. Give one for each of several outcomes.")
        if p.min() < 0.0 or not abs(p.sum() - 1.0) < SUM_ERROR:
            raise MitigationError(
                f"probabilities of {p.min():g} or more have the sum {p.sum():g}. Divide by their sum."
            )
        object.__setattr__(self, "probabilities", p)
        for name in ("samples", "shots"):
            object.__setattr__(self, name, whole(getattr(self, name), name, MitigationError, least=0))
        if self.uncertainty is None:
            object.__setattr__(self, "uncertainty", Multinomial(self.probabilities, self.samples))
        if self.unprojected is None:
            object.__setattr__(self, "unprojected", self.probabilities)

    @property
    def _sure(self) -> Uncertainty:
        assert self.uncertainty is not None
        return self.uncertainty

    @property
    def covariance(self) -> FloatArray:
        """Of the probabilities, ``(K, K)``."""
        return self._sure.covariance()

    @property
    def standard_errors(self) -> FloatArray:
        """Square roots of the covariance's diagonal, ``(K,)``, without building it."""
        return np.sqrt(np.maximum(self._sure.variances(), 0.0))

    @property
    def effective_samples(self) -> float:
        """Events of a perfect device with the same total variance, ``(1 - sum p^2) / trace(covariance)``.

        Those that there are where one outcome has all the probability, which has no spread to compare, or where there
        is no variance. More than there are where shots of fewer clicks tell of the same distribution.
        """
        variance = float(self._sure.variances().sum())
        spread = 1.0 - float((self.probabilities**2).sum())
        # Two rounding errors have a ratio too, which is no number of events.
        sensible = variance > ROUNDING**2 and spread > ROUNDING
        return spread / variance if sensible else float(self.samples)

    @property
    def overhead(self) -> float:
        """Variance relative to relative frequencies of as many events; below 1 where other clicks help."""
        effective = self.effective_samples
        return self.samples / effective if effective > 0.0 else 0.0

    def interval(self, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Lower and upper ends, ``(K,)`` each, that hold each probability with that level."""
        return self._sure.interval(level)

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of what the estimate is of, what it is worth, and whether to believe it."""
        return [
            ("method", self.method),
            ("record", self.record_id or "none"),
            ("shots", f"{self.shots:,}"),
            ("samples", f"{self.samples:,} collision-free events of all photons"),
            ("effective samples", f"{_number(self.effective_samples)} events of a perfect device"),
            *self.diagnostics.rows(),
        ]

    @property
    def _worth(self) -> str:
        return f"{number_of(self.samples, 'event')} in {number_of(self.shots, 'shot')}"

    def __repr__(self) -> str:
        shown = self.shown()
        best = shown.most_probable(_FEW_OUTCOMES)
        some = ", ".join(f"{shown.names[k]}: {shown.probabilities[k]:.4f}" for k in best)
        more = ", ..." if len(best) < len(shown.names) else ""
        return f"Distribution({{{some}{more}}}, {len(shown.names):,} outcomes by {self.method}, {self._worth})"

    def _repr_html_(self) -> Html:
        title = f"Distribution by {self.method}, {self._worth}"
        head, *rows = outcome_cells(self.shown())
        return notebook_table(title, rows, head=head, note=" ".join(self.first))

    def __str__(self) -> str:
        """What is to be known first, the most probable outcomes in a table, then :meth:`rows`."""
        first = [*self.first, ""] if self.first else []
        return "\n".join([*first, *outcome_table(self.shown()), "", two_columns(self.rows())])

    @property
    def first(self) -> list[str]:
        """What is to be known before any number: how few events there are, and what the counts bear."""
        return [line for line in (self.warning, self.diagnostics.verdict) if line]

    @property
    def warning(self) -> str:
        """What a reader must know before any number, ``""`` for nothing."""
        if self.samples >= FEW:
            return ""
        few = f"Only {number_of(self.samples, 'event')} of all photons"
        return f"{few}: these numbers are mostly prior. Use more shots, or fewer photons."

    def shown(self) -> Estimate:
        """The numbers that tables and figures show, ``(K,)`` each."""
        low, high = self.interval(LEVEL)
        names = outcome_names(self.raw, len(self.probabilities))
        return Estimate(self.method, names, self.probabilities, self.standard_errors, low, high)

    def draw(self) -> Figure:
        """Bars of the most probable outcomes with their intervals, raw beside mitigated where the counts are kept."""
        title = f"Outcome probabilities by {self.method}, {self._worth}"
        return draw_estimates(self.shown(), self._raw_shown(), title=title, ideal=self._ideal())

    def draw_correlations(self) -> Figure:
        """Heat map of how the errors of the most probable outcomes hang together."""
        return draw_correlations(self.shown(), self.covariance)

    def _ideal(self) -> FloatArray | None:
        """The distribution without noise, ``(K,)``, where the program is known and small enough; to be drawn only."""
        program = None if self.raw is None else self.raw.program
        with suppress(ProgramError):
            return None if program is None else program.probabilities()
        return None

    def plot(self, path: str | Path) -> None:
        """Write :meth:`draw` to a file, PNG, SVG or PDF by its suffix.

        :raises DataError: when the suffix is another, or the file cannot be written.
        """
        save(self.draw(), path, title=f"Outcome probabilities by {self.method}")

    def to_perceval(self) -> perceval.BSDistribution:
        """The probabilities as a ``perceval.BSDistribution``, without those that are zero, and without their errors.

        :raises MitigationError: where the counts, which name the outcomes, are not kept.

        >>> p = Distribution(probabilities=np.array([0.25, 0.75]), samples=100, shots=400)
        >>> p.to_perceval()
        Traceback (most recent call last):
            ...
        qpu_sdk.errors.MitigationError: the distribution keeps no counts, which name its outcomes. Take mitigate's...
        """
        if self.raw is None:
            raise MitigationError(
                "the distribution keeps no counts, which name its outcomes. Take mitigate's or post_select's."
            )
        import perceval as pcvl

        seen = np.flatnonzero(self.probabilities)
        outcomes = collision_free_outcomes(self.raw.modes, self.raw.photons)
        states = occupations(outcomes[seen], self.raw.modes)
        pairs = zip(states.tolist(), self.probabilities[seen].tolist(), strict=True)
        return pcvl.BSDistribution({pcvl.BasicState(state): p for state, p in pairs})

    def _raw_shown(self) -> Estimate | None:
        """Relative frequencies of the counts; None where they are not kept, or are the estimate itself."""
        if self.raw is None or self.method == "post-select":
            return None
        numbers = self.raw.collision_free()
        samples = int(numbers.sum())
        return Distribution(
            probabilities=numbers / samples, samples=samples, shots=self.raw.shots, raw=self.raw
        ).shown()


def _number(value: float) -> str:
    return f"{value:,.1f}" if math.isfinite(value) else "unlimited"
