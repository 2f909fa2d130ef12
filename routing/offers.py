"""What the card of a connected key offers: to use it for the actions that are not routed to it, each with a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from organizations.models import Organization
from providers.models import ProviderKey
from routing.counterparts import Price, counterpart, listed_in_order, price_text
from routing.forms import RouteForm, choice_of, write_choice
from routing.key_models import offered_by
from routing.resolve import RoutingRow, resolve_all
from usage.what_if import Past


@dataclass(frozen=True, slots=True)
class OfferLine:
    form: RouteForm
    is_ticked: bool
    price: str  # of the model that stands in the form
    estimate: str = ""  # of what the action would have cost with it


@dataclass(frozen=True, slots=True)
class Offer:
    key: ProviderKey
    lines: Sequence[OfferLine]
    is_open: bool  # something built in has no key of the organization's own yet
    problem: str = ""


def offer_of(
    organization: Organization,
    key: ProviderKey,
    *,
    posted: Mapping[str, str] | None = None,
    typed: Mapping[str, str] | None = None,
    table: Iterable[RoutingRow] | None = None,
    pasts: Mapping[str, Past] | None = None,
    now: datetime,
) -> Offer:
    """
    The actions that `key` could serve and does not, as forms: bound to `posted`, or with the models that were `typed`.

    `table` is the routing table where the page has it, `pasts` what the actions used, to say what they would have
    cost. `model` among what was typed is meant for all of them.
    Ticked at first is what is built in and has no key of the organization's own: an agent may be meant to wait. Nothing
    is offered of a key that cannot be chosen.
    """
    given = posted if posted is not None else typed or {}
    if table is None:
        table = resolve_all(organization=organization)
    rows = [row for row in table if posted is not None or not _serves(key, row.rule)]
    if not key.is_usable:
        rows = []
    listed = listed_in_order(key) if rows else {}
    lines = []
    for row in rows:
        slug = row.action.slug
        model = given.get(f"{slug}-model") or given.get("model") or counterpart(row=row, key=key, listed=listed)
        initial = {"key": str(key.pk), "model": model, "was": write_choice(choice_of(row.rule))}
        is_ticked = given.get(f"{slug}-key") == str(key.pk) if f"{slug}-model" in given else _waits(row)
        form = RouteForm(posted, row=row, keys=[key], initial=initial, auto_id=f"use-{key.pk}-%s")
        form.fields["model"].widget.attrs |= {"list": f"models-of-{key.pk}", "data-saved": model}
        estimate = _estimate(pasts.get(slug), key, model, listed) if pasts is not None else ""
        lines.append(OfferLine(form, is_ticked, price_text(key, model, at=now, offered=listed), estimate))
    return Offer(key, lines, is_open=posted is not None or any(_waits(line.form.row) for line in lines))


def _estimate(past: Past | None, key: ProviderKey, model: str, listed: Mapping[str, Price]) -> str:
    if past is None or key.has_no_token_charges or not model:
        return ""
    return past.estimate(offered_by(key, model, listed.get(model, (None, None)))).words


def _waits(row: RoutingRow) -> bool:
    """Whether it has no key of the organization's own, and is no agent."""
    return row.rule is None and not row.action.is_agent


def _serves(key: ProviderKey, rule: object) -> bool:
    return getattr(rule, "key_id", None) == key.pk
