"""The studies: what the tests do with few devices, programs and kills, with many."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final
from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis.internal.detection import is_hypothesis_test
from scipy import stats

from tests.calibration import test_fit
from tests.devices.cloud import test_decoding, test_payload
from tests.mitigation import test_detector, test_distribution, test_fusion, test_mitigate
from tests.photonics import test_counts, test_decomposition, test_interferometer, test_permanents
from tests.runs import test_kill, test_soak
from tests.training import test_spsa
from tests.validation.exported import differences, in_a_browser
from tests.validation.notebooks import SCRIPTS, executed


@final
@dataclass(frozen=True)
class Figure:
    """One number, and between which it must lie."""

    what: str
    value: float
    low: float
    high: float

    @property
    def ok(self) -> bool:
        """Whether it does."""
        return bool(self.low <= self.value <= self.high)


@final
@dataclass(frozen=True)
class Study:
    """Figures of a kind, and what they are of."""

    name: str
    data: str
    seeds: str
    figures: Callable[[Path], Iterator[Figure]]


DEVICES, FITS, RECORDS, PROGRAMS, FUSED, DRAWS, EXAMPLES, KILLS = 100, 300, 200, 100, 1000, 3000, 1000, 100
#: Where properties are.
PROPERTIES = (
    test_counts,
    test_decoding,
    test_decomposition,
    test_distribution,
    test_interferometer,
    test_payload,
    test_permanents,
    test_spsa,
)
SIGMAS = 4.0
FAMILIES = {"I": "overlap", "g2": "g2", "t": "transmissions", "eta": "efficiencies"}


def pulls(*, windows: bool) -> Callable[[Path], Iterator[Figure]]:
    """Of the fit: mean 0, deviation 1."""

    def figures(_: Path) -> Iterator[Figure]:
        z = test_fit.pulls(DEVICES, windows=windows)
        for family, where in test_fit.families(3, 6).items():
            mine = z[:, where]
            yield Figure(f"{FAMILIES[family]}: mean", float(mine.mean()), -0.2, 0.2)
            yield Figure(f"{FAMILIES[family]}: standard deviation", float(mine.std()), 0.85, 1.15)

    return figures


def covariance(_: Path) -> Iterator[Figure]:
    """Of the fit, all parameters together."""
    p = stats.kstest(test_fit.squared_distances(FITS), stats.chi2(7).cdf).pvalue
    yield Figure("p-value of d^T C^-1 d being chi-square of 7 degrees", float(p), 1e-3, 1.0)


def goodness(_: Path) -> Iterator[Figure]:
    """P-values of a device that is the model."""
    for dark in (0.0, 1e-4):
        records = test_fit.right(dark, RECORDS)
        for test in ("fit", "validation", "drift"):
            p = stats.kstest([getattr(record, test).p_value for record in records], "uniform").pvalue
            yield Figure(f"{test}, dark counts {dark:g}: p-value of uniformity", float(p), 1e-3, 1.0)


def fused(_: Path) -> Iterator[Figure]:
    """Intervals of fusion."""
    for level in (0.5, 0.9):
        inside, trials = test_fusion.truths_inside(level, programs=FUSED)
        spread = SIGMAS * stats.binom.std(trials, level) / trials
        yield Figure(f"truths inside intervals of {level:.0%}", inside / trials, level - spread, level + spread)


def mitigated(_: Path) -> Iterator[Figure]:
    """Distances and intervals of the whole pipeline."""
    for detector in ("threshold", "pnr"):
        gains, held = test_mitigate.of_random_programs(detector, PROGRAMS)
        sigmas = np.mean(gains) / np.std(gains, ddof=1) * np.sqrt(len(gains))
        yield Figure(f"{detector}: mean gain in distance, in its standard errors", float(sigmas), 3.0, np.inf)
        yield Figure(f"{detector}: truths inside intervals of 95 %", float(np.mean(held)), 0.90, 1.0)


def variances(_: Path) -> Iterator[Figure]:
    """Of corrected responses: the spread of repeated counts over the predicted one."""
    for detector in ("threshold", "pnr"):
        _, statistic = test_detector.repeated(detector, DRAWS)
        ratios, tail = statistic / (DRAWS - 1), 1e-4 / (2 * len(statistic))
        low, high = (float(stats.chi2.ppf(q, DRAWS - 1)) / (DRAWS - 1) for q in (tail, 1.0 - tail))
        for name, value in (("smallest", ratios.min()), ("largest", ratios.max())):
            yield Figure(f"{detector}: {name} ratio of variances", float(value), 0.98 * low, 1.02 * high)


def killed(folder: Path) -> Iterator[Figure]:
    """A run on this machine; it raises when a bit differs."""
    test_kill.killed_and_resumed(folder, kills=KILLS)
    yield Figure("runs that ended with other bits", 0, 0, 0)


def soaked(folder: Path) -> Iterator[Figure]:
    """A run on two emulated machines with faults; it raises when a bit differs or a setting is run twice."""
    with patch.dict(os.environ, {"PCVL_CLOUD_TOKEN": test_soak.TOKEN}):
        jobs, settings = test_soak.soak(folder, kills=KILLS)
    yield Figure("jobs at the provider", jobs, 1, np.inf)
    yield Figure("settings run", settings, 1, np.inf)
    yield Figure("settings paid for twice", 0, 0, 0)


def exported(folder: Path) -> Iterator[Figure]:
    """Files of a run where nothing of the SDK is; it raises when a prediction differs."""
    for name, difference in differences(folder):
        yield Figure(f"where only {name} is: largest difference of a logit, of the largest", difference, 0, 1e-5)


def page_in_a_browser(folder: Path) -> Iterator[Figure]:
    """The demo page in Chromium; it raises when it makes a request."""
    difference = in_a_browser(folder)
    if difference is not None:
        yield Figure("largest difference of a probability, page and onnxruntime", difference, 0, 1e-3)


def notebooks(folder: Path) -> Iterator[Figure]:
    """Those of examples, executed; a cell that fails raises."""
    for script in SCRIPTS:
        cells = [cell for cell in executed(script, folder).cells if cell.cell_type == "code"]
        yield Figure(f"{script.stem}: cells that printed nothing", sum(not cell.outputs for cell in cells), 0, 1)


def properties(_: Path) -> Iterator[Figure]:
    """Of the tests with random examples: a failure raises."""
    found = [
        test
        for module in PROPERTIES
        for test in vars(module).values()
        if is_hypothesis_test(test) and not inspect.signature(test).parameters and not hasattr(test, "pytestmark")
    ]
    for test in found:
        test._hypothesis_internal_use_settings = settings(
            test._hypothesis_internal_use_settings, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck)
        )
        test()
    yield Figure("properties", len(found), 1, np.inf)
    yield Figure("examples that contradict one", 0, 0, 0)


RANDOM = f"{DEVICES} random devices, 6 modes, 3 photons, 2,000,000 pulses a setting"
STUDIES = (
    Study("pulls of the fit", RANDOM, "20260301; 0 to 99", pulls(windows=False)),
    Study("pulls of the fit, empty windows known", RANDOM, "20260301; 0 to 99", pulls(windows=True)),
    Study("covariance of the fit", f"{FITS} equal devices, 4 modes, 300,000 pulses", "0 to 299", covariance),
    Study("goodness of fit", f"{RECORDS} equal devices, 4 modes, 200,000 pulses", "0 to 199", goodness),
    Study("intervals of fusion", f"{FUSED} truths from the prior, 35 outcomes, 400 events", "1", fused),
    Study("mitigation", f"{PROGRAMS} random programs, 6 modes, 3 photons, 1,000,000 shots", "0 to 99", mitigated),
    Study("variances of the response", f"{DRAWS} draws of 100,000 shots, 4 modes, 2 photons", "3", variances),
    Study("properties", f"{EXAMPLES:,} random examples of each", "derandomised", properties),
    Study("killed runs", f"one run, killed {KILLS} times", "5, 11", killed),
    Study("exported files", "one run, 30 test images, three environments", "0", exported),
    Study("demo page", "the same run, one drawing in Chromium", "0", page_in_a_browser),
    Study("notebooks", f"{len(SCRIPTS)} of examples, without a display", "1", notebooks),
    Study("soak", f"two emulated machines with faults, killed {KILLS} times", "4, 8", soaked),
)
