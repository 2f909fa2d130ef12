"""The form of a new API token: what it may do, and for one that calls agents, which, with what and how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, cast

from django import forms
from django.http import QueryDict

from organizations.models import ApiToken, Membership
from organizations.names import NameFormField
from organizations.permissions import API_SCOPES, Permission
from organizations.typed_numbers import WholeNumberField
from providers.adapters.key_shapes import label_holds_key, model_holds_key
from providers.catalog import PROVIDERS
from providers.forms import OpenText
from providers.models import ProviderKey
from routing.allowed_models import named_first
from routing.call_access import MOST_A_MINUTE, MOST_AT_ONCE, MOST_TOKENS_A_MINUTE, Access, AccessRefused
from routing.forms import AllowedModelsField
from routing.models import Agent

NEVER, YEAR = 0, 365
LIFETIMES = ((30, "30 days"), (90, "90 days"), (YEAR, "1 year"), (NEVER, "Never"))


def end_of(days: int, now: datetime) -> datetime | None:
    """When a token of this lifetime expires."""
    return now + timedelta(days=days) if days != NEVER else None


class LifetimeField(forms.TypedChoiceField):
    default_error_messages = dict.fromkeys(("required", "invalid_choice"), "Choose one of the list.")

    def __init__(self, *, label: str, initial: int) -> None:
        super().__init__(label=label, coerce=int, choices=LIFETIMES, initial=initial)


class ApiTokenForm(OpenText, forms.Form):
    open_fields: ClassVar = {"name": label_holds_key, "allowed_models": model_holds_key}

    name = NameFormField(
        max_length=ApiToken._meta.get_field("name").max_length,
        help_text="What will use it, so that you know later what a revocation stops.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Give the token a name."},
    )
    days = LifetimeField(label="Expires after", initial=90)
    scopes = forms.TypedMultipleChoiceField(
        label="It may",
        coerce=Permission,
        choices=[(scope.value, label) for scope, label in API_SCOPES.items()],
        initial=[scope.value for scope in API_SCOPES if scope != Permission.CALL_AGENTS],
        widget=forms.CheckboxSelectMultiple,
        error_messages={
            "required": "Tick at least one, else the token could do nothing.",
            "invalid_choice": "Tick what is in the list.",
        },
    )
    every_agent = forms.BooleanField(label="Every agent, and those that are made later", required=False)
    agents = forms.MultipleChoiceField(
        label="These agents",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="A token of one agent alone serves whatever model its client names.",
        error_messages={"invalid_choice": "One of these agents was archived meanwhile. Choose again."},
    )
    allowed_models = AllowedModelsField(label="Only these models", empty="any")
    member = forms.ChoiceField(
        label="Member",
        required=False,
        help_text="Whose its calls are in the books.",
        error_messages={"invalid_choice": "Choose a member of this organization."},
    )
    requests_a_minute = WholeNumberField(required=False, min_value=1, max_value=MOST_A_MINUTE)
    tokens_a_minute = WholeNumberField(
        label="Model tokens a minute", required=False, min_value=1, max_value=MOST_TOKENS_A_MINUTE
    )
    calls_at_once = WholeNumberField(required=False, min_value=1, max_value=MOST_AT_ONCE)
    told = forms.CharField(required=False, widget=forms.HiddenInput)  # what the list leaves out, as the page has it

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        maker: Membership,
        members: Sequence[Membership],
        agents: Sequence[Agent],
        keys: Sequence[ProviderKey],
        unsaved: QueryDict | None = None,
    ) -> None:
        """Bound to `data`, or beginning with what was typed and is `unsaved`."""
        super().__init__(data)
        self.maker = maker
        self.members = {str(member.user_id): member for member in members}
        self.by_slug = {agent.slug: agent for agent in agents}
        self.keys = {str(key.pk): key for key in keys}
        cast(forms.ChoiceField, self.fields["agents"]).choices = [(agent.slug, agent.name) for agent in agents]
        cast(forms.ChoiceField, self.fields["member"]).choices = [
            (str(member.user_id), member.user.get_full_name()) for member in members
        ]
        self.fields["member"].initial = str(maker.user_id)
        self._providers = [slug for slug in PROVIDERS if any(key.provider == slug for key in keys)]
        for slug in self._providers:
            self.fields[f"direct-{slug}"] = forms.ChoiceField(
                label=PROVIDERS[slug].name,
                required=False,
                choices=[("", "No"), *((str(key.pk), key.label) for key in keys if key.provider == slug)],
                error_messages={"invalid_choice": "Choose a connected key."},
            )

        if unsaved and "days" in unsaved:
            for name, field in self.fields.items():
                is_list = isinstance(field, forms.MultipleChoiceField)
                self.initial[name] = unsaved.getlist(name) if is_list else unsaved.get(name, "")

    @property
    def direct_fields(self) -> list[forms.BoundField]:
        return [self[f"direct-{slug}"] for slug in self._providers]

    @property
    def has_managed_agents(self) -> bool:
        return any(agent.managed_model for agent in self.by_slug.values())

    @property
    def is_about_calls(self) -> bool:
        """Whether the part on calls is to stand open."""
        names = self.fields.keys() - {"name", "days", "scopes", "member", "told"}
        return Permission.CALL_AGENTS in (self["scopes"].value() or []) or any(self[name].value() for name in names)

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        if not self.by_slug and (gone := self.errors.pop("agents", None)):  # where there are no agents, no field is
            self.add_error(None, forms.ValidationError(list(gone)))
        chosen = cleaned.get("every_agent") or cleaned.get("agents") or self._direct_keys()
        if "scopes" in cleaned and chosen and Permission.CALL_AGENTS not in cleaned["scopes"]:
            self.add_error("scopes", "Tick “Call agents”, or choose nothing that it calls.")
        return cleaned

    def _direct_keys(self) -> list[ProviderKey]:
        chosen = (self.cleaned_data.get(f"direct-{slug}") for slug in self._providers)
        return [self.keys[key] for key in chosen if key]

    @property
    def access(self) -> Access | None:
        """What the token is to call; None for one that calls nothing."""
        cleaned = self.cleaned_data
        if Permission.CALL_AGENTS not in cleaned["scopes"]:
            return None
        member = self.members.get(cleaned["member"], self.maker)
        return Access(
            member=member.user,
            every_agent=cleaned["every_agent"],
            agents=[] if cleaned["every_agent"] else [self.by_slug[slug] for slug in cleaned["agents"]],
            direct_keys=self._direct_keys(),
            allowed_models=cleaned["allowed_models"],
            requests_a_minute=cleaned["requests_a_minute"],
            tokens_a_minute=cleaned["tokens_a_minute"],
            calls_at_once=cleaned["calls_at_once"],
        )

    def asks_about(self, left_out: Mapping[str, str]) -> bool:
        """Whether the list of models leaves out what the page has not told yet. Sent once more, the list holds."""
        told = self.cleaned_data["told"].split()
        if all(mark in told for mark in left_out):
            return False
        named = named_first(list(left_out.values()))
        self.add_error(
            "allowed_models",
            f"With this list the token could not call {named}. Add what is missing to the list, or make the token once "
            "more to have it so.",
        )
        self.forget("told", " ".join(left_out))
        return True

    def refuse(self, refusal: AccessRefused) -> None:
        is_shown = refusal.field in self.fields and (refusal.field != "agents" or self.by_slug)
        self.add_error(refusal.field if is_shown else None, str(refusal))
