"""The front page of the staff admin: how the installation does today, and what was changed last."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Q, Sum
from django.http import HttpRequest
from django.urls import reverse, reverse_lazy

from candidates.models import CandidateCheck
from config.admin.mail import mail_figure
from config.admin.sidebar import may_view
from config.admin.usage_check import usage_check_figure
from config.worker import figures as work
from organizations import clock
from organizations.models import AuditEvent, Organization
from providers.models import ProviderKey
from usage import amounts, gaps
from usage.days import midnight_before
from usage.models import Mode, UsageEvent

LATEST_EVENTS = 12


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's DASHBOARD_CALLBACK: the figures of templates/admin/index.html that one may see. Days are UTC."""
    today = midnight_before(clock.now())
    calls = UsageEvent.objects.filter(occurred_at__gte=today)
    managed = calls.filter(mode=Mode.MANAGED).aggregate(
        calls=Count("pk"),
        cost=Sum("cost_nanousd"),
        unpriced=Count("pk", filter=gaps.UNPRICED),
        unanswered=Count("pk", filter=gaps.UNKNOWN),
    )
    outcomes = calls.aggregate(
        calls=Count("pk"),
        failed=Count("pk", filter=Q(status__in=UsageEvent.ERRORS)),
        unanswered=Count("pk", filter=gaps.UNKNOWN),
    )
    since = urlencode({"occurred_at__gte": today.isoformat(" ")})
    calls_today = f"{reverse('admin:usage_usageevent_changelist')}?{since}"
    keys = ProviderKey.objects.filter(organization__is_platform=False, replaces=None)
    checks = CandidateCheck.objects.filter(accepted_at__gte=today)
    figures: list[dict[str, Any]] = [
        {
            "label": "Organizations",
            "value": Organization.objects.customers().filter(closed_at=None).count(),
            "note": "open",
            "link": reverse_lazy("admin:organizations_organization_changelist"),
            "of": "organizations.organization",
        },
        {
            "label": "Keys connected",
            "value": keys.usable().count(),
            "note": f"of {keys.count()} keys of customers",
            "link": reverse_lazy("admin:providers_providerkey_changelist"),
            "of": "providers.providerkey",
        },
        {
            "label": "Checks today",
            "value": checks.count(),
            "note": f"{checks.filter(status=CandidateCheck.Status.FAILED).count()} failed",
            "link": reverse_lazy("admin:candidates_candidatecheck_changelist"),
            "of": "candidates.candidatecheck",
        },
        {
            "label": "Model calls today",
            "value": outcomes["calls"],
            "note": f"{outcomes['failed']} failed, {outcomes['unanswered']} without an answer",
            "link": calls_today,
            "of": "usage.usageevent",
        },
        {
            "label": "Managed cost today",
            "value": _managed_usd(managed),
            "note": _managed_note(managed),
            "link": f"{calls_today}&mode__exact={Mode.MANAGED}",
            "of": "usage.usageevent",
        },
        *_managed_of_unknown_cost(managed, calls_today),
        *work.figures(today=today),
        mail_figure(),
        usage_check_figure(),
        *work.clock_figures(),
    ]
    context["figures"] = [figure for figure in figures if may_view(figure["of"])(request)]
    if not may_view("organizations.auditevent")(request):
        return context
    events = AuditEvent.objects.select_related("organization").order_by("-created_at", "-pk")
    context["audit_table"] = {
        "headers": ["Time (UTC)", "Organization", "Who", "What", "Of what"],
        "rows": [
            [
                f"{event.created_at:%Y-%m-%d %H:%M}",
                event.organization.name,
                event.actor_label,
                event.title,
                event.target,
            ]
            for event in events[:LATEST_EVENTS]
        ],
    }
    return context


def _managed_usd(managed: dict[str, Any]) -> str:
    is_incomplete = bool(managed["unpriced"] or managed["unanswered"])
    if is_incomplete and not managed["cost"]:
        return amounts.NOT_KNOWN
    return amounts.at_least(amounts.dollars(managed["cost"] or 0), if_incomplete=is_incomplete)


def _managed_note(managed: dict[str, Any]) -> str:
    """Which calls the sum is of."""
    missing = managed["unpriced"] + managed["unanswered"]
    covered = f"{managed['calls'] - missing:,} of " if missing else ""
    return f"estimated, of {covered}{managed['calls']:,} Managed call{'s' if managed['calls'] != 1 else ''}"


def _managed_of_unknown_cost(managed: dict[str, Any], calls_today: str) -> list[dict[str, Any]]:
    missing = managed["unpriced"] + managed["unanswered"]
    if not missing:
        return []
    return [
        {
            "label": "Managed calls of unknown cost",
            "value": missing,
            "note": amounts.not_covered(unpriced=managed["unpriced"], unanswered=managed["unanswered"]),
            "link": f"{calls_today}&mode__exact={Mode.MANAGED}&price=not_known",
            "of": "usage.usageevent",
        }
    ]
