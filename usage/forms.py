from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

from django import forms
from django.db.models import Q
from django.http import QueryDict

from usage import gaps
from usage.models import Mode, UsageEvent
from usage.names import action_name, provider_name, provider_names, provider_slug
from usage.querysets import UsageEventQuerySet

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
ERRORS = "errors"  # of a status: all that the sum of failed calls counts
EXACT = ("provider", "action", "mode")


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


def choices_of(meanings: Mapping[str, tuple[str, Q]]) -> list[tuple[str, str]]:
    return [ALL, *((value, words) for value, (words, _) in meanings.items())]


class FilterForm(forms.Form):
    """Filters of a list, by their names in its address; those that cannot be read have errors and do not narrow."""

    from_ = day_field("From")
    to = day_field("To")

    def __init__(self, address: QueryDict) -> None:
        super().__init__(address, auto_id="filter-%s")

    def add_prefix(self, field_name: str) -> str:
        """`from` is a word of Python, so its field has another name than in the address."""
        return super().add_prefix(field_name.rstrip("_"))

    def clean(self) -> dict[str, Any]:
        first, last = self.cleaned_data.get("from_"), self.cleaned_data.get("to")
        if first and last and first > last:
            self.add_error("from_", f"{first} is after {last}, the day in To. Swap them.")
            self.cleaned_data.pop("to")  # half of a period is not what was asked for
        return self.cleaned_data

    @property
    def wanted(self) -> dict[str, Any]:
        """The filters that are set and could be read."""
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value}

    @property
    def problems(self) -> list[tuple[str, str]]:
        """What could not be read: label and sentence."""
        return [(str(self[name].label), str(error)) for name, errors in self.errors.items() for error in errors]

    @property
    def is_filtering(self) -> bool:
        return bool(self.wanted)


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


class UsageFilterForm(FilterForm):
    """The filters of the usage page."""

    # A provider or an action that nothing knows any more is found, too, so these are no fields of choices.
    provider = forms.CharField(required=False, max_length=40, widget=forms.Select)
    model = forms.CharField(
        required=False,
        max_length=200,
        widget=forms.TextInput(
            attrs={
                "list": "known-model",
                "placeholder": "Part of its name",
                "autocomplete": "off",
                "spellcheck": "false",
            }
        ),
    )
    action = forms.CharField(required=False, max_length=60, widget=forms.Select)
    mode = forms.ChoiceField(required=False, choices=[ALL, *Mode.choices])
    status = forms.ChoiceField(required=False, choices=[ALL, *UsageEvent.Status.choices, (ERRORS, "Any error")])
    price = forms.ChoiceField(required=False, choices=choices_of(PRICES))
    tokens = forms.ChoiceField(required=False, choices=choices_of(TOKENS))
    by = forms.ChoiceField(
        required=False, label="Days", choices=[("", "Of the call"), (BY_RUN, "On which the run began")]
    )
    day = day_field("Day")
    run = forms.UUIDField(
        required=False, error_messages={"invalid": "That is not the id of a run; follow a link to it."}
    )

    def __init__(self, address: QueryDict, *, action_names: Mapping[str, str]) -> None:
        """`action_names` are those of the organization, by slug: its agents are actions of its own."""
        self._action_names = action_names
        address = address.copy()
        if "provider" in address:
            address["provider"] = provider_slug(str(address["provider"]))
        super().__init__(address)
        self.offer(providers=(), models=(), actions=())

    def offer(self, *, providers: Iterable[str], models: Iterable[str], actions: Iterable[str]) -> None:
        """
        Providers and actions that are known and these slugs, by name; and what the address asks for, so that the page
        shows it.
        """
        self.models = sorted(models)
        self._offer("provider", providers, provider_names(), provider_name)
        self._offer("action", actions, self._action_names, action_name)

    def _offer(self, field: str, slugs: Iterable[str], known: Mapping[str, str], name: Callable[[str], str]) -> None:
        wanted = self.data.get(field, "")
        others = {slug: name(slug) for slug in (*slugs, wanted) if slug and slug.isprintable()}
        by_name = sorted({**others, **known}.items(), key=lambda item: item[1].casefold())
        self.fields[field].widget.choices = [ALL, *by_name]

    @property
    def asks_for_kinds(self) -> bool:
        """Whether it narrows by more than time and run."""
        return not self.wanted.keys() <= {"from_", "to", "day", "by", "run"}

    def of_kinds(self, calls: UsageEventQuerySet) -> UsageEventQuerySet:
        """By all that is neither time nor run."""
        wanted = self.wanted
        for name, meanings in (("price", PRICES), ("tokens", TOKENS)):
            if name in wanted:
                calls = calls.filter(meanings[wanted[name]][1])
        if model := wanted.get("model"):  # a whole name means this model alone
            calls = calls.filter(model=model) if model in self.models else calls.filter(model__icontains=model)
        if status := wanted.get("status"):
            calls = calls.filter(status__in=UsageEvent.ERRORS if status == ERRORS else [status])
        return calls.filter(**{name: wanted[name] for name in EXACT if name in wanted})

    def of_time(self, calls: UsageEventQuerySet) -> list[UsageEventQuerySet]:
        """By days and run, in parts that have no call in common."""
        wanted = self.wanted
        if "run" in wanted:
            calls = calls.filter(run_id=wanted["run"])
        first_day = wanted.get("day") or wanted.get("from_")
        last_day = wanted.get("day") or wanted.get("to")
        if wanted.get("by") == BY_RUN and (first_day or last_day):
            return list(calls.of_runs_on_days(first_day, last_day))
        return [calls.left_on_days(first_day, last_day)]
