"""The filters of the page of cost anatomy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from django import forms

from usage.forms import ALL, FilterForm
from usage.names import action_name


class AnatomyForm(FilterForm):
    """The filters of the cost anatomy: those of a period, or a run."""

    from_ = to = None  # type: ignore[assignment]  # as Django has fields of the parent left out
    month = forms.DateField(
        required=False,
        widget=forms.Select,
        input_formats=["%Y-%m"],
        error_messages={"invalid": "Enter a month as YYYY-MM."},
    )
    action = forms.CharField(required=False, max_length=60, widget=forms.Select)
    run = forms.UUIDField(
        required=False, error_messages={"invalid": "That is not the id of a run; follow a link to it."}
    )

    def offer(self, *, months: Iterable[date], actions: Mapping[str, str]) -> None:
        """Actions by slug; beside what the address asks for, which the page shows in any case."""
        wanted = self.wanted
        months = sorted({*months, wanted["month"]} if "month" in wanted else months, reverse=True)
        self.fields["month"].widget.choices = [(f"{month:%Y-%m}", f"{month:%B} {month.year}") for month in months]
        if "action" in wanted:
            actions = {wanted["action"]: action_name(wanted["action"]), **actions}
        by_name = sorted(actions.items(), key=lambda item: item[1].casefold())
        self.fields["action"].widget.choices = [ALL, *by_name]
