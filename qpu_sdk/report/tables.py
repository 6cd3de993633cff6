"""Rows of text from a summary, for the terminal and the page alike."""

from __future__ import annotations

from ..training.summary import RunSummary

CONTROL_NAMES = {
    "frozen_random": "control: p random and frozen",
    "constant": "control: p constant",
    "random_subspace": "control: random subspace, as many parameters",
    "plain_network": "control: plain network, all weights trained",
}


def percent(fraction: float) -> str:
    """A fraction as percent with one decimal.

    >>> percent(0.9555)
    '95.5 %'
    """
    return f"{100 * fraction:.1f} %"


def summary_rows(summary: RunSummary) -> list[tuple[str, str]]:
    """Name and value of everything a reader needs to judge the result."""
    q = summary.trainable_parameters
    rows = [
        ("test accuracy", f"{percent(summary.test_accuracy)} +- {100 * summary.test_standard_error:.1f}"),
        ("train accuracy", percent(summary.train_accuracy)),
    ]
    if summary.validation_accuracy is not None:
        rows.append(("validation accuracy", percent(summary.validation_accuracy)))
    for name, accuracy in summary.controls.items():
        rows.append((f"{CONTROL_NAMES[name]} ({summary.control_parameters[name]:,})", percent(accuracy)))
    rows += [
        ("data", f"{summary.data}: {summary.train_size:,} train, {summary.test_size:,} test, seed {summary.seed}"),
        ("trainable parameters", f"{q.total:,} = {q.phases:,} phases + {q.generator:,} generator"),
        ("identifiable of these", "not computed" if q.identifiable is None else f"{q.identifiable:,}"),
        ("generated weights", f"{summary.target_parameters:,}"),
        ("circuit settings", f"{summary.circuit_settings:,} in {summary.jobs:,} jobs"),
        ("shots", f"{summary.shots:,}"),
        ("events behind the final p", ", ".join(f"{n:,}" for n in summary.events)),
        ("epochs", f"{summary.epochs:,}, {summary.exact_gradient_epochs:,} of them with exact gradients"),
        ("devices", ", ".join(summary.devices)),
        ("training time", f"{summary.wall_s:.1f} s"),
    ]
    return rows
