from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
from django.template.loader import render_to_string

from usage import amounts
from usage.charts import Series, nice_ticks, share, stacked_bars
from usage.cost_panel import SMALL_USD, TOKENS

DAYS = tuple(date(2026, 11, 1) + timedelta(days=at) for at in range(10))


def chart(*series, days=DAYS, unit=TOKENS):
    return stacked_bars(name="test", title="Tokens a day", days=days, series=series, unit=unit)


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (3, [0, 1, 2, 3]),
        (930, [0, 250, 500, 750, 1000]),
        (123_456_789, [0, 50_000_000, 100_000_000, 150_000_000]),
    ],
)
def test_ticks_are_round_and_reach_the_top(most, expected):
    assert nice_ticks(most) == expected


def rectangles(bars) -> list[tuple[float, ...]]:
    """Left, top, right and bottom of each bar of a series."""
    shapes = re.findall(r"M([\d.]+) ([\d.]+)H([\d.]+)V([\d.]+)H[\d.]+z", bars.path)
    return [tuple(map(float, shape)) for shape in shapes]


def test_bars_stack_from_the_base_largest_series_first():
    small = Series("Small", (0,) * 9 + (25,))
    large = Series("Large", (0,) * 9 + (75,))

    wide = chart(small, large).plots[0]

    base = wide.height - 26
    assert [bars.colour for bars in wide.bars] == [1, 2]
    (lower,), (upper,) = map(rectangles, wide.bars)
    assert lower[3] == base
    assert upper[3] == lower[1]
    assert lower[3] - lower[1] == pytest.approx(3 * (upper[3] - upper[1]), abs=0.2)  # drawn to a tenth
    assert lower[2] < float(wide.right)
    assert lower[0] > float(wide.right) - (float(wide.right) - float(wide.left)) / 10  # in the last of ten days


def test_a_series_is_one_shape_however_many_days_it_has():
    html = render_to_string("usage/_chart.html", {"chart": chart(Series("One", (7,) * 10), Series("Two", (5,) * 10))})

    assert html.count('class="bar"') == 2 * 2


def test_it_is_drawn_wide_and_narrow_with_fewer_labels():
    wide, narrow = chart(Series("One", (1,) * 10)).plots

    assert (wide.width, wide.height, narrow.width, narrow.height) == (720, 220, 330, 200)
    assert [label.text for label in wide.labels] == ["2 Nov", "4 Nov", "6 Nov", "8 Nov", "10 Nov"]
    assert [label.text for label in narrow.labels] == ["2 Nov", "6 Nov", "10 Nov"]


def test_the_legend_and_the_table_hold_every_value_as_text():
    drawn = chart(Series("One", (1000,) + (0,) * 9), Series("Two", (1,) + (0,) * 8 + (2,)))

    assert [(item.name, item.total, item.share) for item in drawn.legend] == [
        ("One", "1,000", "100%"),
        ("Two", "3", "<1%"),
    ]
    assert len(drawn.rows) == 10
    assert drawn.rows[0].values == (("One", "1,000"), ("Two", "1"))
    assert drawn.rows[1].values == (("One", "0"), ("Two", "0"))
    assert (drawn.rows[9].total, drawn.total) == ("2", "1,003")
    assert drawn.description == "1,003 tokens, 1 November 2026 to 10 November 2026."


def test_what_exceeds_the_colours_becomes_other():
    drawn = chart(*(Series(f"P{size}", (size,) * 10) for size in range(1, 8)))

    assert [item.name for item in drawn.legend] == ["P7", "P6", "P5", "P4", "Other"]
    assert drawn.legend[-1].total == "60"


def test_nothing_is_not_drawn():
    assert chart(Series("One", (0,) * 10)) is None
    assert chart() is None


def test_the_drawing_needs_no_inline_style_or_script_and_no_localized_number():
    drawn = chart(Series("<b>", (123_456,) * 10), unit=SMALL_USD)

    html = render_to_string("usage/_chart.html", {"chart": drawn})

    assert html.count("<svg class=") == 2
    assert "style=" not in html
    assert "<script" not in html
    assert "<b>" not in html
    assert 'viewBox="0 0 720 220"' in html


@pytest.mark.parametrize(("part", "whole", "expected"), [(0, 0, "0%"), (1, 3, "33%"), (1, 1000, "<1%"), (0, 5, "0%")])
def test_shares(part, whole, expected):
    assert share(part, whole) == expected


@pytest.mark.parametrize(
    ("nanousd", "two", "four"),
    [
        (None, "unpriced", "unpriced"),
        (0, "$0.00", "$0.0000"),
        (1, "<$0.01", "<$0.0001"),
        (50_000, "<$0.01", "<$0.0001"),
        (123_400_000, "$0.12", "$0.1234"),
        (1_234_567_890_000, "$1,234.57", "$1,234.5679"),
        (-2_500_000_000, "-$2.50", "-$2.5000"),
    ],
)
def test_dollars_are_never_zero_for_something(nanousd, two, four):
    assert (amounts.dollars(nanousd), amounts.dollars(nanousd, places=4)) == (two, four)


@pytest.mark.parametrize(
    ("nanousd", "step", "expected"),
    [
        (0, 10**9, "$0"),
        (5 * 10**9, 10**9, "$5"),
        (5 * 10**8, 25 * 10**7, "$0.50"),
        (2_500_000, 2_500_000, "$0.0025"),
        (1_500 * 10**9, 500 * 10**9, "$1,500"),
    ],
)
def test_dollar_ticks_have_as_many_decimals_as_tell_them_apart(nanousd, step, expected):
    assert amounts.dollar_tick(nanousd, step) == expected


@pytest.mark.parametrize(
    ("number", "step", "expected"),
    [
        (0, 50, "0"),
        (750, 250, "750"),
        (2500, 500, "2.5k"),
        (100_000, 50_000, "100k"),
        (2_000_000, 10**6, "2M"),
    ],
)
def test_count_ticks_are_short(number, step, expected):
    assert amounts.count_tick(number, step) == expected
