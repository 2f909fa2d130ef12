from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.db.models import Q, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.lookups import Exact
from django.http import QueryDict

from organizations.reading import whole_number
from usage import gaps
from usage.models import Mode, UsageEvent
from usage.names import OwnNames, provider_name, provider_slug
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
MOMENT = "%Y-%m-%dT%H:%M"


class DayInput(forms.DateInput):
    input_type = "date"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%d")


class MomentInput(forms.DateTimeInput):
    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(format=MOMENT)


def moment_field(label: str) -> forms.DateTimeField:
    return forms.DateTimeField(
        label=label,
        required=False,
        widget=MomentInput(),
        input_formats=[MOMENT],
        error_messages={"invalid": "Enter a moment as YYYY-MM-DDTHH:MM, in UTC."},
    )


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
        return {name: value for name, value in self.cleaned_data.items() if value not in (None, "")}

    @property
    def problems(self) -> list[tuple[str, str]]:
        """What could not be read: label and sentence."""
        return [(str(self[name].label), str(error)) for name, errors in self.errors.items() for error in errors]

    @property
    def is_filtering(self) -> bool:
        return bool(self.wanted)


@dataclass(frozen=True, slots=True)
class Label:
    """A label of calls; without a value: those that have no label of this name."""

    name: str
    value: str

    @classmethod
    def read(cls, text: str) -> Label | None:
        name, separator, value = text.partition(":")
        return cls(name, value) if name and separator and text.isprintable() else None

    def __str__(self) -> str:
        return f"{self.name}:{self.value}"


NONE = "none"  # in the address: calls without a token, or a member


class CallForm(FilterForm):
    """What calls can be narrowed by wherever they are listed or summed, but time and model."""

    # What nothing knows any more is found, too, so these are no fields of choices.
    provider = forms.CharField(required=False, max_length=40, widget=forms.Select)
    action = forms.CharField(required=False, max_length=60, widget=forms.Select, label="Action or agent")
    mode = forms.ChoiceField(required=False, choices=[ALL, *Mode.choices])
    key = forms.UUIDField(
        required=False,
        widget=forms.Select,
        error_messages={"invalid": "That is not the id of a key. Choose one from the list."},
    )
    token = forms.CharField(required=False, label="API token", widget=forms.Select)
    member = forms.CharField(required=False, widget=forms.Select)
    label = forms.CharField(required=False, max_length=500, widget=forms.Select)

    def __init__(self, address: QueryDict, *, names: OwnNames) -> None:
        self.names = names
        address = address.copy()
        if "provider" in address:
            address["provider"] = provider_slug(str(address["provider"]))
        super().__init__(address)
        self.offer()

    def clean_token(self) -> int | None:
        return self._id_or_none("token")

    def clean_member(self) -> int | None:
        return self._id_or_none("member")

    def _id_or_none(self, name: str) -> int | None:
        text = self.cleaned_data[name]
        if not text:
            return None
        number = 0 if text == NONE else whole_number(text)
        if number is None:
            raise forms.ValidationError("Choose one from the list.")
        return number

    def clean_label(self) -> Label | None:
        text = self.cleaned_data["label"]
        label = Label.read(text)
        if text and label is None:
            raise forms.ValidationError("A label is given as its name, a colon and its value: team:finance.")
        return label

    def offer(self, **found: Mapping[Any, int | None]) -> None:
        """
        To choose from: of each field what was `found`, with its number of calls where that is known, and what the
        address asks for.
        """
        for field in ("provider", "action", "key", "token", "member", "label"):
            self._offer(field, found.get(field, {}))
        if "mode" in found:
            self.fields["mode"].widget.choices = [
                ALL,
                *((slug, f"{name} ({found['mode'].get(slug) or 0:,})") for slug, name in Mode.choices),
            ]

    def _offer(self, field: str, found: Mapping[Any, int | None]) -> None:
        texts = {self.as_address(field, value): calls for value, calls in found.items()}
        wanted = self.data.get(field, "")
        if wanted and wanted.isprintable():
            texts.setdefault(wanted, None)
        named = sorted(((self.name_of(field, text), text) for text in texts), key=lambda each: each[0].casefold())
        self.fields[field].widget.choices = [
            ALL,
            *((text, name if texts[text] is None else f"{name} ({texts[text]:,})") for name, text in named),
        ]

    @staticmethod
    def as_address(field: str, value: Any) -> str:
        return str(value or NONE) if field in ("token", "member") else str(value)

    def name_of(self, field: str, text: str) -> str:
        """Of a value as the address has it; of nonsense: itself."""
        if field == "provider":
            return provider_name(text)
        if field == "action":
            return self.names.action(text)
        if field == "mode":
            return dict(Mode.choices).get(text, text)
        if field == "label":
            label = Label.read(text)
            return text if label is None else f"{label.name}: {label.value or 'without'}"
        if field in ("token", "member"):
            number = 0 if text == NONE else whole_number(text)
            name = self.names.token if field == "token" else self.names.member
            return text if number is None else name(number)
        if field == "key":
            try:
                return self.names.key(UUID(text))
            except ValueError:
                return text
        return text

    def of_origin(self, calls: UsageEventQuerySet) -> UsageEventQuerySet:
        """By what no index knows: the key, and who asked."""
        wanted = self.wanted
        for name in ("token", "member"):
            if name in wanted:
                narrowed = {f"{name}_id": wanted[name]} if wanted[name] else {f"{name}_id__isnull": True}
                calls = calls.filter(**narrowed)
        if label := wanted.get("label"):
            value = KeyTextTransform(label.name, "labels")
            is_meant = Exact(value, Value(label.value)) if label.value else ~Q(labels__has_key=label.name)
            calls = calls.filter(is_meant)
        return calls.filter(key_id=wanted["key"]) if "key" in wanted else calls


class UsageFilterForm(CallForm):
    """The filters of the list of calls."""

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
    status = forms.ChoiceField(required=False, choices=[ALL, *UsageEvent.Status.choices, (ERRORS, "Any error")])
    price = forms.ChoiceField(required=False, choices=choices_of(PRICES))
    tokens = forms.ChoiceField(required=False, choices=choices_of(TOKENS))
    by = forms.ChoiceField(
        required=False, label="Days", choices=[("", "Of the call"), (BY_RUN, "On which the run began")]
    )
    day = day_field("Day")
    since = moment_field("Not before (UTC)")
    until = moment_field("Before (UTC)")
    run = forms.UUIDField(
        required=False, error_messages={"invalid": "That is not the id of a run; follow a link to it."}
    )

    def __init__(self, address: QueryDict, *, names: OwnNames, models: Iterable[str] = ()) -> None:
        self.models = sorted(models)
        super().__init__(address, names=names)

    @property
    def rare_fields(self) -> list[forms.BoundField]:
        """What links set, and nobody types: shown where it is set, so that it can be seen and taken away."""
        names = ("tokens", "by", "day", "since", "until", "run", "key", "token", "member", "label")
        return [self[name] for name in names if name in self.wanted or name in self.errors]

    @property
    def asks_for_kinds(self) -> bool:
        """Whether it narrows by more than time and run."""
        return not self.wanted.keys() <= {"from_", "to", "day", "by", "since", "until", "run"}

    def of_kinds(self, calls: UsageEventQuerySet) -> UsageEventQuerySet:
        """By what a kind of calls is (usage/kinds.py)."""
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
        if "since" in wanted:
            calls = calls.filter(occurred_at__gte=wanted["since"])
        if "until" in wanted:
            calls = calls.filter(occurred_at__lt=wanted["until"])
        first_day = wanted.get("day") or wanted.get("from_")
        last_day = wanted.get("day") or wanted.get("to")
        if wanted.get("by") == BY_RUN and (first_day or last_day):
            return list(calls.of_runs_on_days(first_day, last_day))
        return [calls.left_on_days(first_day, last_day)]
