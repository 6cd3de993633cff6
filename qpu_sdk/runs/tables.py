"""Rows of text from a summary, for the terminal and the page alike."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..rendering.text import duration, percent
from ..words import one_line
from .metric import Metric
from .paired import control_row, seed_verdict
from .summary import MitigationSummary, RunSummary

if TYPE_CHECKING:  # it loads torch
    from .plan import Plan


def summary_rows(summary: RunSummary) -> list[tuple[str, str]]:
    """Name and value of everything a reader needs to judge the result."""
    q = summary.trainable_parameters
    rows = [
        *_verdict_rows(summary),
        *_figure_rows(summary),
    ]
    if summary.test_accuracy_before_mitigation is not None:
        rows.append(("test accuracy on the unmitigated p", percent(summary.test_accuracy_before_mitigation)))
    rows += [
        *_control_rows(summary),
        ("data", f"{summary.data}: {summary.train_size:,} train, {summary.test_size:,} test, seed {summary.seed}"),
        (
            "trainable parameters",
            f"{q.total:,} = {q.phases:,} phases + {q.generator:,} generator{_ordinary(q.ordinary)}",
        ),
        ("identifiable of these", "not computed" if q.identifiable is None else f"{q.identifiable:,}"),
        ("generated weights", f"{summary.target_parameters:,}"),
        *([("frozen weights", f"{summary.frozen_parameters:,}")] if summary.frozen_parameters else []),
        ("circuit settings", f"{summary.circuit_settings:,} in {summary.jobs:,} jobs"),
        ("shots", f"{summary.shots:,}"),
        ("events behind the final p", ", ".join(f"{n:,}" for n in summary.events)),
        ("epochs", f"{summary.epochs:,}, {summary.exact_gradient_epochs:,} of them with exact gradients"),
        ("devices", ", ".join(summary.devices)),
        *_mitigation_rows(summary.mitigation),
        *_machine_rows(summary),
        ("training time", f"{summary.wall_s:.1f} s"),
    ]
    return rows


def figure_text(summary: RunSummary, sign: str = "+-") -> str:
    """Accuracy with its standard error, or the loss.

    :param sign: between both.
    """
    told = Metric.of([summary]).told(summary.figure)
    error = summary.test_standard_error
    return told if math.isnan(error) else f"{told} {sign} {100 * error:.1f}"


def _figure_rows(summary: RunSummary) -> Iterator[tuple[str, str]]:
    """Accuracy of test, second test, training and validation images; where there is none, the loss."""
    yield f"test {summary.metric}", figure_text(summary)
    yield from _second_rows(summary)
    right = summary.metric == "accuracy"
    rest = {
        "train": summary.train_accuracy if right else summary.train_loss,
        "validation": summary.validation_accuracy if right else summary.validation_loss,
    }
    for name, value in rest.items():
        if value is not None and not math.isnan(value):
            yield f"{name} {summary.metric}", Metric.of([summary]).told(value)
    if summary.loss is not None:
        yield "loss", one_line(summary.loss)


def _ordinary(count: int) -> str:
    return f" + {count:,} ordinary weights" if count else ""


def _verdict_rows(summary: RunSummary) -> list[tuple[str, str]]:
    """The verdict of one seed; without controls there is none, unless the run is at chance."""
    found = seed_verdict([summary])
    return [("verdict", found.text)] if summary.controls or found.kind == "chance" else []


def _second_rows(summary: RunSummary) -> list[tuple[str, str]]:
    """Accuracy on the second test set, where there is one."""
    accuracy, size, loss = summary.second_test_accuracy, summary.second_test_size, summary.second_test_loss
    if summary.metric == "loss" and loss is not None and size is not None:
        return [("second test loss", f"{loss:.4g} ({size:,} images)")]
    if accuracy is None or size is None:
        return []
    error = 100 * math.sqrt(accuracy * (1 - accuracy) / size)
    return [("second test accuracy", f"{percent(accuracy)} +- {error:.1f} ({size:,} images)")]


def _control_rows(summary: RunSummary) -> Iterator[tuple[str, str]]:
    """Accuracies of the controls, with how many numbers each of them trained."""
    metric = Metric.of([summary])
    for name, value in summary.controls.items():
        told = metric.told(value)
        if name in summary.controls_again:
            told += f", asked again {metric.told(summary.controls_again[name])}"
        if name in summary.second_controls:
            told += f"; second test {metric.told(summary.second_controls[name])}"
        count = summary.control_parameters.get(name)
        yield f"{control_row(name)}{'' if count is None else f' ({count:,})'}", told


def _machine_rows(summary: RunSummary) -> list[tuple[str, str]]:
    """Time and credits of devices that take either."""
    if not summary.machine_s and not summary.credits:
        return []
    return [("machine time", f"{duration(summary.machine_s)}, {summary.credits:.6g} credits")]


def _mitigation_rows(found: MitigationSummary | None) -> list[tuple[str, str]]:
    """How the final p was estimated, and how far that is from post-selection."""
    if found is None:
        return []
    rows = [
        (f"mitigation of {device}", f"{', '.join(methods) or 'none'}{_record(found.record_ids.get(device))}")
        for device, methods in found.methods.items()
    ]
    if found.record_ids:
        rows.append(("shift of p by mitigation", ", ".join(f"{shift:.4f}" for shift in found.p_shift)))
        worth = ["unlimited" if n is None else f"{n:,.0f}" for n in found.effective_samples]
        rows.append(("events that p is worth", ", ".join(worth)))
    return rows + [("note", note) for note in found.notes.values()]


def _record(record_id: str | None) -> str:
    return "" if record_id is None else f", record {record_id}"


def plan_rows(plan: Plan) -> list[tuple[str, str]]:
    """What a run takes, by device and by kind of setting."""
    rows = []
    for d in plan.devices:
        cost = f"{d.cost.settings:,} settings in {d.cost.jobs:,} jobs, {d.cost.shots:,} shots"
        rows.append((d.device, f"{cost}, {duration(d.cost.seconds)}, {d.cost.credits:.6g} credits"))
        rows.append(("", f"transmittance {d.transmittance:g} ({d.source})"))
    for s in plan.settings:
        name = f"qnn {s.qnn} ({s.modes} modes, {s.photons} photons)"
        events = f"{s.events:,.3g} events in {s.shots:,} shots, distance {s.distance:.3f} from the truth"
        rows.append((name, f"{s.kind}: {s.settings:,} settings, each {events}"))
    total = plan.total
    rows.append(
        ("together", f"at most {total.settings:,} settings in {total.jobs:,} jobs, {total.credits:.6g} credits")
    )
    rows.append(("machine time", f"{duration(plan.wall_s)} without queues"))
    return rows + [("note", note) for note in plan.notes]
