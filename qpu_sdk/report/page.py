"""``report.html``: one self-contained page of a run."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from ..training.summary import RunSummary
from .figures import training_curve
from .tables import percent, summary_rows

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2330 }
h1 { font-size: 1.5rem; overflow-wrap: anywhere } table { border-collapse: collapse; width: 100% }
td { padding: .35rem .6rem; border-bottom: 1px solid #dde2ea; vertical-align: top } td:first-child { color: #5a6575 }
svg { max-width: 100%; height: auto } pre { background: #f4f6f9; padding: 1rem; overflow: auto; font-size: 13px }
"""


def run_page(name: str, summary: RunSummary, rows: Sequence[Mapping[str, Any]], config_toml: str) -> str:
    """The page: headline, table, curve, configuration.

    :param name: title of the run.
    :param rows: rows of ``metrics.jsonl``.
    """
    cells = "\n".join(
        f"<tr><td>{html.escape(key)}</td><td>{html.escape(value)}</td></tr>" for key, value in summary_rows(summary)
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(name)}</title><style>{STYLE}</style></head><body>
<h1>{html.escape(name)}: {percent(summary.test_accuracy)} test accuracy</h1>
<p>{summary.trainable_parameters.total:,} trained parameters generate {summary.target_parameters:,} weights.
The exported network runs without a quantum computer and without this SDK.</p>
<table>{cells}</table>
<h2>Training</h2>
{training_curve(rows)}
<h2>Configuration</h2>
<pre>{html.escape(config_toml)}</pre>
</body></html>
"""
