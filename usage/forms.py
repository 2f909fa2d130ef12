from __future__ import annotations

from collections.abc import Iterable, Mapping

from django import forms
from django.db.models import Q
from django.http import QueryDict

from usage import gaps
from usage.models import Mode, UsageEvent, UsageEventQuerySet
from usage.names import provider_name, provider_names, provider_slug

Source = UsageEvent.PriceSource

# The value in the address, its words, and the calls it means.
PRICES = {
    "provider": ("Reported by the provider", Q(price_source=Source.PROVIDER)),
    "catalog": ("Estimated from the price list", Q(price_source=Source.CATALOG)),
    "own_server": ("No token charges: your own server", gaps.OWN_SERVER),
    "unpriced": ("Unpriced", gaps.UNPRICED),
    "no_answer": ("Not known: no answer", gaps.UNKNOWN),
    "not_known": ("Unpriced or no answer", gaps.UNPRICED | gaps.UNKNOWN),
    "nothing": ("Nothing to pay", gaps.NOTHING_TO_PAY),
    "none": ("None, for any reason", Q(price_source=Source.NONE)),
}
TOKENS = {
    "not_reported": ("Not reported", gaps.TOKENS_NOT_KNOWN),
    "reported": ("Reported", Q(usage_reported=True)),
}
ALL = ("", "All")
BY_RUN = "run"


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


def choices_of(meanings: Mapping[str, tuple[str, Q]]) -> list[tuple[str, str]]:
    return [ALL, *((value, words) for value, (words, _) in meanings.items())]


class UsageFilterForm(forms.Form):
    """The filters of the usage page, by the names they have in its address."""

    # A provider that no catalog knows any more is found, too, so this is no field of choices.
    provider = forms.CharField(required=False, max_length=40, widget=forms.Select)
    model = suggesting_field("model", max_length=200)
    action = suggesting_field("action", max_length=60)
    mode = forms.ChoiceField(required=False, choices=[ALL, *Mode.choices])
    status = forms.ChoiceField(required=False, choices=[ALL, *UsageEvent.Status.choices])
    price = forms.ChoiceField(required=False, choices=choices_of(PRICES))
    tokens = forms.ChoiceField(required=False, choices=choices_of(TOKENS))
    by = forms.ChoiceField(
        required=False, label="Days", choices=[("", "Of the call"), (BY_RUN, "On which the run began")]
    )
    day = day_field("Day")
    from_ = day_field("From")
    to = day_field("To")
    run = forms.UUIDField(
        required=False, error_messages={"invalid": "That is not the id of a run; follow a link to it."}
    )

    def __init__(self, address: QueryDict) -> None:
        address = address.copy()
        if "provider" in address:
            address["provider"] = provider_slug(str(address["provider"]))
        super().__init__(address, auto_id="filter-%s")
        self.offer_providers([])

    def add_prefix(self, field_name: str) -> str:
        """`from` is a word of Python, so its field has another name than in the address."""
        return super().add_prefix(field_name.rstrip("_"))

    def offer_providers(self, slugs: Iterable[str]) -> None:
        """Those of the catalog and `slugs`, by name; and what the address asks for, so that the page shows it."""
        wanted = self.data.get("provider", "")
        known = [*slugs, wanted] if wanted.isprintable() else slugs
        names = {**{slug: provider_name(slug) for slug in known if slug}, **provider_names()}
        self.fields["provider"].widget.choices = [ALL, *sorted(names.items(), key=lambda item: item[1].casefold())]

    def narrow(self, events: UsageEventQuerySet) -> UsageEventQuerySet:
        """`events` by the filters that could be read; the others have errors and do not narrow."""
        self.is_valid()
        wanted = {name: value for name, value in self.cleaned_data.items() if value}
        for name, meanings in (("price", PRICES), ("tokens", TOKENS)):
            if name in wanted:
                events = events.filter(meanings[wanted[name]][1])
        return events.matching(
            provider=wanted.get("provider", ""),
            model=wanted.get("model", ""),
            action=wanted.get("action", ""),
            mode=wanted.get("mode", ""),
            status=wanted.get("status", ""),
            run_id=wanted.get("run"),
            first_day=wanted.get("day") or wanted.get("from_"),
            last_day=wanted.get("day") or wanted.get("to"),
            by_run_day=wanted.get("by") == BY_RUN,
        )

    @property
    def problems(self) -> list[tuple[str, str]]:
        """What could not be read: label and sentence."""
        return [(str(self[name].label), str(error)) for name, errors in self.errors.items() for error in errors]

    @property
    def is_filtering(self) -> bool:
        return any(self.cleaned_data.values())
