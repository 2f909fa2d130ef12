"""What the provider cards of the settings page show: one card a provider, one row a key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Prefetch, QuerySet
from django.utils.dateparse import parse_datetime

from organizations.edits import stamp
from organizations.models import Organization
from providers.adapters.base import MOST_MODELS
from providers.catalog import PROVIDERS, Provider
from providers.forms import AddKeyForm, KeyForm, ProofModelForm, free_label
from providers.keys.saving import proof_parts
from providers.models import AvailableModel, KeyValidation, ProviderKey
from simulator.keys import KEYS_TO_TRY
from usage.audience import sees_any_usd

POLL_FOR_SECONDS = 60
Status = ProviderKey.Status

TONES: dict[str, str] = {
    Status.SAVED: "muted",
    Status.VALIDATING: "info",
    Status.CONNECTED: "ok",
    Status.LIMITED: "warn",
    Status.INVALID: "bad",
    Status.NO_CREDIT: "bad",
    Status.RATE_LIMITED: "warn",
    Status.UNREACHABLE: "warn",
    Status.NEEDS_REENTRY: "bad",
    Status.DISABLED: "muted",
}


@dataclass(frozen=True, slots=True)
class ReportedLimit:
    """One line of what the provider itself says about a key; `moment` where it is a time."""

    name: str
    text: str = ""
    moment: datetime | None = None


@dataclass(frozen=True, slots=True)
class ModelLine:
    """A model that a key can call; prices are per million tokens, "" where the provider lists none."""

    model: str
    name: str
    context_tokens: int | None
    input_price: str
    output_price: str


@dataclass(frozen=True, slots=True)
class Replacement:
    """A new secret that waits beside the key it is to replace."""

    key: ProviderKey
    provider: Provider
    is_validating: bool

    @property
    def tone(self) -> str:
        return "info" if self.is_validating else TONES[self.key.state.status]

    @property
    def sentence(self) -> str:
        if self.is_validating:
            return f"{self.provider.name} is being asked about it. It takes over as soon as it is accepted."
        return self.key.state.detail or "It has not been validated yet, so it has not taken over."

    @property
    def masked(self) -> str:
        return _masked(self.key)


@dataclass(frozen=True, slots=True)
class KeyRow:
    key: ProviderKey
    provider: Provider
    form: KeyForm  # replaces the key
    model_count: int
    limits: Sequence[ReportedLimit]
    is_validating: bool
    watched_since: int  # Unix seconds when the page began to wait for the validation
    has_given_up: bool = False
    refusal: str = ""  # why what was just asked for was not done
    is_fresh: bool = False  # just saved or replaced: validating it is the next step
    replacement: Replacement | None = None
    proof_form: ProofModelForm | None = None  # asks for a model, where nothing else can prove the key
    old_days: int = 0  # the age of a secret that should be replaced by now

    @property
    def proof_seen(self) -> str:
        return stamp(proof_parts(self.key))

    @property
    def tone(self) -> str:
        return TONES[self.key.state.status]

    @property
    def sentence(self) -> str:
        """The reason behind the status; never empty."""
        state = self.key.state
        if state.detail:
            return state.detail
        if state.status == Status.SAVED:
            return "Press Validate key to find out whether it works. Actions cannot use it before that."
        if state.status == Status.VALIDATING:
            return f"Asking {self.provider.name} about this key…"
        if state.status == Status.CONNECTED and not self.key.last4 and self.provider.takes_base_url:
            return "The server answers. Actions can be routed to it."
        if state.status == Status.CONNECTED:
            who = "The server" if self.provider.takes_base_url else self.provider.name
            return f"{who} accepts this key. Actions can be routed to it."
        return f"{self.provider.name} did not say why."

    @property
    def model_limit(self) -> int:
        """As many models are read of a list; a key with as many may have more."""
        return MOST_MODELS

    @property
    def masked(self) -> str:
        """The end of the key; of a server, whose key may be short or none, where it is."""
        if self.key.last4 or not self.key.base_url:
            return _masked(self.key)
        return self.key.base_url.partition("://")[2]


@dataclass(frozen=True, slots=True)
class ProviderCard:
    provider: Provider
    rows: Sequence[KeyRow]
    form: AddKeyForm

    @property
    def key_to_try(self) -> str:
        """In the demo, a key that the simulated provider accepts; "" elsewhere, and where it expects none."""
        return KEYS_TO_TRY.get(self.provider.slug, "") if settings.KEYFARE_DEMO else ""


def keys_of(organization: Organization) -> QuerySet[ProviderKey]:
    """
    The organization's keys with `model_count` and `has_queued_validation`, oldest first.

    A pending replacement is none of them: it stands in its key's `replacements`.
    """
    queued = KeyValidation.objects.filter(key=OuterRef("pk"), state=KeyValidation.State.QUEUED)
    pending = ProviderKey.objects.for_organization(organization).defer("ciphertext")
    return (
        ProviderKey.objects.for_organization(organization)
        .filter(replaces=None)
        .select_related("created_by")
        .prefetch_related(Prefetch("replacements", pending.annotate(has_queued_validation=Exists(queued))))
        .annotate(model_count=Count("available_models"), has_queued_validation=Exists(queued))
        .order_by("created_at", "pk")
    )


def provider_cards(keys: Sequence[ProviderKey], *, now: datetime) -> list[ProviderCard]:
    """A card a provider, of the keys of `keys_of`."""
    return [
        _card(provider, (key for key in keys if key.provider == provider.slug), now=now)
        for provider in PROVIDERS.values()
    ]


def provider_card(
    organization: Organization,
    provider: Provider,
    *,
    now: datetime,
    add_form: AddKeyForm | None = None,
    fresh_key: ProviderKey | None = None,
    refusal: tuple[ProviderKey, str] | None = None,
    proof: tuple[ProviderKey, ProofModelForm] | None = None,
) -> ProviderCard:
    """One card, with the form that holds errors, the key that was just saved, or why one was not validated."""
    return _card(
        provider,
        keys_of(organization).filter(provider=provider.slug),
        now=now,
        add_form=add_form,
        fresh_key=fresh_key,
        refusal=refusal,
        proof=proof,
    )


def key_row(
    key: ProviderKey,
    *,
    now: datetime,
    form: KeyForm | None = None,
    is_fresh: bool = False,
    watched_since: int | None = None,
    refusal: str = "",
    proof_form: ProofModelForm | None = None,
) -> KeyRow:
    """The row of a key that came from `keys_of`."""
    provider = PROVIDERS[key.provider]
    seconds = int(now.timestamp())
    since = seconds if watched_since is None else watched_since
    replacement = next((_replacement(pending) for pending in key.replacements.all()), None)
    is_validating = _is_validating(key) or bool(replacement and replacement.is_validating)
    return KeyRow(
        key=key,
        provider=provider,
        form=form or KeyForm(provider=provider, auto_id=f"replace-{key.pk}-%s", initial=initial_of(key)),
        model_count=getattr(key, "model_count", 0),
        limits=reported_limits(key.provider_limits),
        is_validating=is_validating,
        watched_since=since,
        has_given_up=is_validating and seconds - since >= POLL_FOR_SECONDS,
        refusal=refusal,
        is_fresh=is_fresh,
        replacement=replacement,
        proof_form=proof_form or _proof_form(key, replacement),
        old_days=days_if_old(key, now=now),
    )


def initial_of(key: ProviderKey) -> dict[str, str]:
    """What the form to replace `key` starts with; never anything of the key itself."""
    return {"base_url": key.base_url} if key.base_url else {}


def model_line(model: AvailableModel) -> ModelLine:
    prices = (model.input_nanousd_per_mtok, model.output_nanousd_per_mtok)
    price_in, price_out = ("" if price is None else usd_text(price) for price in prices)
    return ModelLine(model.model, model.name, model.context_tokens, price_in, price_out)


def _usd_limits(reported: dict[str, Any]) -> list[ReportedLimit]:
    limit = reported.get("limit_nanousd")
    every = f" {reported['limit_reset']}" if reported.get("limit_reset") else ""
    limits = [ReportedLimit("Spend limit", "none" if limit is None else f"{usd_text(limit)}{every}")]
    if reported.get("limit_remaining_nanousd") is not None:
        limits.append(ReportedLimit("Remaining", usd_text(reported["limit_remaining_nanousd"])))
    if reported.get("usage_nanousd") is not None:
        limits.append(ReportedLimit("Spent so far", usd_text(reported["usage_nanousd"])))
    return limits


def reported_limits(reported: dict[str, Any]) -> list[ReportedLimit]:
    """What a provider told about a key (see the adapters' `parse_validation`), in words."""
    if not reported:
        return []
    limits = _usd_limits(reported) if sees_any_usd() else []
    if reported.get("is_free_tier"):
        limits.append(ReportedLimit("Account", "free tier, with lower rate limits"))
    if reported.get("expires_at"):
        expires = str(reported["expires_at"])
        limits.append(ReportedLimit("Expires", expires, _moment(expires)))
    return limits


@lru_cache(maxsize=5_000)  # many models of a list cost the same
def usd_text(nanousd: int) -> str:
    """All digits that tell something, and at least the cents: "$0.075", "$12.00"."""
    whole, _, fraction = f"{Decimal(nanousd) / 10**9:,.9f}".partition(".")
    return f"${whole}.{fraction.rstrip('0').ljust(2, '0')}"


def _card(
    provider: Provider,
    keys: Iterable[ProviderKey],
    *,
    now: datetime,
    add_form: AddKeyForm | None = None,
    fresh_key: ProviderKey | None = None,
    refusal: tuple[ProviderKey, str] | None = None,
    proof: tuple[ProviderKey, ProofModelForm] | None = None,
) -> ProviderCard:
    refused, why = refusal or (None, "")
    asked, proof_form = proof or (None, None)
    rows = [
        key_row(
            key,
            now=now,
            is_fresh=key == fresh_key,
            refusal=why if key == refused else "",
            proof_form=proof_form if key == asked else None,
        )
        for key in keys
    ]
    add_form = add_form or AddKeyForm(
        provider=provider,
        auto_id=f"{provider.slug}-%s",
        initial={"label": free_label({row.key.label for row in rows})},
    )
    return ProviderCard(provider, rows, add_form)


def _replacement(pending: ProviderKey) -> Replacement:
    return Replacement(pending, PROVIDERS[pending.provider], _is_validating(pending))


def _proof_form(key: ProviderKey, replacement: Replacement | None) -> ProofModelForm | None:
    """Asks for a model where the last validation could not do without, and where one was typed before."""
    waiting = replacement.key if replacement else key
    could_not_be_checked = waiting.state.status == Status.SAVED and waiting.state.detail
    lists_nothing = key.is_usable and key.last_check_failed_at and not getattr(key, "model_count", 0)
    if not (
        waiting.proof_model or key.proof_model or waiting.must_prove_by_call or could_not_be_checked or lists_nothing
    ):
        return None
    initial = {"model": waiting.proof_model or key.proof_model}
    return ProofModelForm(auto_id=f"prove-{key.pk}-%s", initial=initial, label_suffix="")


def days_if_old(key: ProviderKey, *, now: datetime) -> int:
    """The age of a secret that should be replaced by now; 0 of others."""
    days = (now - key.secret_since).days
    if key.state.status == Status.DISABLED or not key.has_secret:
        return 0
    return days if 0 < settings.KEYFARE_KEY_ROTATION_DAYS <= days else 0


def _is_validating(key: ProviderKey) -> bool:
    return bool(getattr(key, "has_queued_validation", False)) or key.state.status == Status.VALIDATING


def _masked(key: ProviderKey) -> str:
    return f"…{key.last4}" if key.last4 else "…"


def _moment(text: str) -> datetime | None:
    try:
        return parse_datetime(text)
    except ValueError:
        return None
