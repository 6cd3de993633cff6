"""Every page as a browser shows it: on a desk and on a phone, in the light and in the dark, without a script."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qpu_sdk.calibration.history import CalibrationHistory
from qpu_sdk.calibration.history_page import history_page
from qpu_sdk.calibration.page import record_page
from qpu_sdk.comparison.page import comparison_page
from qpu_sdk.mitigation.distribution import Distribution
from qpu_sdk.mitigation.page import distribution_page
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.runs.gathered import gather
from qpu_sdk.runs.mistakes import Mistakes, WrongImage
from qpu_sdk.runs.page import report_page, run_page
from tests.browser import browser, needs_chromium
from tests.calibration.test_history import on_day
from tests.calibration.test_page import RECORDS
from tests.comparison.test_compare import comparison
from tests.mitigation.test_page import mitigated
from tests.runs.test_page import read, write_run
from tests.runs.test_summary import example as summary


def a_run(folder: Path) -> str:
    found = {"controls": {"constant": 0.4, "frozen_random": 0.3}, "test_accuracy": 0.9}
    run = write_run(folder / "run", **found)
    picture = base64.b64encode(bytes(range(36)) * 7).decode()[: 4 * 84]
    wrong = WrongImage(index=3, label=1, answer=2, probability=0.9, shape=(1, 14, 18), pixels=picture)
    run.mistakes.write_text(Mistakes(confusion=((5, 1), (0, 4)), worst=(wrong,) * 5).model_dump_json())
    return run_page("a run", run, summary(**found))


def many(folder: Path) -> str:
    for seed in range(2):
        write_run(folder / f"a{seed}", seed=seed, controls={"constant": 0.4})
        write_run(folder / f"b{seed}", f"seed = {seed}\n[generator]\nbond_dim = 3", seed=seed)
    return report_page(gather([folder]))


def raw(_: Path) -> str:
    few = Counts(photons=2, outcomes=np.array([[1, 1, 0], [1, 0, 1]]), numbers=np.array([1, 0]))
    found = Distribution(probabilities=np.array([1.0, 0.0, 0.0]), samples=1, shots=1, raw=few)
    return distribution_page("One event", [found])


PAGES: dict[str, Callable[[Path], str]] = {
    "run": a_run,
    "many": many,
    "calibration": lambda _: record_page(RECORDS["pairs"]()),
    "large calibration": lambda _: record_page(RECORDS["large"]()),
    "vendor": lambda _: record_page(RECORDS["vendor"]()),
    "history": lambda _: history_page(
        CalibrationHistory.of("d", [on_day(day, g2=0.02 + 0.01 * day) for day in range(4)])
    ),
    "comparison": lambda _: comparison_page(comparison()),
    "mitigation": lambda _: distribution_page("Mitigation", [mitigated(9, 4), mitigated()]),
    "raw": raw,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every page, written once."""
    folder = tmp_path_factory.mktemp("pages")
    found = {name: folder / f"{name}.html" for name in PAGES}
    for name, file in found.items():
        file.write_text(PAGES[name](folder / name), encoding="utf-8")
    return found


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_its_verdict_first_and_needs_nothing(name: str, files: dict[str, Path]) -> None:
    text = files[name].read_text(encoding="utf-8")
    reader = read(text)
    assert not {"script", "link", "iframe", "img"} & reader.tags
    assert all(target.startswith(("#", "data:image/png")) for target in reader.loaded)
    assert '<html lang="en">' in text
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in text
    body = text[text.index("<body>") :]
    assert body.index('class="verdict"') < min(body.index(tag) for tag in ("<svg", "<table", "<p>") if tag in body)
    assert "+- " not in reader.text
    assert "1 events" not in reader.text


#: What a reader could not read: the least size of text in figures, pixels, and the least contrast to the ground.
LOOK = """(() => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(x => x / 255)
      .map(x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const contrast = (a, b) => (Math.max(light(a), light(b)) + .05) / (Math.min(light(a), light(b)) + .05);
  document.querySelectorAll("details").forEach(one => one.open = true);
  const ground = getComputedStyle(document.body).backgroundColor;
  const texts = [...document.querySelectorAll("svg text")].filter(one => one.textContent.trim());
  const size = one => { const m = one.getScreenCTM();
      return parseFloat(getComputedStyle(one).fontSize) * Math.hypot(m.a, m.b); };
  const others = [...document.querySelectorAll("p, td, th, h1, h2, h3, summary, li")];
  const boxes = [...document.querySelectorAll("body *")].map(one => getComputedStyle(one).backgroundColor)
      .filter(c => c !== "rgba(0, 0, 0, 0)");
  return {
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    outside: [...document.querySelectorAll("body *")].filter(one => !one.closest(".scroll") && !one.closest("svg *")
        && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 80)),
    smallest: Math.min(99, ...texts.map(size)),
    faintest: Math.min(...texts.map(one => contrast(getComputedStyle(one).fill, ground)),
        ...others.map(one => contrast(getComputedStyle(one).color, ground))),
    ground: light(ground), lightest: Math.max(0, ...boxes.map(light)),
  };
})()"""


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_is_readable_and_fits(width: int, files: dict[str, Path], tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as page:
        for name, file in files.items():
            for scheme in ("light", "dark"):
                page.open(file.as_uri(), width=width, scheme=scheme)
                page.wait("document.readyState == 'complete' && document.querySelector('h1') !== null")
                found = page.value(LOOK)
                case = (name, scheme, found)
                assert found["wide"] <= 0, case
                assert found["outside"] == [], case
                assert found["smallest"] >= 8.0, case
                assert found["faintest"] >= 4.5, case
                assert found["ground"] < 0.05 if scheme == "dark" else found["ground"] > 0.9, case
                assert scheme == "light" or found["lightest"] < 0.1, case
        assert page.errors == []
        assert {address.partition(":")[0] for address in page.requests} <= {"file", "data"}
