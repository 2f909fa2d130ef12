"""The page of exports, and the files behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, cast

from django import forms
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe

from config.downloads import csv_answer
from config.exports import FORMATS, WITHHELD, export, file_name, offered
from organizations import clock
from organizations.models import Organization
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from usage.exports.models import SealedMonth
from usage.exports.periods import BadPeriod, Month, Period, read_period
from usage.exports.sealing import SealBroken, name_in
from usage.forms import DayInput
from usage.kept import kept_from
from usage.models import UsageEvent

SEALED_SHOWN = 24


class ExportForm(forms.Form):
    format = forms.ChoiceField(label="File")

    def __init__(self, data: QueryDict | None = None, *, auto_id: str = "%s", today: date) -> None:
        self._today = today
        super().__init__(data, auto_id=auto_id)
        names = offered()
        cast(forms.ChoiceField, self.fields["format"]).choices = [(name, each.title) for name, each in names.items()]
        self.fields["format"].error_messages = {
            "required": f"Choose a file: {', '.join(names)}.",
            "invalid_choice": WITHHELD
            if self.data.get("format") in FORMATS
            else f"There is no such file; choose one of {', '.join(names)}.",
        }
        self.order_fields(["month", "from_", "to", "format"])

    def add_prefix(self, field_name: str) -> str:
        """`from` is a word of Python, so its field has another name than in the address."""
        return super().add_prefix(field_name.rstrip("_"))

    def clean(self) -> dict[str, Any]:
        month, first, last = (str(self.data.get(name, "")) for name in ("month", "from", "to"))
        try:
            self.period: Period = read_period(month=month, first=first, last=last, today=self._today)
        except BadPeriod as bad:
            field = "from_" if bad.field == "from" else bad.field
            if field not in self.errors:
                self.add_error(field if field in self.fields else None, str(bad))
        return self.cleaned_data


class MonthForm(ExportForm):
    month = forms.CharField(max_length=20, widget=forms.Select, error_messages={"required": "Choose a month."})

    def offer(self, months: Sequence[tuple[str, str]]) -> MonthForm:
        """And what was sent, so that it is shown."""
        sent = str(self.data.get("month", ""))
        others = [(sent, sent)] if sent.isprintable() and sent not in ("", *dict(months)) else []
        self.fields["month"].widget.choices = [*months, *others]
        return self


class DaysForm(ExportForm):
    from_ = forms.CharField(
        label="From", max_length=20, widget=DayInput, error_messages={"required": "Choose the first day."}
    )
    to = forms.CharField(max_length=20, widget=DayInput, error_messages={"required": "Choose the last day."})


@dataclass(frozen=True, slots=True)
class SealedLine:
    """`files` are format, title, rows and digest."""

    month: Month
    sealed_at: datetime
    files: list[tuple[str, str, int, str]]


@organization_view(Permission.VIEW)
@require_safe
def export_page(request: OrganizationHttpRequest) -> HttpResponse:
    return render(request, "config/export.html", _context(request.organization, clock.now().date()))


@organization_view(Permission.VIEW)
@require_safe
def export_file(request: OrganizationHttpRequest) -> HttpResponse:
    """A file; or the page, with what to give instead beside the field."""
    today = clock.now().date()
    form: ExportForm
    if {"from", "to"} & request.GET.keys() and "month" not in request.GET:
        form = DaysForm(request.GET, auto_id="days-%s", today=today)
    else:
        form = MonthForm(request.GET, auto_id="month-%s", today=today)
    if not form.is_valid():
        context = _context(request.organization, today, form)
        return render(request, "config/export.html", context, status=422)
    format = form.cleaned_data["format"]
    try:
        pieces = export(request.organization, format, form.period)
        answer = csv_answer(request, pieces, file_name(request.organization, format, form.period))
    except BadPeriod as bad:
        form.add_error("from_" if bad.field == "from" else bad.field, str(bad))
        return render(request, "config/export.html", _context(request.organization, today, form), status=422)
    except SealBroken as broken:
        context = _context(request.organization, today)
        return render(request, "config/export.html", {**context, "broken": str(broken)}, status=409)
    return cast(HttpResponse, answer)  # a stream is as good, which views are not typed for


def _context(organization: Organization, today: date, wrong: ExportForm | None = None) -> dict[str, Any]:
    """`wrong` is the form that was sent."""
    seals = {
        Month(seal.month): seal
        for seal in SealedMonth.objects.for_organization(organization).defer("pinned").order_by("-month")
    }
    of_month = wrong if isinstance(wrong, MonthForm) else MonthForm(auto_id="month-%s", today=today)
    of_month.offer(
        [
            (str(each), f"{each.first:%B %Y}{', sealed' if each in seals else ''}")
            for each in _months(organization, today)
        ]
    )
    return {
        "of_month": of_month,
        "of_days": wrong if isinstance(wrong, DaysForm) else DaysForm(auto_id="days-%s", today=today),
        "formats": offered().values(),
        "sealed": [_sealed_line(month, seal) for month, seal in list(seals.items())[:SEALED_SHOWN]],
    }


def _months(organization: Organization, today: date) -> list[Month]:
    """From the first call that is kept to now, the latest first."""
    events = UsageEvent.objects.for_organization(organization).order_by("occurred_at", "id")
    first = events.values_list("occurred_at", flat=True).first()
    month, months = Month.of(max(first.date(), kept_from() or first.date()) if first else today), []
    while month.first <= today:
        months.append(month)
        month = month.next
    return months[::-1]


def _sealed_line(month: Month, seal: SealedMonth) -> SealedLine:
    files = [
        (name, each.title, *found)
        for name, each in offered().items()
        if (found := seal.file(name_in(seal, each.file))) is not None
    ]
    return SealedLine(month, seal.sealed_at, files)
