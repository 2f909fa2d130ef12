"""
What an organization used in a period, by what, and how that compares with the period before: *Consumption*.

Every number comes from one definition, `Metric.value` of sums that were added up first; nothing is a sum of what is
shown. Each number has an address: the calls or the runs that it counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse

from organizations.models import Organization
from usage import amounts, audience
from usage.cells import Cell, Grouping, Totals, add_up, grouped, shown, totals
from usage.charts import Chart, Series, Unit, share, stacked_bars
from usage.consumption_form import ConsumptionForm
from usage.consumption_parts import Change, Consumption, Figure, Missing, Row
from usage.consumption_reading import DIMENSIONS, HOURS_SHOWN_DAYS, Reading, days_in_words, without
from usage.forms import NONE, Label
from usage.measures import MEASURES, Sums
from usage.metrics import BASE, METRICS, SMALL_USD, Group, Metric
from usage.models import Mode
from usage.names import OwnNames, provider_name

MOST_ROWS = 10
COLOURS = MOST_ROWS + 1
MOST_CELLS = 5000  # of groups by days: beyond, those that are drawn are read apart from the sum of all
Id = tuple[Any, ...]  # the values of the dimensions of a group
MANAGED_KEYS = UUID(int=0)  # stands for all keys of the operator, which organizations are not told apart


class Report:
    """One reading of the rollups for one address of the page."""

    def __init__(self, organization: Organization, form: ConsumptionForm, names: OwnNames, *, now: datetime) -> None:
        self.organization, self.form, self.names = organization, form, names
        self.metric, self.group, self.period = form.chosen_metric, form.chosen_group, form.chosen_period
        self.reading = Reading(organization, form, now=now)

    def read(self) -> Consumption:
        """Also tells the form what there is to choose from."""
        measures = tuple(name for name in MEASURES if name in {*BASE, *self.metric.needs, *self.metric.of_runs})
        by_group = Grouping(tuple(dict.fromkeys((*self.group.dimensions, "mode"))), measures)
        now, found = self.reading.of_period(by_group)
        self.form.offer(**found)
        before = self.reading.before(by_group)
        of_groups, were = grouped(now, self._id), grouped(before, self._id)
        ordered = sorted((each for each in of_groups if self._counts(of_groups[each])), key=self._order(of_groups))
        folds = len(ordered) > COLOURS and not self.form.shows_all
        top, rest = (ordered[:MOST_ROWS], ordered[MOST_ROWS:]) if folds else (ordered, [])
        other = None
        if rest:
            of_rest = [cell for each in rest for cell in of_groups[each]]
            were_rest = [cell for each in were if each not in top for cell in were[each]]
            other = self._row(f"Other ({len(rest):,})", of_rest, were_rest, now)
        return Consumption(
            period=self.period,
            metric=self.metric,
            group=self.group,
            figures=tuple(self._figures(now, before)),
            rows=tuple(
                self._row(self._name(each), of_groups[each], were.get(each, []), now, group_id=each) for each in top
            ),
            other=other,
            total=self._row("Total", now, before, now),
            chart=self._chart(ordered, now),
            groups=len(ordered),
            all_url=self.form.address(rows="all"),
            has_calls=bool(now),
            notes=tuple(self._notes()),
            before_words=self._before_words(),
        )

    def _id(self, cell: Cell) -> Id:
        if self.group.dimensions == ("key_id",) and cell.mode == Mode.MANAGED:
            return (MANAGED_KEYS,)
        return tuple(getattr(cell, name) for name in self.group.dimensions)

    @staticmethod
    def _counts(cells: Iterable[Cell]) -> bool:
        sums = add_up(cells)
        return bool(sums.calls or sums.runs or sums.cost_nanousd)

    def _order(self, of_groups: Mapping[Id, Sequence[Cell]]) -> Callable[[Id], tuple[Any, ...]]:
        def order(each: Id) -> tuple[Any, ...]:
            value = self._value(of_groups[each])
            return (value is None, -(value or 0), -add_up(of_groups[each]).calls, self._name(each).casefold())

        return order

    # Numbers

    def _value(self, cells: Sequence[Cell]) -> int | None:
        """Of all of `cells` together; None where nothing of it is known or may be shown."""
        if self.metric.is_usd:
            return totals(cells).cost_nanousd if cells else 0
        return self.metric.value(add_up(cells)) if cells else 0

    def _text(self, cells: Sequence[Cell], metric: Metric, unit: Unit | None = None) -> str:
        unit = unit or metric.unit
        if metric.is_usd and cells:
            return _usd_words(totals(cells), unit)
        value = metric.value(add_up(cells)) if cells else 0 if metric.adds_up else None
        return "–" if value is None else unit.text(value, metric.gap(add_up(cells)) if cells else 0)

    def _row(
        self,
        name: str,
        cells: Sequence[Cell],
        before: Sequence[Cell],
        whole: Sequence[Cell],
        group_id: Id | None = None,
    ) -> Row:
        metric = self.metric
        sums = add_up(cells) if cells else Sums()
        of_group = self._filters(group_id) if group_id is not None else {}
        has_page = group_id is not None or cells is whole
        value = self._value(cells)
        everything = self._value(whole)
        per_call, per_run = self._averages(cells)
        return Row(
            name=name,
            note=provider_name(group_id[0]) if group_id and self.group.dimensions == ("provider", "model") else "",
            value=self._text(cells, metric, self._unit(everything)),
            share=share(value, everything) if metric.adds_up and value is not None and everything else "",
            calls=amounts.count(sums.calls),
            runs=amounts.count(sums.runs),
            per_call=per_call,
            per_run=per_run,
            missing=self._missing(of_group, cells, metric) if has_page else (),
            change=self._change(cells, before, metric),
            filter_url=self.form.address(**of_group) if of_group else "",
            rows_url=self._rows_url(metric, of_group, cells) if has_page else "",
            calls_url=self._list_url("calls", of_group) if has_page else "",
            runs_url=self._list_url("runs", of_group) if has_page else "",
        )

    def _averages(self, cells: Sequence[Cell]) -> tuple[str, str]:
        if not cells:
            return "", ""
        metric, sums = self.metric, add_up(shown(cells) if self.metric.is_usd else cells)
        unit = SMALL_USD if metric.is_usd else metric.unit
        per_call = per_run = ""
        gap = metric.gap(sums)
        if metric.per_call and sums.calls - gap > 0:
            per_call = unit.value(_mean(metric.value(sums) or 0, sums.calls - gap))
        if metric.per_run is not None and not self._are_runs_not_summed:
            total, runs, missing = metric.per_run(sums)
            if runs and metric is METRICS["calls"]:
                per_run = f"{total / runs:,.2f}"
            elif runs:
                per_run = amounts.at_least(unit.value(_mean(total, runs)), if_incomplete=missing > 0)
        return per_call, per_run

    @property
    def _are_runs_not_summed(self) -> bool:
        """By label there are no sums of whole runs, neither of those that have it nor of the rest."""
        return bool(self.metric.of_runs and self.reading.label_name)

    def _change(self, now: Sequence[Cell], before: Sequence[Cell], metric: Metric) -> Change:
        was = _shown_value(metric, before)
        value = _shown_value(metric, now)
        text = self._text(before, metric) if before else metric.unit.value(0)
        if value is None or was is None:
            return Change("", text if before else "")
        if not was:
            return Change("new" if value else "", text, goes_up=bool(value))
        difference = value - was
        if not metric.adds_up and metric.unit.name == "of the input":
            points = Decimal(difference) / 100
            return Change(f"{points:+,.1f} points", text, difference > 0)
        percent = round(Decimal(100 * difference) / abs(was))
        return Change("as before" if not difference else f"{percent:+,d}%", text, difference > 0)

    def _unit(self, whole: int | None) -> Unit:
        """Four decimals where all of it is less than a dollar."""
        return SMALL_USD if self.metric.is_usd and (whole or 0) < amounts.ONE_USD else self.metric.unit

    def _missing(self, of_group: Mapping[str, str], cells: Sequence[Cell], metric: Metric) -> tuple[Missing, ...]:
        of = totals(cells)
        if metric.is_usd:
            own = {"mode": Mode.BYOK.value} if of.hidden_calls else {}
            calls = [
                (of.unpriced_calls, "unpriced", {"price": "unpriced", **own}),
                (of.unknown_calls, "without an answer", {"price": "no_answer", **own}),
                (of.hidden_calls if of.usd_calls else 0, "Managed", {"mode": Mode.MANAGED.value}),
            ]
        else:
            calls = [(metric.gap(add_up(cells)) if cells else 0, "did not report theirs", {"tokens": "not_reported"})]
        return tuple(
            Missing(f"{count:,} {what}", self._list_url("calls", {**of_group, **filters}))
            for count, what, filters in calls
            if count
        )

    def _figures(self, now: Sequence[Cell], before: Sequence[Cell]) -> Iterable[Figure]:
        of = totals(now)
        for slug in ("usd", "tokens", "calls", "runs", "errors"):
            metric = METRICS[slug]
            if metric.is_usd and not audience.sees_any_usd():
                continue
            note = ""
            if slug == "tokens":
                note = f"{of.input_tokens:,} in, {of.output_tokens:,} out"
            elif slug == "errors" and of.calls:
                note = f"{share(of.failed_calls, of.calls)} of the calls"
            yield Figure(
                "Estimated USD" if slug == "usd" else metric.label,
                self._text(
                    now, metric, SMALL_USD if metric.is_usd and (of.cost_nanousd or 0) < amounts.ONE_USD else None
                ),
                note,
                self._change(now, before, metric),
                self._rows_url(metric, {}, now),
                self._missing({}, now, metric),
            )

    def _notes(self) -> Iterable[str]:
        if not self.metric.adds_up:
            yield (
                f"{self.metric.label} cannot be added up: the drawing is of all calls together, and each row is worked "
                "out from its own calls."
            )
        if self._are_runs_not_summed:
            yield "Labels are of calls and not of runs, so by label there is no average of a run."
        if len(self.period.days) <= HOURS_SHOWN_DAYS and not self.reading.is_by_hour:
            what = (
                "Keys, API tokens, members and labels are" if not self.reading.is_coarse else "So long ago, calls are"
            )
            yield f"{what} summed by the day alone, so the drawing is by the day."

    def _before_words(self) -> str:
        days = days_in_words(self.period.before_first, self.period.before_last)
        if until := self.reading.before_until:
            return f"{days}, up to {until:%H:%M} of its last day as today is not over"
        return days if self.period.is_over else f"{days}, as a whole, while today is not over"

    # Drawing

    def _chart(self, ordered: Sequence[Id], now: Sequence[Cell]) -> Chart | None:
        metric, reading = self.metric, self.reading
        whole = Grouping(("mode",), ("calls", *metric.needs))
        if metric.adds_up:
            top = ordered[:MOST_ROWS] if len(ordered) > COLOURS else ordered
            by_group = Grouping(tuple(dict.fromkeys((*self.group.dimensions, "mode"))), whole.measures)
            is_much = len(ordered) * len(reading.slots) > MOST_CELLS
            of_top = [
                cell
                for cell in reading.of_slots(by_group, top if is_much else ())
                if not is_much or self._id(cell) in top
            ]
            of_groups = grouped(self._drawn(of_top), self._id)
            rest = [cell for each, group in of_groups.items() if each not in top for cell in group]
            if is_much:
                slot = "hour" if reading.is_by_hour else "day"
                rest = self._drawn(without(reading.of_slots(whole), of_top, (slot, "mode")))
            series = [self._series(self._name(each), of_groups.get(each, [])) for each in top]
            series.append(self._series("Other", rest, is_rest=True))
        else:
            of_all = metric.value(add_up(now)) if now else 0
            series = [self._series("All calls", reading.of_slots(whole), of_all=of_all)]
        unit = self._unit(sum(each.total for each in series))
        slot = "an hour" if reading.is_by_hour else "a day"
        return stacked_bars(
            name="consumption",
            title=f"{metric.label} {slot}{f' by {self.group.label.lower()}' if metric.adds_up else ''}",
            days=reading.slots,
            series=series,
            unit=unit,
            of=self.group.label if metric.adds_up else "What is drawn",
            colours=COLOURS,
        )

    def _drawn(self, cells: Iterable[Cell]) -> list[Cell]:
        return shown(cells) if self.metric.is_usd else list(cells)

    def _series(self, name: str, cells: Iterable[Cell], **more: Any) -> Series:
        of_slots: defaultdict[date | datetime | None, list[Cell]] = defaultdict(list)
        for cell in cells:
            of_slots[cell.hour or cell.day].append(cell)
        sums = [add_up(of_slots[slot]) if slot in of_slots else Sums() for slot in self.reading.slots]
        return Series(
            name, tuple(self.metric.value(each) or 0 for each in sums), tuple(map(self.metric.gap, sums)), **more
        )

    # Names and addresses

    def _name(self, group_id: Id) -> str:
        return group_name(self.group, group_id, self.names)

    def _filters(self, group_id: Id) -> dict[str, str]:
        """Of the address: what shows this group alone."""
        dimensions = self.group.dimensions
        if group_id == (MANAGED_KEYS,) and dimensions == ("key_id",):
            return {"mode": Mode.MANAGED.value}
        if dimensions == ("value",):
            return {"label": str(Label(self.form.label_name, group_id[0]))}
        fields = {dimension: field for field, dimension in DIMENSIONS.items()}
        return {
            fields.get(dimension, dimension): str(value) if value else NONE
            for dimension, value in zip(dimensions, group_id, strict=True)
        }

    def _rows_url(self, metric: Metric, of_group: Mapping[str, str], cells: Sequence[Cell]) -> str:
        more = dict(metric.rows)
        if metric.is_usd and cells and (of := totals(cells)).hidden_calls and of.usd_calls:
            more["mode"] = Mode.BYOK.value
        return self._list_url("runs" if metric.by_runs else "calls", {**of_group, **more})

    def _list_url(self, page: str, filters: Mapping[str, str]) -> str:
        asked = {
            "from": self.period.first.isoformat(),
            "to": self.period.last.isoformat(),
            **self.form.filters_in_address,
            **filters,
        }
        return f"{reverse(page, args=[self.organization.slug])}?{urlencode(asked)}"


def group_name(group: Group, group_id: Id, names: OwnNames) -> str:
    (*_, value) = group_id
    match group.dimensions:
        case ("action",):
            return names.action(value)
        case ("provider",):
            return provider_name(value)
        case ("mode",):
            return str(Mode(value).label) if value in Mode.values else str(value)
        case ("key_id",):
            return "Keys of the operator" if value == MANAGED_KEYS else names.key(value)
        case ("token_id",):
            return names.token(value)
        case ("member_id",):
            return names.member(value)
    return str(value) or "Without this label"


def _shown_value(metric: Metric, cells: Sequence[Cell]) -> int | None:
    if not cells:
        return 0 if metric.adds_up else None
    return totals(cells).cost_nanousd if metric.is_usd else metric.value(add_up(cells))


def _usd_words(of: Totals, unit: Unit) -> str:
    if of.has_no_token_charges:
        return amounts.WITHOUT_CHARGES
    if of.cost_nanousd is not None:
        return amounts.at_least(unit.value(of.cost_nanousd), if_incomplete=of.is_incomplete)
    if of.unpriced_calls:
        return amounts.UNPRICED
    return amounts.NOT_KNOWN if of.unknown_calls else audience.why_hidden()


def _mean(total: int, count: int) -> int:
    return round(Decimal(total) / count)
