"""``python -m tests.benchmarks.sweeps``: the same sweep by the workers of this machine and by two of Dask, in one run.

Prints a JSON line with the seconds of each, alternating, and their ratio: what scheduler and the way of the files cost.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import qpu_sdk as qs
from qpu_sdk.training.config import RunConfig

TURNS = 3
#: Some seconds a cell, of which no warm start is shared.
CONFIG = RunConfig(training={"warm_start_epochs": 24, "trials": 1}, spsa={"steps": 1})
OVER = {"seed": [1, 2, 3, 4]}
#: Nobody but this machine is listened to.
HERE = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}


def main() -> None:
    """Alternate, and print."""
    from distributed import LocalCluster

    seconds: dict[str, list[float]] = {"pool": [], "dask": []}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, **HERE) as cluster,
        TemporaryDirectory() as out,
    ):
        qs.sweep(CONFIG, Path(out) / "first", over={"seed": [0, 9]}, scheduler=cluster.scheduler_address)  # they import
        for turn in range(TURNS):
            for name in seconds:
                begun = time.perf_counter()
                options = {"workers": 2} if name == "pool" else {"scheduler": cluster.scheduler_address}
                qs.sweep(CONFIG, Path(out) / f"{name}{turn}", over=OVER, **options)
                seconds[name].append(time.perf_counter() - begun)
    pool, dask = (statistics.median(values) for values in seconds.values())
    found = {"benchmark": "sweep", "pool_s": round(pool, 2), "dask_s": round(dask, 2), "ratio": round(dask / pool, 3)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
