"""Run the studies, write their figures, and leave with 1 when one is not where it must be.

``python -m tests.validation [NAME ...]`` runs those whose names begin so, and then writes nothing.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "docs" / "results"
HEAD = """---
orphan: true
---

Rewritten by `make validate`.

# Statistical studies

What the tests do with few devices, programs and kills, done with many. A figure must lie from `from` to `to`; where a
study demands equal bits or a single payment, a run that fails it ends the study.

| study | data | seeds | figure | value | from | to |
| --- | --- | --- | --- | --- | --- | --- |
"""


def main() -> int:
    """0 when every figure is where it must be."""
    importlib.import_module("tests.conftest")  # repeatable examples, one thread
    from tests.validation.studies import STUDIES

    warnings.simplefilter("error")
    begun, found = time.monotonic(), []
    for study in STUDIES:
        if not any(study.name.startswith(name) for name in sys.argv[1:] or [""]):
            continue
        with tempfile.TemporaryDirectory() as folder:
            figures = list(study.figures(Path(folder)))
        for figure in figures:
            mark = "" if figure.ok else f"  NOT FROM {figure.low:g} TO {figure.high:g}"
            sys.stdout.write(f"{study.name}: {figure.what}: {figure.value:.4g}{mark}\n")
            sys.stdout.flush()
        rows = [
            {"what": f.what, "value": f.value, "from": _finite(f.low), "to": _finite(f.high), "ok": f.ok}
            for f in figures
        ]
        found.append({"study": study.name, "data": study.data, "seeds": study.seeds, "figures": rows})
    if not sys.argv[1:]:
        _write(found, time.monotonic() - begun)
    return 0 if all(row["ok"] for study in found for row in study["figures"]) else 1


def _finite(limit: float) -> float | None:
    return limit if math.isfinite(limit) else None


def _write(found: list[dict[str, Any]], total_s: float) -> None:
    results = {"total_s": round(total_s), "studies": found}
    (RESULTS / "validation.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    lines = []
    for study in found:
        for row in study["figures"]:
            cells = [study["study"], study["data"], study["seeds"], row["what"], *map(_cell, _limits(row))]
            lines.append(f"| {' | '.join(cells)} |")
    text = "\n".join(lines)
    (RESULTS / "validation.md").write_text(f"{HEAD}{text}\n\n{round(total_s)} s in all.\n", encoding="utf-8")


def _limits(row: dict[str, Any]) -> list[float | None]:
    return [row["value"], row["from"], row["to"]]


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
