"""
Stacked bars as plain figures; `usage/_chart.html` draws them as SVG, without scripts or inline styles.

A chart is drawn twice, wide and narrow, because one drawing scaled to a phone cannot be read; the style
sheet shows one of them. Coordinates are text, so that no number formatting of the page reaches them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from usage import amounts

COLOURS = 5  # the last one is grey and takes what is left
GREY = 5
Slot = date | datetime  # a bar: of a day, or of the hour that begins then


@dataclass(frozen=True, slots=True)
class Unit:
    """
    What the bars count: `value` prints an amount, `tick` a mark on an axis with such steps, and `unknown` stands for
    an amount of which nothing is known.
    """

    name: str
    value: Callable[[int], str]
    tick: Callable[[int, int], str]
    unknown: str

    def text(self, amount: int, gap: int) -> str:
        """An amount that does not cover `gap` calls."""
        if gap and not amount:
            return self.unknown
        return amounts.at_least(self.value(amount), if_incomplete=gap > 0)


@dataclass(frozen=True, slots=True)
class Series:
    """
    One value a bar; `gaps` count the calls that each of them does not cover, where there are any.

    `is_rest` is what the others leave: it stands last, in grey. `of_all` is given for what cannot be added up.
    """

    name: str
    values: tuple[int, ...]
    gaps: tuple[int, ...] = ()
    is_rest: bool = False
    of_all: int | None = None

    def gap_on(self, at: int) -> int:
        return self.gaps[at] if self.gaps else 0

    @property
    def total(self) -> int:
        return sum(self.values) if self.of_all is None else self.of_all

    @property
    def gap(self) -> int:
        return sum(self.gaps)


@dataclass(frozen=True, slots=True)
class Bars:
    """All bars of one series, as one shape."""

    colour: int
    path: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A label of an axis, with the line it stands at."""

    x: str
    y: str
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    id: str
    kind: str
    width: int
    height: int
    left: str
    right: str
    area: str  # all days over the whole height: where the pointer asks for the figures of one
    bars: tuple[Bars, ...]
    ticks: tuple[Mark, ...]
    labels: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class LegendItem:
    colour: int
    name: str
    total: str
    share: str


@dataclass(frozen=True, slots=True)
class TableRow:
    label: Slot
    values: tuple[tuple[str, str], ...]  # column name, text
    total: str


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    description: str
    unit: str
    plots: tuple[Plot, ...]
    legend: tuple[LegendItem, ...]
    rows: tuple[TableRow, ...]
    total: str
    slot: str = "Day"
    of: str = "Providers"  # what the legend lists

    @property
    def days_as_rows(self) -> SafeString:
        """Of its table. Made here, since a template takes several times as long for so many cells."""
        cell = '<td class="num" data-th="{}">{}</td>'
        rows = ((row, (*row.values, ("Total", row.total))) for row in self.rows)
        return format_html_join(
            "",
            '<tr><th scope="row">{}</th>{}</tr>',
            ((_in_full(row.label), format_html_join("", cell, cells)) for row, cells in rows),
        )


@dataclass(frozen=True, slots=True)
class Frame:
    kind: str
    width: int
    height: int
    labels: int
    left: float = 62
    right: float = 18
    top: float = 10
    bottom: float = 26


FRAMES = (Frame("wide", 720, 220, labels=6), Frame("narrow", 330, 200, labels=3))


def stacked_bars(
    *,
    name: str,
    title: str,
    days: Sequence[Slot],
    series: Sequence[Series],
    unit: Unit,
    of: str = "Providers",
    colours: int = COLOURS,
) -> Chart | None:
    """
    One column a day or hour, stacked by series, largest first; None when there is nothing to draw.

    What is incomplete says so: each amount, and the chart as a whole. A series of which nothing is known is not drawn,
    but its gaps are those of the totals, too.
    """
    whole = _add("Total", series) if series else None
    if whole is None or not whole.total:
        return None
    shown = _fold(series, colours)
    rows = tuple(
        TableRow(
            day,
            tuple((each.name, unit.text(each.values[at], each.gap_on(at))) for each in shown),
            unit.text(whole.values[at], whole.gap_on(at)),
        )
        for at, day in enumerate(days)
    )
    total = unit.text(whole.total, whole.gap)
    not_in_it = f" {whole.gap:,} call{'s are' if whole.gap > 1 else ' is'} not in it." if whole.gap else ""
    return Chart(
        title=f"{title} (incomplete)" if whole.gap else title,
        description=(
            f"{total[0].upper()}{total[1:]} {unit.name}, {days[0]:%-d %B %Y} to {days[-1]:%-d %B %Y}.{not_in_it}"
        ),
        unit=unit.name,
        plots=tuple(_plot(frame, name, days, shown, max(whole.values), unit, colours) for frame in FRAMES),
        legend=tuple(
            LegendItem(
                _colour(at, each, colours),
                each.name,
                unit.text(each.total, each.gap),
                share(each.total, whole.total) if each.of_all is None else "",
            )
            for at, each in enumerate(shown)
        ),
        rows=rows,
        total=total,
        slot="Hour" if isinstance(days[0], datetime) else "Day",
        of=of,
    )


def nice_ticks(most: int, about: int = 4) -> list[int]:
    """Marks from 0 to at least `most`, at steps of 1, 2, 2.5 or 5 times a power of ten (whole numbers)."""
    if most <= 0:
        return [0, 1]
    rough = most / about
    magnitude = 10 ** max(math.floor(math.log10(rough)), 0)
    steps = (int(factor * magnitude) for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough)
    step = next(steps)
    return [at * step for at in range(math.ceil(most / step) + 1)]


def share(part: int, whole: int) -> str:
    """A share in whole percent; small ones are not rounded to nothing."""
    if not whole:
        return "0%"
    percent = round(100 * part / whole)
    return "<1%" if part and not percent else f"{percent}%"


def _fold(series: Sequence[Series], colours: int) -> list[Series]:
    """Largest first; what exceeds the colours becomes one series."""
    ordered = sorted((each for each in series if each.total), key=lambda each: (each.is_rest, -each.total, each.name))
    if len(ordered) <= colours:
        return ordered
    return [*ordered[: colours - 1], _add("Other", ordered[colours - 1 :])]


def _colour(at: int, series: Series, colours: int) -> int:
    """Which of the --series colours of the style sheet."""
    if series.is_rest or at == colours - 1:
        return GREY
    return at + 1 if at + 1 < GREY else at + 2


def _in_full(slot: Slot) -> str:
    return f"{slot:%-d %b %Y, %H:%M}" if isinstance(slot, datetime) else f"{slot:%-d %b %Y}"


def _short(slot: Slot) -> str:
    if isinstance(slot, datetime) and slot.hour:
        return f"{slot:%H:%M}"
    return f"{slot:%-d %b}"


def _add(name: str, series: Sequence[Series]) -> Series:
    values = tuple(sum(of_day) for of_day in zip(*(each.values for each in series), strict=True))
    gaps = tuple(sum(each.gap_on(at) for each in series) for at in range(len(values)))
    return Series(name, values, gaps, of_all=series[0].of_all if len(series) == 1 else None)


def _plot(
    frame: Frame, name: str, days: Sequence[Slot], series: Sequence[Series], most: int, unit: Unit, colours: int
) -> Plot:
    ticks = nice_ticks(most)
    plot_height = frame.height - frame.top - frame.bottom
    base = frame.top + plot_height
    slot = (frame.width - frame.left - frame.right) / len(days)
    bars = []
    tops = [base] * len(days)
    for place, each in enumerate(series):
        shapes = []
        for at, value in enumerate(each.values):
            if value:
                height = max(value * plot_height / ticks[-1], 1)  # something is never drawn as nothing
                left, bottom = frame.left + slot * (at + 0.14), tops[at]
                tops[at] -= height
                shapes.append(_rectangle(left, tops[at], left + slot * 0.72, bottom))
        bars.append(Bars(_colour(place, each, colours), "".join(shapes)))
    return Plot(
        id=f"{name}-{frame.kind}",
        kind=frame.kind,
        width=frame.width,
        height=frame.height,
        left=_px(frame.left),
        right=_px(frame.width - frame.right),
        area=_rectangle(frame.left, frame.top, frame.width - frame.right, base),
        bars=tuple(bars),
        ticks=tuple(
            Mark(_px(frame.left - 8), _px(base - tick * plot_height / ticks[-1]), unit.tick(tick, ticks[1]))
            for tick in ticks
        ),
        labels=tuple(
            Mark(_px(frame.left + slot * (at + 0.5)), _px(frame.height - 8), _short(days[at]))
            for at in _labelled(days, frame.labels)
        ),
    )


def _labelled(slots: Sequence[Slot], about: int) -> Sequence[int]:
    """Which bars have their day or hour below: the last one and every so many before it, or round hours."""
    every = math.ceil(len(slots) / about)
    if isinstance(slots[0], datetime):
        step = next(hours for hours in (1, 2, 3, 4, 6, 8, 12, 24) if hours >= every)
        return [at for at, slot in enumerate(slots) if isinstance(slot, datetime) and slot.hour % step == 0]
    return list(reversed(range(len(slots) - 1, -1, -every)))


def _rectangle(left: float, top: float, right: float, bottom: float) -> str:
    """As a part of a path; by its edges, so that two that touch have the same one."""
    return f"M{_px(left)} {_px(top)}H{_px(right)}V{_px(bottom)}H{_px(left)}z"


def _px(number: float) -> str:
    """A tenth of a unit is less than what a screen shows."""
    return f"{number:.1f}".removesuffix(".0")
