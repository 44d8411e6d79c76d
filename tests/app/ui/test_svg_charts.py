"""Static charts: round ticks within the axis, gaps, error bars, and bars that add up."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from app.ui import charts, svg_charts
from app.ui.charts import Series
from app.ui.svg_charts import Scale

_NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@settings(deadline=None)
@given(_NUMBERS, st.floats(1e-6, 1e6))
def test_ticks_are_few_and_within_the_scale(low: float, length: float) -> None:
    if low + length == low or length < abs(low) * 1e-9:
        return
    ticks = Scale(low, low + length, 0, 100).ticks()
    assert 2 <= len(ticks) <= svg_charts.TICKS + 2
    slack = 1e-6 * length
    assert all(low - slack <= tick <= low + length + slack for tick in ticks)


def test_lines_have_points_errors_and_their_colour() -> None:
    line = Series("DPO", "dpo", [(0, 0.0), (1, math.nan), (2, 4.0)], [0.5, 0.5, 0.5], held_out=True)
    drawn = str(svg_charts.charts([charts.figure("kl", "KL <x>", [line], zero=True)]))
    assert drawn.count("<circle") + drawn.count("<rect") == 2
    assert drawn.count("M") == 6
    assert "var(--hy-dpo)" in drawn
    assert "hy-zero-line" in drawn
    assert "KL &lt;x&gt;" in drawn


def test_one_point_and_equal_values_have_an_axis() -> None:
    for points in ([(3, 7.0)], [(0, 0.0), (1, 0.0)]):
        drawn = str(svg_charts.charts([charts.figure("a", "A", [Series("x", "hypo", points)])]))
        assert "nan" not in drawn
        assert "<polyline" in drawn


def test_an_empty_figure_is_left_out() -> None:
    assert "<svg" not in svg_charts.charts([charts.figure("a", "A", [])])
