"""The page of one run, or of many: one file that loads nothing.

One configuration is told in full. Of several there is a table and a figure of all, then one section for each, folded:
the most accurate :data:`MOST_IN_FULL` with all their figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..errors import CheckpointError, ConfigError
from ..markup import Html
from ..rendering.html import (
    bullets,
    figure,
    figures,
    fold,
    listing,
    page,
    paragraph,
    scrolling,
    section,
    table,
    verdict_line,
)
from ..rendering.text import duration, number_of, typeset
from .figures import accuracy_figure, groups_figure, qnn_figure, training_curves
from .folder import RunFolder
from .gathered import Gathered, SeedGroup, StoredRun, Unread
from .measured import LastMeasurement, MeasuredQNN, measured_last
from .mesh_drawing import MOST_GATES, draw_mesh
from .metric import Metric
from .mistake_figures import confusion_figure, worst_figure
from .mistakes import read_mistakes
from .paired import CONFIDENCE, KIND_NAMES, PairedDifference, accuracy_text, control_title, spoken
from .spending import SPENDING_HEAD, record_rows, spending_rows
from .summary import RunSummary
from .tables import figure_text, summary_rows

#: Configurations with all their figures in a page of many; the others have their tables alone.
MOST_IN_FULL = 6


def run_page(name: str, folder: RunFolder, summary: RunSummary) -> str:
    """The page of a run that its folder keeps, whose summary need not be written yet.

    :param name: title of the run.
    """
    run = StoredRun.read(folder, name, summary)
    return report_page(Gathered((SeedGroup(name, (run,)),), run.unread))


def report_page(found: Gathered) -> str:
    """The page of everything that was gathered, at least one run."""
    if len(found.groups) == 1:
        group = found.groups[0]
        seeds = "" if len(group.runs) == 1 else f" over {len(group.runs)} seeds"
        headline = f"{group.label}: {_reached(group)}{seeds}"
        parts = [verdict_line(group.verdict.text), *_left_out(found.unread), *_told(group, level=2)]
        return page(group.label, parts, headline=headline)
    runs, best = sum(len(group.runs) for group in found.groups), found.groups[0]
    name = f"{number_of(runs, 'run')} of {number_of(len(found.groups), 'configuration')}"
    parts = [
        verdict_line(f"Most accurate: {best.label}. {best.verdict.text}"),
        *_left_out(found.unread),
        section("All configurations", figure(groups_figure(found.groups)), table(_group_rows(found.groups), _HEAD)),
        paragraph(_how_to_read(found.groups)),
        Html("<h2>One by one</h2>"),
        *(_folded(group, full=index < MOST_IN_FULL) for index, group in enumerate(found.groups)),
    ]
    return page(name, parts, headline=f"{name}: {best.metric.towards} {_reached(best)}")


# -- many configurations -----------------------------------------------------------------------------------


def _reached(group: SeedGroup) -> str:
    return f"{group.metric.told(group.accuracy.mean)} test {group.metric.name}"


_HEAD = ("configuration", "test accuracy", "95 % interval", "seeds", "best control", "minus it", "quantum part")


def _group_rows(groups: Sequence[SeedGroup]) -> Iterator[tuple[str, ...]]:
    for group in groups:
        found, deciding = group.accuracy, [one for one in group.differences if one.decides]
        told, metric = group.metric.told, group.metric
        spread = "" if found.spread is None else f" ± {_spread(metric, found.spread)}"
        interval = "-" if found.low is None or found.high is None else metric.span(found.low, found.high)
        against = (spoken(deciding[0].control), deciding[0].interval) if deciding else ("-", "-")
        seeds = ", ".join(str(summary.seed) for summary in group.summaries)
        yield (
            group.label,
            f"{told(found.mean)}{spread}{' (loss)' if metric.name == 'loss' else ''}",
            interval,
            f"{len(group.runs)} ({seeds})",
            *against,
            KIND_NAMES[group.verdict.kind],
        )


def _how_to_read(groups: Sequence[SeedGroup]) -> str:
    return (
        "Runs that differ by their seed alone are one row: mean, ± standard deviation, and the 95 % interval of the "
        "mean by Student's t. The figure has the seeds as small marks; of one seed its interval is that of the test "
        f"images. Differences are taken seed by seed. The best of {len(groups)}, chosen by these test images, looks "
        "better than it is."
    )


def _folded(group: SeedGroup, *, full: bool) -> Html:
    headline = f"{group.label}: {_reached(group)}, {number_of(len(group.runs), 'seed')}"
    if full:
        return fold(headline, verdict_line(group.verdict.text), *_told(group, level=3))
    short = (
        f"Only the {MOST_IN_FULL} most accurate configurations have figures here; report this one alone for its own."
    )
    parts = [verdict_line(group.verdict.text), paragraph(short), *_accuracy_tables(group), _run_table(group)]
    return fold(headline, *parts, *_configuration(group, level=3))


# -- one configuration -------------------------------------------------------------------------------------


def _told(group: SeedGroup, *, level: int) -> Iterator[Html]:
    """Everything about one configuration; circuits, spending and records are those of its first seed."""
    first = group.runs[0]
    summary = first.summary
    q = summary.trainable_parameters
    ordinary = f", beside {q.ordinary:,} that are trained as they are" if q.ordinary else ""
    yield paragraph(
        f"{q.total - q.ordinary:,} trained parameters generate {summary.target_parameters:,} weights{ordinary}. "
        "The exported network runs without a quantum computer and without this SDK."
    )
    name = group.label
    accuracy = figure(accuracy_figure(name, group.summaries))
    yield section(
        f"{group.metric.name.capitalize()} beside its controls", accuracy, *_accuracy_tables(group), level=level
    )
    yield from _mistakes(group, level=level)
    curves = figures(training_curves(name, [run.rows for run in group.runs if run.rows], loss=summary.loss))
    yield section("Training", curves if any(run.rows for run in group.runs) else paragraph("No metrics."), level=level)
    measured = None if first.config is None else measured_last(first.folder, first.config)
    if measured is not None:
        yield from _circuits(group, measured, level=level)
    yield section(f"Budget{_of(group)}", _budget(first), *_together(group), level=level)
    yield from _devices(group, measured, level=level)
    if len(group.runs) > 1 or group.repeats or first.name != group.label:
        yield section("Runs", _run_table(group), level=level)
    rows = summary_rows(summary.model_copy(update={"controls": {}}))
    yield section(f"All numbers{_of(group)}", table(typeset(row for row in rows if row[0] != "verdict")), level=level)
    yield from _configuration(group, level=level)


def _mistakes(group: SeedGroup, *, level: int) -> Iterator[Html]:
    """Which classes are taken for which; nothing of runs that left no such file."""
    try:
        found = read_mistakes(group.runs[0].folder.mistakes)
    except CheckpointError as error:
        yield section(f"Mistakes{_of(group)}", paragraph(str(error)), level=level)
        return
    if found is None:
        return
    parts = [figure(confusion_figure(group.label, found)), paragraph(found.commonest or "No test image is mistaken.")]
    if found.worst:
        told = f"{number_of(len(found.worst), 'wrong answer')} of which the network is the surest"
        parts.append(fold(told, figure(worst_figure(group.label, found.worst))))
    yield section(f"Mistakes{_of(group)}", *parts, level=level)


def _of(group: SeedGroup) -> str:
    return "" if len(group.runs) == 1 else f" of seed {group.runs[0].summary.seed}"


def _left_out(unread: Sequence[Unread]) -> list[Html]:
    return [section("Left out", bullets(map(str, unread)))] if unread else []


def _accuracy_tables(group: SeedGroup) -> Iterator[Html]:
    """Accuracy and every control, with the difference; what the intervals are of."""
    summaries = group.summaries
    rows = [("these runs" if len(summaries) > 1 else "this run", accuracy_text(summaries), "")]
    rows += [_control_row(one, summaries) for one in group.differences]
    better = "the run minus it" if group.metric.name == "accuracy" else "by how much the run is better"
    yield table(rows, ("", f"test {group.metric.name}", better))
    if len(summaries) > 1:
        same = len({summary.data_sha256 for summary in summaries}) == 1
        images = (
            f"All seeds are tested with the same {summaries[0].test_size:,} images: on others all may differ by more."
            if same
            else "The seeds differ in their images, too."
        )
        yield paragraph(f"Intervals are {100 * CONFIDENCE:.0f} % of the mean over seeds, by Student's t. {images}")
    if silent := [control_title(one.control) for one in group.differences if not one.decides]:
        yield paragraph(f"Void or not within the budget, so that they decide nothing here: {'; '.join(silent)}.")
    second = list(_second_rows(summaries))
    if second:
        yield table(second, ("second test set", group.metric.name))


def _control_row(one: PairedDifference, summaries: Sequence[RunSummary]) -> tuple[str, str, str]:
    have = [summary for summary in summaries if one.control in summary.controls]
    numbers = {summary.control_parameters.get(one.control) for summary in have} - {None}
    sizes = "" if not numbers else f" ({', '.join(f'{n:,}' for n in sorted(filter(None, numbers)))})"
    mean = sum(summary.controls[one.control] for summary in have) / len(have)
    return f"{control_title(one.control)}{sizes}", one.metric.told(mean), one.figures


def _second_rows(summaries: Sequence[RunSummary]) -> Iterator[tuple[str, str]]:
    """Accuracy on a second test set, where runs have one."""
    for summary in summaries:
        found, size, metric = summary.second_figure, summary.second_test_size, Metric.of([summary])
        if found is None:
            continue
        named = "this run" if len(summaries) == 1 else f"seed {summary.seed}"
        yield f"{named}{'' if size is None else f', {size:,} images'}", metric.told(found)
        for name, value in summary.second_controls.items():
            yield (
                f"{named}: {control_title(name)}",
                f"{metric.told(value)} ({metric.difference(metric.gain(found, value))})",
            )


def _circuits(group: SeedGroup, measured: LastMeasurement, *, level: int) -> Iterator[Html]:
    parts = []
    if measured.missing:
        parts.append(bullets(measured.missing))
    for number, qnn in enumerate(measured.qnns):
        parts += _circuit(group.label, number, qnn, level=level + 1)
    if any(qnn.program is not None for qnn in measured.qnns):
        parts.append(
            paragraph(
                "Photons (red) enter at the left. A gate is the bluer, the more light crosses over in it; numbers are "
                "phases in units of pi, theta within the gate and those of phase shifters (orange) behind it."
            )
        )
    yield section(f"Circuits{_of(group)}", *parts, level=level)


def _circuit(name: str, number: int, qnn: MeasuredQNN, *, level: int) -> list[Html]:
    parts = []
    if qnn.program is not None:
        what = f"Interferometer of QNN {number} of {name}"
        if len(qnn.program.mesh.gates) <= MOST_GATES:
            parts.append(scrolling(draw_mesh(qnn.program), what))
        else:
            parts.append(paragraph(f"{len(qnn.program.mesh.gates):,} gates are more than a drawing shows."))
    drawn = qnn_figure(name, number, qnn)
    if drawn is not None:
        parts.append(figure(drawn))
    if qnn.after is not None:
        parts += [paragraph(line) for line in qnn.after.first]
    return [section(f"QNN {number} on {qnn.device}", *parts, level=level)] if parts else []


def _budget(run: StoredRun) -> Html:
    try:
        rows = [] if run.config is None else spending_rows(run.summary, run.config)
    except ConfigError as error:
        return paragraph(str(error))
    return table(rows, SPENDING_HEAD) if rows else paragraph("What was planned is not known without a configuration.")


def _together(group: SeedGroup) -> Iterator[Html]:
    """What all seeds took."""
    own = [run.summary for run in (*group.runs, *group.repeats)]
    if len(own) > 1:
        settings, shots, jobs = (sum(getattr(one, key) for one in own) for key in ("circuit_settings", "shots", "jobs"))
        cost = (
            f"{sum(one.credits for one in own):.6g} credits, {duration(sum(one.machine_s for one in own))} of machines"
        )
        yield paragraph(f"All {len(own)} runs: {settings:,} settings in {jobs:,} jobs, {shots:,} shots, {cost}.")


def _devices(group: SeedGroup, measured: LastMeasurement | None, *, level: int) -> Iterator[Html]:
    summary = group.runs[0].summary
    notes: Mapping[str, str] = {} if summary.mitigation is None else summary.mitigation.notes
    ids: Mapping[str, str] = {} if summary.mitigation is None else summary.mitigation.record_ids
    parts = []
    for device in summary.devices:
        record = None if measured is None else measured.records.get(device)
        if record is not None and measured is not None:
            parts.append(section(device, table(typeset(record_rows(record, measured.time))), level=level + 1))
        else:
            why = notes.get(device) or (
                f"Record {ids[device]}, which is not in the folder." if device in ids else "No calibration record used."
            )
            parts.append(section(device, paragraph(why), level=level + 1))
    yield section(f"Devices and calibration{_of(group)}", *parts, level=level)


def _run_table(group: SeedGroup) -> Html:
    head = ("seed", "run", f"test {group.metric.name}", "training time")
    rows = [(*_run_cells(run), f"{run.summary.wall_s:.1f} s") for run in group.runs]
    rows += [(*_run_cells(run), "not counted: this seed is there already") for run in group.repeats]
    return table(rows, head)


def _spread(metric: Metric, spread: float) -> str:
    return f"{100 * spread:.1f}" if metric.name == "accuracy" else f"{spread:.2g}"


def _run_cells(run: StoredRun) -> tuple[str, str, str]:
    summary = run.summary
    return (
        str(summary.seed),
        run.name,
        figure_text(summary, "±"),
    )


def _configuration(group: SeedGroup, *, level: int) -> Iterator[Html]:
    yield section(f"Configuration{_of(group)}", listing(group.runs[0].toml), level=level)
