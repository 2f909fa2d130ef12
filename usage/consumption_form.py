"""What the address of *Consumption* asks for: what is counted, by what, of which calls, and in which period."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django import forms
from django.http import QueryDict

from usage.audience import OF_OWNERS, sees_any_usd
from usage.days import MONTH, WEEK, first_day, last_of_month, months_before
from usage.forms import CallForm
from usage.metrics import BY_LABEL, GROUPS, METRICS, Group, Metric, group_by_label

MOST_DAYS = 366
EARLIEST = date(2000, 1, 1)  # no call is as old, and there is a period before it to compare with
CUSTOM = "custom"
PERIODS = {
    "today": "Today",
    "7d": "7 days",
    "30d": "30 days",
    "month": "This month",
    "last_month": "Last month",
    CUSTOM: "Custom",
}
FILTERS = ("provider", "model", "action", "mode", "key", "token", "member", "label")
ORIGINS = ("key", "token", "member")  # groups and filters both
APART = "Labels are summed apart from keys, API tokens and members. Choose one of them."
DEFAULTS = {"group": "action", "period": "30d"}


@dataclass(frozen=True, slots=True)
class Period:
    """UTC days, both included, and those that it is compared with."""

    slug: str
    first: date
    last: date
    before_first: date
    before_last: date
    is_over: bool

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=at) for at in range((self.last - self.first).days + 1)]

    @property
    def label(self) -> str:
        return PERIODS[self.slug]


def period_of(slug: str, today: date, first: date | None = None, last: date | None = None) -> Period:
    """Of a custom one, `first` and `last` are given. A month is compared with the same days of the month before it."""
    if slug in ("month", "last_month"):
        start = today.replace(day=1)
        first, last = (start, today) if slug == "month" else (months_before(start, 1), start - timedelta(days=1))
        before = months_before(first, 1)
        before_last = first - timedelta(days=1)
        if slug == "month":
            before_last = min(before_last, before.replace(day=min(today.day, last_of_month(before).day)))
        return Period(slug, first, last, before, before_last, is_over=last < today)
    if first is None or last is None:
        first, last = first_day(today, {"today": 1, "7d": WEEK}.get(slug, MONTH)), today
    length = last - first + timedelta(days=1)
    return Period(slug, first, last, first - length, first - timedelta(days=1), is_over=last < today)


class ConsumptionForm(CallForm):
    """Nothing that cannot be read is applied, and each is said with what to do instead."""

    metric = forms.CharField(required=False, max_length=40, widget=forms.Select)
    group = forms.CharField(required=False, label="By", max_length=250, widget=forms.Select)
    period = forms.CharField(required=False, max_length=40, widget=forms.HiddenInput)
    model = forms.CharField(required=False, max_length=200, widget=forms.Select)

    def __init__(self, address: QueryDict, *, today: date, **names: Any) -> None:
        self.today, self.query = today, address
        self.path = ""  # before the "?" of its addresses; to be set where the page is not shown under its own
        self.metrics = {slug: each for slug, each in METRICS.items() if sees_any_usd() or not each.is_usd}
        super().__init__(address, **names)
        self.fields["metric"].widget.choices = [(slug, metric.label) for slug, metric in self.metrics.items()]

    def clean_metric(self) -> str:
        if self.cleaned_data["metric"] in METRICS.keys() - self.metrics.keys():
            raise forms.ValidationError(f"USD are {OF_OWNERS}. Choose another one.")
        return self._one_of("metric", self.metrics)

    def clean_period(self) -> str:
        return self._one_of("period", PERIODS)

    def clean_group(self) -> str:
        slug: str = self.cleaned_data["group"]
        if slug.startswith(BY_LABEL) and len(slug) > len(BY_LABEL):
            return slug
        return self._one_of("group", GROUPS)

    def _one_of(self, name: str, known: dict[str, Any]) -> str:
        slug: str = self.cleaned_data[name]
        if slug and slug not in known:
            raise forms.ValidationError(f"“{slug}” is none of them. Choose one of: {', '.join(known)}.")
        return slug

    def clean(self) -> dict[str, Any]:
        super().clean()
        read = self.cleaned_data
        first, last = read.get("from_"), read.get("to")
        for name, day in (("from_", first), ("to", last)):
            if day and day < EARLIEST:
                self.add_error(name, f"There are no calls of before {EARLIEST}. Choose a later day.")
        if self.errors.keys() & {"from_", "to"}:
            pass
        elif first and first > self.today:
            self.add_error("from_", f"{first} is yet to come. Choose a day up to today, {self.today}.")
        elif first and (min(last or self.today, self.today) - first).days >= MOST_DAYS:
            self.add_error("from_", f"A period is at most {MOST_DAYS} days long. Choose a later day, or an earlier To.")
        elif read.get("period") == CUSTOM and not (first or last):
            self.add_error("from_", "Choose the first day of the period.")
        label, group = read.get("label"), read.get("group", "")
        by_label = group.startswith(BY_LABEL)
        by_origin = group in ORIGINS or any(read.get(name) is not None for name in ORIGINS)
        if label and by_origin:
            self.add_error("label", APART)
        elif by_label and by_origin:
            self.add_error("group", APART)
        elif by_label and label and group != f"{BY_LABEL}{label.name}":
            self.add_error("group", "Each label is summed by itself. Take the other one away first.")
        return self.cleaned_data

    def offer(self, **found: Mapping[Any, int | None]) -> None:
        super().offer(**found)
        self._offer("model", found.get("model", {}))
        labels = sorted({label.name for label in found.get("label", {})})
        asked = self.data.get("group", "")
        if asked.startswith(BY_LABEL) and asked.removeprefix(BY_LABEL) not in labels:
            labels.append(asked.removeprefix(BY_LABEL))
        self.fields["group"].widget.choices = [
            *((slug, group.label) for slug, group in GROUPS.items()),
            *((f"{BY_LABEL}{name}", group_by_label(name).label) for name in labels),
        ]

    @property
    def metric_slug(self) -> str:
        return str(self.wanted.get("metric", next(iter(self.metrics))))

    @property
    def chosen_metric(self) -> Metric:
        return METRICS[self.metric_slug]

    @property
    def group_slug(self) -> str:
        return str(self.wanted.get("group", DEFAULTS["group"]))

    @property
    def chosen_group(self) -> Group:
        slug = self.group_slug
        return group_by_label(slug.removeprefix(BY_LABEL)) if slug.startswith(BY_LABEL) else GROUPS[slug]

    @property
    def label_name(self) -> str:
        """Of the label that is summed by or narrowed to; "" of none."""
        if label := self.wanted.get("label"):
            return str(label.name)
        return self.group_slug.removeprefix(BY_LABEL) if self.group_slug.startswith(BY_LABEL) else ""

    @property
    def chosen_period(self) -> Period:
        wanted = self.wanted
        first, last = wanted.get("from_"), wanted.get("to")
        if "from_" in self.errors or "to" in self.errors or not (first or last):
            slug = wanted.get("period", DEFAULTS["period"])
            return period_of(DEFAULTS["period"] if slug == CUSTOM else slug, self.today)
        last = min(last or self.today, self.today)
        return period_of(CUSTOM, self.today, first or first_day(last, MONTH), last)

    @property
    def shows_all(self) -> bool:
        return self.data.get("rows") == "all"

    @property
    def filters_in_address(self) -> dict[str, str]:
        """The filters of calls that could be read, as the address has them."""
        return {name: str(self.data[name]) for name in FILTERS if name in self.wanted}

    def address(self, **changes: str | None) -> str:
        """Of this page with other values; all that it asks for else stays, even what could not be read."""
        query = self.query.copy()
        for name, value in changes.items():
            if value is None:
                query.pop(name, None)
            else:
                query[name] = value
        for name in [name for name, value in query.items() if not value]:
            del query[name]
        return f"{self.path}?{query.urlencode()}"

    @property
    def chips(self) -> list[tuple[str, str, str]]:
        """Each filter: its label, its value, and the address without it."""
        return [
            (str(self.fields[name].label or name.capitalize()), self.name_of(name, text), self.address(**{name: None}))
            for name, text in self.filters_in_address.items()
        ]

    @property
    def periods(self) -> list[tuple[str, str, bool]]:
        """Each to choose from: its words, the address, and whether it is the one shown."""
        shown = self.chosen_period.slug
        return [
            (words, self.address(period=slug, **{"from": None, "to": None}), slug == shown)
            for slug, words in PERIODS.items()
            if slug != CUSTOM
        ]

    @property
    def filter_fields(self) -> list[forms.BoundField]:
        """Those that there is something to choose from."""
        return [self[name] for name in FILTERS if len(self.fields[name].widget.choices) > 1]
