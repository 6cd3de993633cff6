"""What a run took, beside what was planned and what was allowed; and what was known of its devices."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from ..calibration.page import key_rows
from ..calibration.record import CalibrationRecord
from ..calibration.verdict import record_verdict
from ..devices.budget import Cost
from ..errors import QPUError
from ..rendering.text import Rows, duration
from ..training.config import RunConfig
from ..training.schedule import Schedule
from .device_figures import device_figures, planned_cost
from .summary import RunSummary

#: Columns of :func:`spending_rows`.
SPENDING_HEAD = ("", "used", "planned at most", "limit")
#: Quantities by their names in a budget.
_QUANTITIES = {
    "settings": "circuit settings",
    "shots": "shots",
    "jobs": "jobs",
    "credits": "credits",
    "seconds": "machine time",
}


def spending_rows(summary: RunSummary, config: RunConfig) -> list[tuple[str, ...]]:
    """What was used, planned and allowed of everything that is scarce; equal settings are run once, so used is less.

    :param config: of the run.
    """
    used = Cost(summary.circuit_settings, summary.shots, summary.credits, summary.jobs, summary.machine_s)
    schedule, planned, limits = Schedule.of(config), planned_for(config), config.budget.limits
    rows = []
    for key, name in _QUANTITIES.items():
        plan = getattr(planned, key) if planned is not None else getattr(schedule, key, None)
        cells = (_amount(key, value, none) for value, none in ((plan, "not known"), (getattr(limits, key), "none")))
        rows.append((name, _amount(key, getattr(used, key), "") + _share(getattr(used, key), plan), *cells))
    return rows


def planned_for(config: RunConfig) -> Cost | None:
    """What the run was to take at most, by published figures and without a connection; None where nothing is known."""
    schedule, shared = Schedule.of(config), Counter(config.device_of(i) for i in range(len(config.qnn)))
    try:
        figures = {name: device_figures(config, name, offline=True) for name in config.device_names}
    except (QPUError, OSError):
        return None
    return sum((planned_cost(schedule, figures[name], qnns=shared[name]) for name in config.device_names), Cost())


def _amount(key: str, value: float | None, none: str) -> str:
    if value is None:
        return none
    if key == "seconds":
        return duration(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _share(used: float, planned: float | None) -> str:
    return "" if not planned else f" ({100 * used / planned:.0f} %)"


def record_rows(record: CalibrationRecord, used: datetime | None) -> Rows:
    """A calibration record in a few rows: how good it is, how old it was, and what it says.

    :param used: when the run measured with it, None where nobody knows.
    """
    rows = [("does it fit", record_verdict(record))]
    if record.fit is not None:
        rows.append(("fit", str(record.fit)))
    # What a simulator says of itself is made when the run begins, and does not age.
    if used is not None and record.jobs:
        rows.append(("age at the last measurement", duration(max(0.0, 3600.0 * record.age_h(used)))))
    return [*rows, *key_rows(record)]
