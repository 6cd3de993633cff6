"""Heat maps: every number in its square, the colours transparent to their ground, the figures of what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from qpu_sdk.calibration.overlaps import draw_overlaps, overlaps_of
from qpu_sdk.errors import CalibrationError
from qpu_sdk.mitigation.correlations import MOST_SQUARES, error_correlations
from qpu_sdk.rendering.figures import svg
from qpu_sdk.rendering.heat_map import draw_heat_map
from tests.calibration.test_page import large
from tests.calibration.test_record import example, number, pairs
from tests.mitigation.test_page import mitigated


def squares(axes: Axes) -> dict[tuple[int, int], tuple[float, ...]]:
    """Colours by row and column."""
    return {
        (round(patch.get_y() + 0.5), round(patch.get_x() + 0.5)): to_rgba(patch.get_facecolor())
        for patch in axes.patches
        if isinstance(patch, Rectangle)
    }


def test_the_fuller_the_larger_and_the_sign_is_the_colour() -> None:
    values = np.array([[0.5, -1.0], [math.nan, 0.25]])
    axes = Figure().subplots()
    draw_heat_map(axes, values, ["a", "b"], full=1.0)
    found = squares(axes)
    assert set(found) == {(0, 0), (0, 1), (1, 1)}
    for (row, column), (red, green, blue, alpha) in found.items():
        colour = "tab:blue" if values[row, column] >= 0 else "tab:orange"
        assert (red, green, blue) == pytest.approx(to_rgba(colour)[:3])
        assert alpha == pytest.approx(0.75 * abs(values[row, column]))
    assert not axes.texts


def test_correlations_are_those_of_draws() -> None:
    """Of the covariance that many draws with it have."""
    rng, mixing = np.random.default_rng(1), np.array([[1.0, 0.5, 0.0], [0.0, 1.0, -2.0], [0.3, 0.0, 1.0]])
    drawn = mixing @ rng.normal(size=(3, 200_000))
    found = error_correlations(mixing @ mixing.T)
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(found[off], np.corrcoef(drawn)[off], atol=0.01)
    assert np.isnan(np.diag(found)).all()
    assert np.isnan(error_correlations(np.diag([1.0, 0.0]))).all()


def test_a_distribution_draws_its_own_covariance() -> None:
    found = mitigated(9, 4)
    axes = found.draw_correlations().axes[0]
    shown = sorted(found.shown().most_probable(MOST_SQUARES))
    assert [label.get_text() for label in axes.get_xticklabels()] == [found.shown().names[k] for k in shown]
    expected = error_correlations(found.covariance)[np.ix_(shown, shown)]
    alphas = np.full(expected.shape, np.nan)
    for place, colour in squares(axes).items():
        alphas[place] = colour[3]
    known = np.isfinite(expected)
    assert (np.isfinite(alphas) == known).all()
    np.testing.assert_allclose(alphas[known], 0.75 * np.abs(expected[known]) / np.abs(expected[known]).max(), rtol=1e-6)


def test_overlaps_are_the_records_both_ways() -> None:
    record = example(**pairs())
    values, errors = overlaps_of(record)
    assert np.isnan(np.diag(values)).all()
    for name, measured in record.measured().items():
        if name.startswith("indistinguishability["):
            j, k = (record.input_modes.index(int(mode)) for mode in name[21:-1].split(","))
            assert values[j, k] == values[k, j] == measured.value
            assert errors[j, k] == errors[k, j] == measured.standard_error
    texts = [text.get_text() for text in draw_overlaps(record).axes[0].texts]
    assert texts.count("0.810\n± 0.010") == 6


def test_one_overlap_for_all_is_no_map() -> None:
    with pytest.raises(CalibrationError, match="one indistinguishability for all pairs"):
        overlaps_of(example())


def test_many_sources_have_squares_without_numbers() -> None:
    axes = draw_overlaps(large()).axes[0]
    assert len(squares(axes)) == 12 * 11
    assert not axes.texts


def test_on_a_page_the_colours_are_the_pages() -> None:
    low = [{"modes": list(m), **number(0.5, 0.01)} for m in ((0, 1), (0, 2))]
    record = example(**(pairs() | {"indistinguishability": [*low, {"modes": [1, 2], **number(0.9, 0.01)}]}))
    drawn = svg(draw_overlaps(record), title="overlaps")
    assert "var(--blue" in drawn
    assert "fill: #1f77b4" not in drawn
