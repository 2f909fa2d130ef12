"""Anomalies as a page shows them, with what the apps above usage know: agents by name, and whether these can pause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC

from django.db.models import Q

from config.anomaly_credits import credits_said
from config.own_names import own_names
from organizations.models import Organization, TenantQuerySet
from routing.actions import action_names_of
from routing.models import RoutingRule
from usage.audience import sees_usd
from usage.episodes.words import Said, names_of_callers, said, until
from usage.forms import MOMENT
from usage.models import Anomaly, Mode
from usage.names import action_name
from usage.templatetags.usage_format import calls_url

ROWS = 50
FEW = 4  # on the overview
State, Kind = Anomaly.State, Anomaly.Kind


@dataclass(frozen=True, slots=True)
class Shown:
    """`calls_url` lists the calls that it is about; `rule` is that of its action where calls go by one."""

    anomaly: Anomaly
    said: Said
    calls_url: str
    rule: RoutingRule | None
    expected: str


def said_of(anomaly: Anomaly) -> Said:
    organization = anomaly.organization
    return said(
        anomaly,
        action=action_name(anomaly.action, action_names_of(organization)),
        callers=_names(organization, [anomaly]),
        credits=credits_said(organization, [anomaly]).get(anomaly.pk, ""),
    )


def told_anomalies(organization: Organization) -> TenantQuerySet[Anomaly]:
    """Those that the organization is told of, the latest first."""
    told = Anomaly.objects.for_organization(organization).order_by("-since", "-id")
    return told if sees_usd(Mode.MANAGED) else told.exclude(Q(mode=Mode.MANAGED) & Q(kind__in=Anomaly.OF_USD))


def open_anomalies(organization: Organization) -> list[Anomaly]:
    """The latest few, in one statement."""
    return list(told_anomalies(organization).filter(state=State.OPEN)[:FEW])


def shown_anomalies(organization: Organization) -> list[Shown]:
    """The latest ones that the organization is told of, open ones first."""
    rows = list(told_anomalies(organization).select_related("expected_by")[:ROWS])
    rows.sort(key=lambda anomaly: anomaly.state != State.OPEN)
    if not rows:
        return []
    names, callers = action_names_of(organization), _names(organization, rows)
    credits = credits_said(organization, rows)
    rules = {
        rule.action: rule
        for rule in RoutingRule.objects.for_organization(organization).filter(
            action__in={anomaly.action for anomaly in rows}
        )
    }
    return [
        Shown(
            anomaly=anomaly,
            said=said(
                anomaly,
                action=action_name(anomaly.action, names),
                callers=callers,
                credits=credits.get(anomaly.pk, ""),
            ),
            calls_url=calls_url(organization, **_calls(anomaly)),
            rule=rules.get(anomaly.action) if anomaly.mode == Mode.BYOK else None,
            expected=_expected(anomaly),
        )
        for anomaly in rows
    ]


def _names(organization: Organization, rows: Sequence[Anomaly]) -> dict[str, str]:
    """Of tokens and keys that these are about, by their ids."""
    names = names_of_callers(organization, rows)
    if any(anomaly.kind == Kind.ELSEWHERE for anomaly in rows):
        keys = own_names(organization, only=("key",)).keys
        names |= {str(pk): f"The key “{name}”" for pk, name in keys.items()}
    return names


def _calls(anomaly: Anomaly) -> dict[str, str]:
    if anomaly.kind == Kind.DEAR_RUN:
        return {"run": anomaly.subject}
    provider, _, model = anomaly.subject.partition("/") if anomaly.kind == Kind.NEW_MODEL else ("", "", "")
    return {
        "action": anomaly.action,
        "mode": anomaly.mode,
        "since": f"{anomaly.since.astimezone(UTC):{MOMENT}}",
        "until": f"{anomaly.seen_at.astimezone(UTC):{MOMENT}}",
        "status": "errors" if anomaly.kind == Kind.ERROR_STORM else "",
        "provider": provider,
        "model": model,
        "key": anomaly.subject if anomaly.kind == Kind.ELSEWHERE else "",
        "token": anomaly.subject if anomaly.kind == Kind.NEW_CALLER else "",
    }


def _expected(anomaly: Anomaly) -> str:
    """Who said so, and how far it holds."""
    if anomaly.state != State.EXPECTED:
        return ""
    who = anomaly.expected_by.get_full_name() if anomaly.expected_by else "Somebody who left"
    text = f"{who} expects it {until(anomaly.expected_until)}"
    return f"{text}: {anomaly.expected_why}" if anomaly.expected_why else f"{text}."
