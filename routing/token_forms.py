"""
The forms of API tokens: of a new one, what it may do, and for one that calls agents, which, with what and how much; of
one that is there already, what of that can be changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, cast

from django import forms
from django.http import QueryDict

from organizations.edits import stamp
from organizations.models import ApiToken, Membership, User
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
from routing.token_edits import token_parts

NEVER, YEAR = 0, 365
KEEP = "keep"
LIFETIMES = ((30, "30 days"), (90, "90 days"), (YEAR, "1 year"), (NEVER, "Never"))


def end_of(days: int, now: datetime) -> datetime | None:
    """When a token of this lifetime expires."""
    return now + timedelta(days=days) if days != NEVER else None


def _days(chosen: str) -> int | str:
    return KEEP if chosen == KEEP else int(chosen)


class LifetimeField(forms.TypedChoiceField):
    default_error_messages = dict.fromkeys(("required", "invalid_choice"), "Choose one of the list.")

    def __init__(self, *, label: str, initial: int | None = None) -> None:
        super().__init__(label=label, coerce=_days, choices=LIFETIMES, initial=initial)


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
    once_more = "make the token once more"

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
                choices=[("", "No"), *((str(key.pk), _called(key)) for key in keys if key.provider == slug)],
                error_messages={"invalid_choice": "Choose a connected key."},
            )

        self._take(unsaved)

    def _take(self, unsaved: QueryDict | None) -> None:
        if unsaved and "days" in unsaved:
            for name, field in self.fields.items():
                is_list = isinstance(field, forms.MultipleChoiceField)
                self.initial[name] = unsaved.getlist(name) if is_list else unsaved.get(name, "")

    @property
    def direct_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self._of_providers]

    @property
    def _of_providers(self) -> list[str]:
        return [f"direct-{slug}" for slug in self._providers]

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
    def _calls(self) -> bool:
        return Permission.CALL_AGENTS in self.cleaned_data["scopes"]

    @property
    def _member(self) -> User:
        return self.members.get(self.cleaned_data["member"], self.maker).user

    @property
    def access(self) -> Access | None:
        """What the token is to call; None for one that calls nothing."""
        cleaned = self.cleaned_data
        if not self._calls:
            return None
        return Access(
            member=self._member,
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
            f"With this list the token could not call {named}. Add what is missing to the list, or {self.once_more} to "
            "have it so.",
        )
        self.forget("told", " ".join(left_out))
        return True

    def refuse(self, refusal: AccessRefused) -> None:
        is_shown = refusal.field in self.fields and (refusal.field != "agents" or self.by_slug)
        self.add_error(refusal.field if is_shown else None, str(refusal))


CALL_FIELDS = ("every_agent", "agents", "allowed_models", "requests_a_minute", "tokens_a_minute", "calls_at_once")


class ApiTokenEditForm(ApiTokenForm):
    """
    Of a token that clients hold. It begins with what the token is, and carries that in `seen`; `left_out` is what its
    list of models leaves out already.
    """

    days = LifetimeField(label="Expires")
    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    once_more = "save once more"

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        token: ApiToken,
        access: Access | None,
        left_out: Mapping[str, str],
        now: datetime,
        maker: Membership,
        agents: Sequence[Agent],
        keys: Sequence[ProviderKey],
        unsaved: QueryDict | None = None,
    ) -> None:
        gone = [key for key in access.direct_keys if key not in keys] if access else []
        super().__init__(data, maker=maker, members=(), agents=agents, keys=[*keys, *gone])
        self.token, self._had = token, access
        for name in ("scopes", "member", *(() if access else (*CALL_FIELDS, *self._of_providers))):
            del self.fields[name]
        has_expired = token.expires_at is not None and token.expires_at <= now
        end = f"{token.expires_at.day} {token.expires_at:%b %Y}" if token.expires_at else "Never"
        cast(forms.ChoiceField, self.fields["days"]).choices = [
            ("", "Choose…") if has_expired else (KEEP, f"{end}, as it is"),
            *((days, f"{words} from now" if days != NEVER else words) for days, words in LIFETIMES),
        ]
        self.initial = {"name": token.name, "days": "" if has_expired else KEEP, "told": " ".join(left_out)} | (
            _initial(access) if access else {}
        )
        self.initial["seen"] = stamp(token_parts(token, access))
        self._take(unsaved)

    @property
    def is_about_calls(self) -> bool:
        return self._had is not None

    _calls = is_about_calls

    @property
    def _member(self) -> User:
        return self._had.member if self._had else self.maker.user

    def expires_at(self, now: datetime) -> datetime | None:
        days = self.cleaned_data["days"]
        return self.token.expires_at if days == KEEP else end_of(days, now)


def _initial(access: Access) -> dict[str, Any]:
    return {
        "every_agent": access.every_agent,
        "agents": [agent.slug for agent in access.agents],
        "allowed_models": "\n".join(access.allowed_models),
        "requests_a_minute": access.requests_a_minute,
        "tokens_a_minute": access.tokens_a_minute,
        "calls_at_once": access.calls_at_once,
        **{f"direct-{key.provider}": str(key.pk) for key in access.direct_keys},
    }


def _called(key: ProviderKey) -> str:
    return key.label if key.is_usable else f"{key.label} ({key.state.label})"
