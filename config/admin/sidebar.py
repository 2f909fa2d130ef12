"""The sidebar of the staff admin, and the files that its pages load."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: models by what staff come to do. Models that are not registered (yet) are left out."""
    registered = {model._meta.label_lower for model in admin.site._registry}
    groups: list[dict[str, Any]] = []
    for title, items in SIDEBAR:
        links = [
            {
                "title": label,
                "icon": icon,
                "link": reverse_lazy(f"admin:{model.replace('.', '_')}_changelist"),
                "permission": may_view(model),
            }
            for label, icon, model in items
            if model in registered
        ]
        groups.append({"title": title, "separator": True, "items": links})
    dashboard_link = {"title": "Dashboard", "icon": "dashboard", "link": reverse_lazy("admin:index")}
    return [{"items": [dashboard_link]}, *groups]


def may_view(model: str) -> Any:
    app, _, name = model.partition(".")
    return lambda request: request.user.has_perm(f"{app}.view_{name}")


# Label, icon (Material Symbols, bundled by Unfold), model.
SIDEBAR: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "Organizations",
        (
            ("Organizations", "apartment", "organizations.organization"),
            ("Members", "badge", "organizations.membership"),
            ("Invitations", "forward_to_inbox", "organizations.invitation"),
            ("API tokens", "vpn_key", "organizations.apitoken"),
            ("Audit log", "history", "organizations.auditevent"),
        ),
    ),
    (
        "Credits",
        (
            ("Accounts", "account_balance_wallet", "billing.creditaccount"),
            ("Ledger entries", "receipt_long", "billing.ledgerentry"),
            ("Lots", "redeem", "billing.creditlot"),
            ("Holds", "hourglass_top", "billing.credithold"),
        ),
    ),
    (
        "Metrics",
        (
            ("Calls", "monitoring", "usage.usageevent"),
            ("Calls in flight", "flight_takeoff", "usage.inflightcall"),
            ("Runs", "replay", "usage.usagerun"),
            ("Daily figures", "calendar_month", "usage.usagedaily"),
            ("Hourly figures", "schedule", "usage.usagehourly"),
            ("Figures by label", "label", "usage.usagebylabel"),
            ("Anomalies", "troubleshoot", "usage.anomaly"),
            ("Webhooks of anomalies", "webhook", "usage.anomalywebhook"),
            ("Saved views", "bookmark", "usage.savedview"),
            ("Sealed months", "verified", "usage.sealedmonth"),
        ),
    ),
    (
        "Providers and routing",
        (
            ("Provider keys", "key", "providers.providerkey"),
            ("Validations", "fact_check", "providers.keyvalidation"),
            ("Available models", "neurology", "providers.availablemodel"),
            ("Private endpoints", "lan", "providers.privateendpoint"),
            ("Managed defaults", "tune", "routing.manageddefault"),
            ("Routing rules", "alt_route", "routing.routingrule"),
            ("Agents", "smart_toy", "routing.agent"),
            ("What tokens call", "hub", "routing.callaccess"),
            ("Agents of tokens", "linked_services", "routing.callableagent"),
            ("Direct keys of tokens", "key_visualizer", "routing.directkey"),
            ("Notices of models", "notifications", "routing.modelnotice"),
        ),
    ),
    (
        "Checks",
        (
            ("Checks", "task_alt", "candidates.candidatecheck"),
            ("Verdicts", "rule", "candidates.requirementverdict"),
            ("Trials of models", "experiment", "candidates.trial"),
            ("Checks of trials", "labs", "candidates.trialcheck"),
            ("Briefings", "description", "candidates.briefing"),
            ("Requirements", "checklist", "candidates.requirement"),
            ("Candidates", "group", "candidates.candidate"),
            ("Profiles", "contact_page", "candidates.profile"),
        ),
    ),
    (
        "Jobs",
        (
            ("Schedules", "schedule", "django_q.schedule"),
            ("Failed tasks", "error", "django_q.failure"),
            ("Mails", "outbox", "organizations.outgoingmail"),
            ("Mail server", "dns", "organizations.mailserver"),
        ),
    ),
    (
        "People and security",
        (
            ("Users", "person", "organizations.user"),
            ("E-mail addresses", "mail", "account.emailaddress"),
            ("Changes of e-mail", "alternate_email", "organizations.emailchange"),
            ("Second factors", "passkey", "mfa.authenticator"),
        ),
    ),
    (
        "Internals",  # what the product keeps for itself; nothing of it is changed by hand
        (
            ("Audit log heads", "link", "organizations.audithead"),
            ("Requests done once", "repeat_one", "organizations.donerequest"),
            ("Allocations of holds", "call_split", "billing.holdallocation"),
            ("Organization keys", "encrypted", "providers.organizationkey"),
            ("Refused fields", "rule", "providers.modelquirk"),
            ("State of the rollup", "update", "usage.rollupstate"),
            ("Words of people", "search", "candidates.candidateword"),
            ("Sightings", "visibility", "candidates.profilesighting"),
            ("Waiting tasks", "pending", "django_q.ormq"),
            ("Finished tasks", "check_circle", "django_q.success"),
        ),
    ),
)


def icon_url(request: HttpRequest) -> str:
    return static("keyfare/icon.svg")


def script_url(request: HttpRequest) -> str:
    return static("keyfare/admin.js")


def style_url(request: HttpRequest) -> str:
    return static("keyfare/admin.css")
