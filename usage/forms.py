from __future__ import annotations

from django import forms
from django.http import QueryDict

from usage.models import Mode, UsageEvent, UsageEventQuerySet

PRICES = [
    (UsageEvent.PriceSource.PROVIDER, "Reported by the provider"),
    (UsageEvent.PriceSource.CATALOG, "Estimated from the price list"),
    (UsageEvent.PriceSource.NONE, "None"),
]
ALL = ("", "All")


class DayInput(forms.DateInput):
    input_type = "date"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%d")


def day_field(label: str) -> forms.DateField:
    return forms.DateField(
        label=label,
        required=False,
        widget=DayInput(),
        input_formats=["%Y-%m-%d"],
        error_messages={"invalid": "Enter a day as YYYY-MM-DD."},
    )


def suggesting_field(name: str, *, max_length: int) -> forms.CharField:
    """Free text; the page has a <datalist> of what there is."""
    widget = forms.TextInput(attrs={"list": f"known-{name}", "autocomplete": "off", "spellcheck": "false"})
    return forms.CharField(required=False, max_length=max_length, widget=widget)


class UsageFilterForm(forms.Form):
    """The filters of the usage page, by the names they have in its address."""

    provider = suggesting_field("provider", max_length=40)
    model = suggesting_field("model", max_length=200)
    action = suggesting_field("action", max_length=60)
    mode = forms.ChoiceField(required=False, choices=[ALL, *Mode.choices])
    status = forms.ChoiceField(required=False, choices=[ALL, *UsageEvent.Status.choices])
    price = forms.ChoiceField(required=False, choices=[ALL, *PRICES])
    day = day_field("Day")
    from_ = day_field("From")
    to = day_field("To")
    run = forms.UUIDField(
        required=False, error_messages={"invalid": "That is not the id of a run; follow a link to it."}
    )

    def __init__(self, address: QueryDict) -> None:
        super().__init__(address, auto_id="filter-%s")

    def add_prefix(self, field_name: str) -> str:
        """`from` is a word of Python, so its field has another name than in the address."""
        return super().add_prefix(field_name.rstrip("_"))

    def narrow(self, events: UsageEventQuerySet) -> UsageEventQuerySet:
        """`events` by the filters that could be read; the others have errors and do not narrow."""
        self.is_valid()
        wanted = {name: value for name, value in self.cleaned_data.items() if value}
        return events.matching(
            provider=wanted.get("provider", ""),
            model=wanted.get("model", ""),
            action=wanted.get("action", ""),
            mode=wanted.get("mode", ""),
            status=wanted.get("status", ""),
            price_source=wanted.get("price", ""),
            run_id=wanted.get("run"),
            first_day=wanted.get("day") or wanted.get("from_"),
            last_day=wanted.get("day") or wanted.get("to"),
        )

    @property
    def problems(self) -> list[tuple[str, str]]:
        """What could not be read: label and sentence."""
        return [(str(self[name].label), str(error)) for name, errors in self.errors.items() for error in errors]

    @property
    def is_filtering(self) -> bool:
        return any(self.cleaned_data.values())
