"""From a sweep to a small JSON, and from JSONs to the tables of docs/explanation/claims.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from qpu_sdk.runs.cells import Cell
from qpu_sdk.runs.folder import RunFolder
from qpu_sdk.runs.paired import MeanInterval, mean_interval
from qpu_sdk.runs.sweep_result import CellResult, Sweep
from qpu_sdk.training.config import RunConfig
from qpu_sdk.training.config_file import read_config
from qpu_sdk.versions import versions
from tests.benchmarks.pages import ROOT
from tests.benchmarks.published.values import BOND, CORRECTED

RESULTS = ROOT / "docs" / "results"
#: Decimals of an accuracy in a JSON: a tenth of an image of ten thousand.
DIGITS = 6
Row = dict[str, Any]


def row_of(done: CellResult) -> Row:
    """What a table needs of a run."""
    s = done.summary
    assert s is not None
    values = {key: value for key, value in done.values.items() if key != "seed"}
    if "cell" in values:  # of a file that names each seed by itself
        values["cell"] = str(values["cell"]).removesuffix(f",seed={s.seed}")
    return {
        **values,
        "seed": s.seed,
        "test": round(s.test_accuracy, DIGITS),
        "second": None if s.second_test_accuracy is None else round(s.second_test_accuracy, DIGITS),
        "train": round(s.train_accuracy, DIGITS),
        "parameters": s.trainable_parameters.total,
        "phases": s.trainable_parameters.phases,
        "identifiable": s.trainable_parameters.identifiable,
        "weights": s.target_parameters,
        "settings": s.circuit_settings,
        "shots": s.shots,
        "events": s.events,
        "epochs": s.epochs,
        "exact_epochs": s.exact_gradient_epochs,
        "wall_s": s.wall_s,
        "controls": {name: round(a, DIGITS) for name, a in s.controls.items()},
        "second_controls": {name: round(a, DIGITS) for name, a in s.second_controls.items()},
        "control_parameters": s.control_parameters,
    }


def identity_of(config: RunConfig) -> str:
    """What decides the result of a cell, wherever MNIST's files are."""
    data = config.data.model_copy(update={"source": "MNIST", "second_test": "MNIST"})
    return config.model_copy(update={"data": data}).fingerprint[:16]


def known_rows(name: str) -> dict[str, Row]:
    """Rows of a table's JSON by their identity: of other machines and days."""
    found = read(name)
    return {} if found is None else {row["identity"]: row for row in found["rows"]}


def store(name: str, cells: Sequence[Cell], folder: Path, make: Callable[[CellResult], Row]) -> None:
    """Write the rows of all cells that are done: here, or before and elsewhere.

    :param cells: of the table, in its order; rows of others are left out.
    :param folder: of the sweep.
    """
    rows = known_rows(name)
    for done in Sweep.load(folder).cells if (folder / "sweep.json").is_file() else ():
        if done.summary is not None:
            identity = identity_of(read_config(RunFolder(done.path).config))
            rows[identity] = {"identity": identity} | make(done)
    wanted = [identity for cell in cells if (identity := identity_of(cell.config)) in rows]
    command = f"python -m tests.benchmarks.published {name} MNIST"
    write(name, {"command": command, "rows": [rows[identity] for identity in wanted]})


def write(name: str, found: Mapping[str, Any]) -> None:
    """Write a JSON with a row a line."""
    head = {"table": name, "date": datetime.now(UTC).date().isoformat(), "versions": versions(), **found}
    rows = head.pop("rows")
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    body = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    path = RESULTS / f"{name}.json"
    path.write_text("\n".join(["{", *lines, ' "rows": [', body, " ]", "}"]) + "\n", encoding="utf-8")


def read(name: str, folder: Path | None = None) -> dict[str, Any] | None:
    """A JSON; None where it was never made."""
    path = (folder or RESULTS) / f"{name}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


# -- figures ----------------------------------------------------------------------------------------------------


def percent_of(values: Iterable[float]) -> MeanInterval:
    """Mean and interval in percent."""
    return mean_interval([100.0 * value for value in values])


def spread(found: MeanInterval) -> str:
    """Mean and standard deviation over seeds (ddof = 1)."""
    return f"{found.mean:.2f}" if found.spread is None else f"{found.mean:.2f} ± {found.spread:.2f}"


def interval(found: MeanInterval, sign: bool = False) -> str:
    """Mean and its 95 % interval."""
    plus = "+" if sign else ""
    if found.low is None or found.high is None:
        return f"{found.mean:{plus}.2f}"
    return f"{found.mean:{plus}.2f} ({found.low:{plus}.2f} to {found.high:{plus}.2f})"


def by_seed(rows: Iterable[Row], what: Callable[[Row], float | None]) -> dict[int, float]:
    """A figure of each seed that has it."""
    found = {row["seed"]: what(row) for row in rows}
    return {seed: value for seed, value in found.items() if value is not None}


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> MeanInterval | None:
    """First minus second, in points, over the seeds that both have."""
    both = sorted(first.keys() & second.keys())
    if not both:
        return None
    found = percent_of([first[seed] - second[seed] for seed in both])
    if found.spread is not None and found.spread < 1e-9:  # equal to the image by chance: no proof of no error
        return replace(found, low=None, high=None)
    return found


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


@final
@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed alone."""

    rows: tuple[Row, ...]

    @property
    def first(self) -> Row:
        """Of these."""
        return self.rows[0]

    def figure(self, key: str) -> MeanInterval | None:
        """In percent; None where no run has it."""
        values = [row[key] for row in self.rows if row[key] is not None]
        return percent_of(values) if values else None

    def control(self, name: str, table: str = "controls") -> MeanInterval | None:
        """Of a control, in percent."""
        values = [row[table][name] for row in self.rows if name in row[table]]
        return percent_of(values) if values else None

    def numbers(self, name: str) -> int | None:
        """How many a control trains; None where no run has it."""
        return next((r["control_parameters"][name] for r in self.rows if name in r["control_parameters"]), None)

    def minus(self, name: str, table: str = "controls", own: str = "test") -> MeanInterval | None:
        """The run minus a control, seed by seed, in points."""
        return paired(by_seed(self.rows, lambda row: row[own]), by_seed(self.rows, lambda row: row[table].get(name)))


def groups(found: Mapping[str, Any], key: str = "cell") -> dict[Any, Group]:
    """Rows by a value of their cells, in their order."""
    names = dict.fromkeys(row[key] for row in found["rows"])
    return {name: Group(tuple(row for row in found["rows"] if row[key] == name)) for name in names}


def cell(found: MeanInterval | None) -> str:
    """Mean and spread, or nothing."""
    return "" if found is None else spread(found)


# -- tables -----------------------------------------------------------------------------------------------------


def bond_table(found: Mapping[str, Any]) -> str:
    """Accuracy by bond dimension beside what was published."""
    head = [
        "chi",
        "parameters (identifiable)",
        "seeds",
        "published %",
        "**test %**",
        "train %",
        "t10k %",
        "training, s",
    ]
    rows = []
    for chi, (mean, deviation) in BOND.items():
        group = groups(found).get(f"chi={chi}")
        if group is None:
            continue
        put_right = f"; put right {CORRECTED[chi][0]:.2f} ± {CORRECTED[chi][1]:.2f}" if chi in CORRECTED else ""
        first = group.first
        rows.append(
            [
                str(chi),
                f"{first['parameters']:,} ({first['identifiable']:,})",
                str(len(group.rows)),
                f"{mean:.2f} ± {deviation:.2f}{put_right}",
                f"**{cell(group.figure('test'))}**",
                cell(group.figure("train")),
                cell(group.figure("second")),
                f"{sum(row['wall_s'] for row in group.rows) / len(group.rows):.0f}",
            ]
        )
    return markdown(head, rows)


def difference(found: MeanInterval | None) -> str:
    """A mean of differences and its interval, or nothing."""
    return "" if found is None else interval(found, sign=True)


def noise_table(found: Mapping[str, Any]) -> str:
    """Accuracy by each figure of the noise, with and without mitigation, and the loss against none, seed by seed."""
    head = ["axis", "value", "seeds", "events behind the final p, fewest", "mitigated %", "loss, points (95 %)"]
    head += ["post-selected %", "loss, points (95 %)"]
    rows = []
    for axis, value in dict.fromkeys((row["axis"], row["value"]) for row in found["rows"]):
        both = {
            method: Group(
                tuple(r for r in found["rows"] if (r["axis"], r["value"], r["method"]) == (axis, value, method))
            )
            for method in ("auto", "post-select")
        }
        cells = []
        for group in both.values():
            if not group.rows:
                cells += ["", ""]
                continue
            cells += [cell(group.figure("test")), difference(noise_loss(found, group.rows))]
        first = both["auto"] if both["auto"].rows else both["post-select"]
        events = min(n for row in first.rows for n in row["events"])
        rows.append([axis, f"{value:g}", str(len(first.rows)), f"{events:,}", *cells])
    return markdown(head, rows)


def noise_loss(found: Mapping[str, Any], rows: Sequence[Row]) -> MeanInterval | None:
    """Points that runs lose against those without noise, seed by seed."""
    ideal = [row for row in found["rows"] if row["axis"] == "none"]
    if not ideal or rows[0]["axis"] == "none":
        return None
    return paired(by_seed(ideal, lambda r: r["test"]), by_seed(rows, lambda r: r["test"]))


def circuits_table(found: Mapping[str, Any]) -> str:
    """Accuracy by the number of QNNs and of photons."""
    head = ["QNNs", "photons", "modes", "outcomes", "phases", "numbers", "seeds", "test %", "t10k %"]
    rows = []
    for group in groups(found).values():
        first = group.first
        cells = [str(first["qnns"]), str(first["photons"]), first["modes"], f"{first['outcomes']:,}"]
        cells += [f"{first['phases']:,}", f"{first['parameters']:,}", str(len(group.rows))]
        rows.append([*cells, cell(group.figure("test")), cell(group.figure("second"))])
    return markdown(head, rows)


def phases_table(found: Mapping[str, Any]) -> str:
    """Generators of phases alone beside a random subspace of as many numbers, and their own circuits untrained."""
    head = ["circuits", "phases", "numbers", "seeds", "test %", "untrained circuits %", "random subspace %"]
    head += ["trained minus subspace, points (95 %)"]
    rows = []
    for name, group in groups(found).items():
        first = group.first
        cells = [name, f"{first['phases']:,}", f"{first['parameters']:,}", str(len(group.rows))]
        cells += [cell(group.figure("test")), cell(group.control("untrained_circuits"))]
        rows.append([*cells, cell(group.control("random_subspace")), difference(group.minus("random_subspace"))])
    return markdown(head, rows)
