"""Forms of agents, and of what a rule says beside key and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, cast

from django import forms

from organizations.names import NameFormField
from organizations.typed_numbers import DecimalField, WholeNumberField
from providers.adapters.key_shapes import label_holds_key, model_holds_key
from providers.forms import ModelIdField, OpenText
from providers.models import ProviderKey
from routing.agents import MOST_OF_DESCRIPTION, MOST_OF_NAME, MOST_OF_SLUG
from routing.counterparts import counterpart
from routing.forms import AllowedModelsField, grouped_keys
from routing.models import Effort, RoutingRule
from routing.resolve import RoutingRow
from routing.rule_settings import HOTTEST, MOST_OUTPUT_TOKENS, LeavesOut, RuleSettings
from routing.services import RuleRefused
from routing.token_forms import YEAR, LifetimeField

PLAIN = {"autocomplete": "off"}
TYPED = {"class": "mono", "autocomplete": "off", "spellcheck": "false"}


class AgentForm(OpenText, forms.Form):
    open_fields: ClassVar = {"name": label_holds_key, "description": label_holds_key}

    name = NameFormField(
        max_length=MOST_OF_NAME,
        widget=forms.TextInput(attrs=PLAIN),
        error_messages={"required": "Give the agent a name."},
    )
    description = NameFormField(
        max_length=MOST_OF_DESCRIPTION, required=False, widget=forms.TextInput(attrs=PLAIN), help_text="What it does."
    )


class NewAgentForm(AgentForm):
    """Of a whole agent: its name, what serves it, and its token. Without a key it is routed later."""

    open_fields: ClassVar = {**AgentForm.open_fields, "slug": label_holds_key, "model": model_holds_key}

    slug = NameFormField(
        required=False,
        max_length=MOST_OF_SLUG,
        widget=forms.TextInput(attrs=TYPED),
        help_text="What clients send as the model. Left empty it is made of the name. It never changes.",
    )
    key = forms.ChoiceField(required=False, error_messages={"invalid_choice": "Choose a connected key."})
    model = ModelIdField(required=False, max_length=RoutingRule._meta.get_field("model").max_length)
    makes_token = forms.BooleanField(label="Make an API token that calls this agent alone", required=False)
    days = LifetimeField(label="The token expires after", initial=YEAR)
    field_order = ("name", "description", "slug", "key", "model", "makes_token", "days")

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        row: RoutingRow,
        keys: Sequence[ProviderKey],
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data, initial=dict(initial or {}), auto_id="agent-%s", label_suffix="")
        self.row, self.keys = row, {str(key.pk): key for key in keys}
        cast(forms.ChoiceField, self.fields["key"]).choices = [("", "Route it later"), *grouped_keys(keys)]
        if self["key"].value():
            self.fields["model"].widget.attrs["list"] = f"models-of-{self['key'].value()}"

    @property
    def chosen_key(self) -> ProviderKey | None:
        return self.keys.get(self.cleaned_data["key"])

    def clean(self) -> dict[str, Any]:
        key, model = self.cleaned_data.get("key"), self.cleaned_data.get("model")
        if key and model == "" and "model" not in self.errors:
            proposed = counterpart(row=self.row, key=self.keys[key])
            self.forget("model", proposed)
            filled = f" “{proposed}” is filled in now." if proposed else ""
            self.add_error("model", f"Choose a model.{filled}")
        elif key == "" and model:
            self.add_error("key", "Choose the key that calls this model, or empty the model.")
        return self.cleaned_data


class RuleSettingsForm(OpenText, forms.Form):
    open_fields: ClassVar = {"allowed_models": model_holds_key}

    temperature = DecimalField(
        required=False,
        least=Decimal(0),
        most=HOTTEST,
        places=2,
        help_text="0 to 2. Not every model takes one.",
    )
    most_output_tokens = WholeNumberField(
        label="Output limit",
        required=False,
        min_value=1,
        max_value=MOST_OUTPUT_TOKENS,
        help_text="Tokens an answer has at most, thinking included.",
    )
    reasoning_effort = forms.ChoiceField(
        required=False,
        choices=[("", "As the model has it"), *Effort.choices],
        error_messages={"invalid_choice": "Choose one of the list."},
    )
    allowed_models = AllowedModelsField(label="Allowed models", empty="it may be routed to any")
    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    told = forms.CharField(required=False, widget=forms.HiddenInput)  # what the list leaves out, as the page has it

    @property
    def settings(self) -> RuleSettings:
        cleaned = self.cleaned_data
        return RuleSettings(
            cleaned["temperature"],
            cleaned["most_output_tokens"],
            cleaned["reasoning_effort"],
            tuple(cleaned["allowed_models"]),
        )

    def refuse(self, refusal: RuleRefused) -> None:
        self.add_error(refusal.field if refusal.field in self.fields else None, str(refusal))

    def ask_about(self, refusal: LeavesOut) -> None:
        """Sent once more, the list holds."""
        self.add_error("allowed_models", str(refusal))
        self.forget("told", " ".join(own.mark for own in refusal.own))


def settings_initial(settings: RuleSettings, seen: str) -> dict[str, Any]:
    heat = settings.temperature
    return {
        "temperature": "" if heat is None else f"{heat.normalize():f}",
        "most_output_tokens": settings.most_output_tokens,
        "reasoning_effort": settings.reasoning_effort,
        "allowed_models": "\n".join(settings.allowed_models),
        "seen": seen,
    }
