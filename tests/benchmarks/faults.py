"""``python -m tests.benchmarks.faults [--out FILE.md]``: the fault table, run for Perceval's client and for ours.

Both clients meet the same broken loopback cloud; every word in the cells comes from the run. Takes about two minutes.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path
from unittest.mock import MagicMock, patch

from tests.devices.cloud.fault_table import LIMIT_S, ROWS, SHOTS, Outcome

COMMAND = "python -m tests.benchmarks.faults --out docs/results/faults.md"
NOTES = f"""\
Rewritten by `{COMMAND}`.

# Faults of the cloud, and what two clients make of them

Each row breaks the loopback cloud (`qpu_sdk.emulator`) in one way and lets a client measure {SHOTS} shots
of one program, or of several where the row says so: Perceval {{version}}'s `RemoteComputer` with `Execution` (or
`ExecutionGroup`, where files count), and `JournalledDevice` over `quandela:sim:ideal`. No request leaves this machine.

- **jobs**: on the server at the end. A job too many is a job paid for twice.
- **again**: the caller tries once more: Perceval's the same `Execution`, which sends a job where it believes that there
  is none; ours a new process with the same journal. **id attached**: a person named the job (`qpu-sdk jobs attach`).
- **lost**: a job on the server whose id the client neither kept nor showed.
- **stopped after {LIMIT_S:g} s**: the client was still waiting and the test went on without it.
- Perceval's limit of 10 s for a request was lowered where a slow answer would take longer than that to show.
- ✓ / ✗: whether everything was shown that the row requires of a client: the result where one can be had, else an
  error; an end in bounded time; no job too many; no id lost; and what the row names. Of our client more is required
  (the class of the error, the journal's states, the number of requests): see `tests/devices/cloud/fault_table.py`.
- F40 is about simulators, ours in the loopback cloud and Perceval's in its process; it is no row of Perceval's client.
"""


def cell(outcome: Outcome) -> str:
    """One outcome."""
    return ("✓ " if outcome.ok else "✗ ") + outcome.text.replace("|", "\\|")


def table() -> str:
    """Run everything; a row of Markdown each."""
    perceval = version("perceval-quandela")
    lines = [f"| id | fault | Perceval {perceval} | qpu_sdk |", "| --- | --- | --- | --- |"]
    met: list[tuple[bool | None, bool]] = []
    for row in ROWS:
        theirs, ours = row.perceval(), row.ours()
        met.append((theirs.ok if theirs.jobs != (None,) else None, ours.ok))
        lines.append(f"| {row.id} | {row.fault} | {cell(theirs)} | {cell(ours)} |")
        sys.stderr.write(f"{row.id}: {theirs.seconds:.1f} s, {ours.seconds:.1f} s {'; '.join(ours.unmet)}\n")
    their, our = [one for one, _ in met if one is not None], [one for _, one in met]
    lines.append(f"| | rows met | **{sum(their)} of {len(their)}** | **{sum(our)} of {len(our)}** |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, or write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="file to write; without it the table is printed")
    arguments = parser.parse_args()
    with patch("perceval.utils.logging._logger", MagicMock()):
        page = f"{NOTES.format(version=version('perceval-quandela'))}\n{table()}\n"
    if arguments.out is None:
        sys.stdout.write(page)
    else:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
