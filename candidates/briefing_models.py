"""A key and model of a briefing's own, "harder search": who chooses it, and what routing is told of it."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse

from candidates.models import Briefing, CandidateCheck
from organizations.audit import record
from organizations.edits import check_seen
from organizations.models import Organization, User
from providers.models import ProviderKey
from routing.actions import CANDIDATE_CHECK
from routing.models import RoutingRule
from routing.own_models import OwnModel
from routing.services import check_allowed, lock_chosen_key, lock_routes, route_parts
from usage.names import provider_name

CHOSEN, CLEARED = "briefing.model_chosen", "briefing.model_cleared"


def choose_model(
    *, briefing: Briefing, key: ProviderKey | None, model: str, actor: User | None, seen: str | None = None
) -> bool:
    """
    Have checks against `briefing` served by `model` on the organization's own `key`; with None, as the action is
    routed. Checks that were accepted keep what they have. Returns whether that was news.

    Raises RuleRefused, ProviderKey.DoesNotExist where the key is gone, Briefing.DoesNotExist, and ChangedMeanwhile
    where the choice is not the one that the page had `seen`.
    """
    organization = briefing.organization
    with transaction.atomic():
        lock_routes(organization)
        briefings = Briefing.objects.for_organization(organization).select_for_update(no_key=True, of=("self",))
        locked = briefings.select_related("key").get(pk=briefing.pk)
        chosen = (key.pk, model) if key else (None, "")
        if chosen == (locked.key_id, locked.model):
            return False
        if key:
            key = lock_chosen_key(organization, key, model)
            rule = RoutingRule.objects.for_organization(organization).filter(action=CANDIDATE_CHECK.slug).first()
            check_allowed(rule, CANDIDATE_CHECK, key, model)
        _check_seen(locked, seen, reader=actor)
        locked.key_id, locked.model = chosen
        locked.save(update_fields=["key", "model"])
        named = {"provider": key.provider, "key_label": key.label, "model": model} if key else {}
        record(
            organization=organization,
            actor=actor,
            action=CHOSEN if key else CLEARED,
            target=_target(locked),
            **named,
        )
    return True


def model_parts(briefing: Briefing) -> dict[str, object]:
    """The choice as a form shows it."""
    return route_parts(str(briefing.key_id or ""), briefing.model)


def _target(briefing: Briefing) -> str:
    """In the audit log: of several of one title, this one."""
    return f"Briefing {briefing.pk}: {briefing}"


def _check_seen(briefing: Briefing, seen: str | None, *, reader: User | None) -> None:
    key = briefing.key
    now = f"{provider_name(key.provider)} · {key.label}, {briefing.model}" if key else "as the action is routed"
    check_seen(
        seen,
        model_parts(briefing),
        what=f"the model of this briefing to {now}" if key else f"the model of this briefing: {now}",
        organization=briefing.organization,
        actions=[CHOSEN, CLEARED],
        target=_target(briefing),
        reader=reader,
        what_to_do="Do it again to overrule.",
    )


# What routing asks (routing/own_models.py) -------------------------------------------------------------


def newest(*, organization: Organization, most: int) -> list[OwnModel]:
    found = _with_model(organization).filter(archived_at=None)
    return [_told(briefing) for briefing in found.order_by("-pk")[:most]]


def served_by(*, key: ProviderKey, lock: bool) -> list[OwnModel]:
    found = _with_model(key.organization).filter(key=key).order_by("pk")
    if lock:
        found = found.select_for_update(no_key=True, of=("self",))
    return [_told(briefing) for briefing in found]


def move(*, own: OwnModel, key: ProviderKey | None, model: str, actor: User | None) -> None:
    briefing = _with_model(own.key.organization).get(pk=int(own.mark.partition(":")[2]))
    choose_model(briefing=briefing, key=key, model=model, actor=actor)


def has_served(*, organization: Organization, run_id: UUID) -> bool:
    check = CandidateCheck.objects.for_organization(organization).filter(run_id=run_id).only("route").first()
    return check is not None and bool(check.own_model)


def _with_model(organization: Organization) -> QuerySet[Briefing]:
    briefings: QuerySet[Briefing] = Briefing.objects.for_organization(organization)
    return briefings.filter(key__isnull=False).select_related("organization", "key")


def _told(briefing: Briefing) -> OwnModel:
    assert briefing.key is not None  # noqa: S101  # only those with a key are asked for
    return OwnModel(
        action=CANDIDATE_CHECK.slug,
        mark=f"briefing:{briefing.pk}",
        name=f"Briefing “{briefing}”",
        url=reverse("candidates:briefing", args=[briefing.organization.slug, briefing.pk]),
        key=briefing.key,
        model=briefing.model,
    )
