"""The routing table as forms: one small form a row, posted together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, cast

from django import forms

from organizations.edits import ChangedMeanwhile, stamp
from organizations.names import TOO_LONG
from organizations.storable import storable
from providers.adapters.key_shapes import model_holds_key
from providers.catalog import PROVIDERS
from providers.forms import ModelIdField, OpenText
from providers.models import ProviderKey
from routing.allowed_models import ListRefused, read_allowed
from routing.counterparts import counterpart
from routing.models import RoutingRule
from routing.resolve import RoutingRow
from routing.services import KeyInUse, KeyUse, route_parts

Choice = tuple[str, str]  # key id and model, both "" for the managed default
MANAGED: Choice = ("", "")
MANAGED_TEXT = "managed"
MOST_IN_ADDRESS = 300  # characters of one field
MOST_OF_LIST = 30_000


class AllowedModelsField(forms.CharField):
    """A list of allowed models; cleaned, what `read_allowed` makes of it. `empty` is what an empty one means."""

    def __init__(self, *, label: str, empty: str) -> None:
        typed = {"class": "mono", "autocomplete": "off", "spellcheck": "false", "rows": "2"}
        super().__init__(
            label=label,
            required=False,
            max_length=MOST_OF_LIST,
            widget=forms.Textarea(attrs=typed),
            help_text="One a line: a provider such as <code>openai</code>, or one model of it such as "
            f"<code>openai/gpt-4.1-mini</code>. Empty: {empty}.",
            error_messages={"max_length": TOO_LONG},
        )

    def clean(self, value: Any) -> list[str]:
        try:
            return read_allowed(super().clean(storable(value or "")))
        except ListRefused as refusal:
            raise forms.ValidationError(str(refusal)) from None


def choice_of(rule: RoutingRule | None) -> Choice:
    return (str(rule.key_id), rule.model) if rule else MANAGED


class RouteForm(OpenText, forms.Form):
    """
    Key and model of one action; no key is the managed default.

    `was` holds the choice that the page showed, so that a row nobody touched is not written back over what
    somebody else saved meanwhile.
    """

    open_fields = {"model": model_holds_key}

    key = forms.ChoiceField(required=False, error_messages={"invalid_choice": "Choose a connected key."})
    model = ModelIdField(
        required=False,
        max_length=RoutingRule._meta.get_field("model").max_length,
        widget=forms.TextInput(attrs={"class": "input mono", "autocomplete": "off", "spellcheck": "false"}),
    )
    was = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        row: RoutingRow,
        keys: Sequence[ProviderKey],
        initial: dict[str, str] | None = None,
        auto_id: str = "route-%s",
    ) -> None:
        super().__init__(data, prefix=row.action.slug, auto_id=auto_id, initial=initial)
        self.row = row
        self.keys = {str(key.pk): key for key in keys}
        self._choice = self._shown = choice_of(row.rule)
        key_field = cast(forms.ChoiceField, self.fields["key"])
        key_field.choices = [("", row.unrouted), *grouped_keys(keys)]
        key_field.widget.attrs |= {"class": "input", "aria-label": f"Key for {row.action.name}"}
        typed = self.fields["model"].widget.attrs
        key_field.widget.attrs["data-saved"], typed["data-saved"] = choice_of(row.rule)
        typed["aria-label"] = f"Model for {row.action.name}"
        if self["key"].value():
            typed["list"] = f"models-of-{self['key'].value()}"
        else:
            typed["placeholder"] = f"Managed: {row.default.model}" if row.default and row.is_managed else ""

    @property
    def chosen_key(self) -> ProviderKey | None:
        return self.keys.get(self.cleaned_data["key"])

    @property
    def is_changed(self) -> bool:
        """Whether the posted choice differs from the stored one and from what the page showed."""
        return self._choice not in (choice_of(self.row.rule), self._shown)

    def clean(self) -> dict[str, Any]:
        if "key" not in self.cleaned_data or "model" not in self.cleaned_data:
            return self.cleaned_data
        stored = choice_of(self.row.rule)
        if not any(self.add_prefix(name) in self.data for name in self.fields):
            self._choice = stored  # a page that was opened before there was this action
            return self.cleaned_data
        key, model = self._choice = self.cleaned_data["key"], self.cleaned_data["model"]
        self._shown = read_choice(self.cleaned_data.get("was", "")) or stored
        if not key and model in ("", self._shown[1]):
            key, model = self._choice = MANAGED
        if not self.is_changed:
            return self.cleaned_data
        if not key and model:
            self.add_error("key", "Choose the key that calls this model, or empty the model.")
        elif key and not model:
            proposed = counterpart(row=self.row, key=self.keys[key])
            self.forget("model", proposed)
            self.add_error(
                "model", f"Choose a model. “{proposed}” is filled in now." if proposed else "Choose a model."
            )
        return self.cleaned_data

    @property
    def seen(self) -> str:
        """What the page showed, for the service that saves."""
        return stamp(route_parts(*self._shown))

    def refuse(self, conflict: ChangedMeanwhile, rule: RoutingRule | None) -> None:
        """Say that somebody else made it `rule`; sent once more, the choice overrules that."""
        self.row = replace(self.row, rule=rule)
        self.add_error("key", str(conflict))
        self.forget("was", write_choice(choice_of(rule)))


class RemoveKeyForm(OpenText, forms.Form):
    """
    What a key serves that goes, from then on: the managed default (what has a model of its own: as its action is
    routed), or a model of another key.
    """

    open_fields = {"model": model_holds_key}

    RESET = "managed"

    # Those that the page named: others that were routed to the key meanwhile are asked about first.
    actions = forms.CharField(required=False, widget=forms.HiddenInput)
    instead = forms.ChoiceField(
        label="From then on these actions use",
        error_messages={
            "required": "Choose what these actions use from then on.",
            "invalid_choice": "Choose one of the list.",
        },
    )
    model = ModelIdField(
        label="Model",
        max_length=RoutingRule._meta.get_field("model").max_length,
        required=False,
        help_text="One that the chosen key can call.",
        error_messages={"required": "Choose a model."},
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        key: ProviderKey,
        others: Sequence[ProviderKey],
        unrouted: str = "Managed default",
        only_actions: bool = True,
        initial: dict[str, str] | None = None,
    ) -> None:
        super().__init__(data, auto_id=f"remove-{key.pk}-%s", initial=initial, label_suffix="")
        self.others = {str(other.pk): other for other in others}
        cast(forms.ChoiceField, self.fields["instead"]).choices = [
            ("", "Choose…"),
            *grouped_keys(others),
            (self.RESET, unrouted),
        ]
        if not only_actions:
            self.fields["instead"].label = "From then on these use"
        self.fields["model"].widget.attrs["list"] = f"remove-{key.pk}-models"
        self.fields["model"].required = self.successor is not None

    def ask_about(self, refusal: KeyInUse) -> None:
        self.add_error("instead", str(refusal))
        self.forget("actions", named(refusal.uses))

    @property
    def successor(self) -> ProviderKey | None:
        return self.others.get(str(self["instead"].value()))


def may_stand_in_address(typed: str, holds_key: Callable[[str], bool] = model_holds_key) -> bool:
    """Of what somebody typed. Addresses are kept by logs and by histories, and cannot be endless."""
    return len(typed) <= MOST_IN_ADDRESS and not holds_key(typed)


def named(uses: Iterable[KeyUse]) -> str:
    return " ".join(use.mark for use in uses)


def route_initial(row: RoutingRow) -> dict[str, str]:
    key, model = choice_of(row.rule)
    return {"key": key, "model": model, "was": write_choice((key, model))}


def initial_of(row: RoutingRow, keys: Iterable[ProviderKey], unsaved: Mapping[str, str]) -> dict[str, str]:
    """What is stored, or what a page holds `unsaved` where its key is among `keys`."""
    draft = drafts(unsaved, [row]).get(row.action.slug)
    is_known = draft is not None and (not draft["key"] or draft["key"] in {str(key.pk) for key in keys})
    return draft if draft and is_known else route_initial(row)


def drafts(posted: Mapping[str, str], rows: Iterable[RoutingRow]) -> dict[str, dict[str, str]]:
    """What the page's forms hold unsaved, per action; rows that nobody touched are left out, and those not posted."""
    held = {
        row.action.slug: {name: posted[f"{row.action.slug}-{name}"] for name in ("key", "model", "was")}
        for row in rows
        if all(f"{row.action.slug}-{name}" in posted for name in ("key", "model", "was"))
    }
    return {slug: row for slug, row in held.items() if read_choice(row["was"]) != (row["key"], row["model"])}


def write_choice(choice: Choice) -> str:
    return MANAGED_TEXT if choice == MANAGED else " ".join(choice)


def read_choice(text: str) -> Choice | None:
    """The inverse of `write_choice`; None for text that is no choice."""
    if text == MANAGED_TEXT:
        return MANAGED
    key, _, model = text.partition(" ")
    return (key, model) if key and model else None


def grouped_keys(keys: Sequence[ProviderKey]) -> list[tuple[str, list[tuple[str, str]]]]:
    order = list(PROVIDERS)
    in_order = sorted(keys, key=lambda key: (order.index(key.provider), key.created_at))
    return [
        (PROVIDERS[provider].name, [(str(key.pk), _option(key)) for key in group])
        for provider, group in groupby(in_order, key=lambda key: key.provider)
    ]


def _option(key: ProviderKey) -> str:
    name = f"{PROVIDERS[key.provider].name} · {key.label}"
    return name if key.is_usable else f"{name} ({key.state.label})"
