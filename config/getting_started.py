"""The checklist of a new organization. It ticks itself from what is there."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Exists, QuerySet
from django.urls import reverse

from candidates.models import Briefing, Candidate, CandidateCheck
from organizations.models import Organization
from providers.models import ProviderKey
from routing.models import RoutingRule


@dataclass(frozen=True, slots=True)
class Step:
    title: str
    text: str
    link_text: str
    url: str
    is_done: bool


def steps(*, organization: Organization) -> list[Step]:
    """In the order to take them; one query."""
    keys = ProviderKey.objects.for_organization(organization)
    usable = (ProviderKey.Status.CONNECTED, ProviderKey.Status.LIMITED)
    facts = dict(
        saved=_any(keys),
        validated=_any(keys.exclude(validated_at=None)),
        connected=_any(keys.filter(status__in=usable)),
        routed=_any(RoutingRule.objects.for_organization(organization)),
        imported=_any(Candidate.objects.for_organization(organization)),
        briefed=_any(Briefing.objects.for_organization(organization)),
        checked=_any(
            CandidateCheck.objects.for_organization(organization).filter(status=CandidateCheck.Status.COMPLETED)
        ),
    )
    done = Organization.objects.filter(pk=organization.pk).values(**facts).get()

    settings_url = reverse("settings", args=[organization.slug])
    keys_url, routing_url = f"{settings_url}#llm-providers", f"{settings_url}#llm-routing"
    candidates_url = reverse("candidates:list", args=[organization.slug])
    briefings_url = reverse("candidates:briefings", args=[organization.slug])
    return [
        Step("Save a provider key", "Paste a key of OpenRouter, OpenAI, Anthropic or Google.", "Save key", keys_url, done["saved"]),
        Step("Validate it", "Keyfare asks the provider, in the background.", "Validate key", keys_url, done["validated"]),
        Step("See it Connected", "Only a connected key can serve an action.", "See status", keys_url, done["connected"]),
        Step("Route an action to it", "From then on that action runs on your own key: 1 credit for a new check instead of 4.", "Save routing", routing_url, done["routed"]),
        Step("Import candidates", "From JSON Resume files.", "Import", candidates_url, done["imported"]),
        Step("Run a first check", "Write a briefing, then check candidates against it.", "Open briefings", briefings_url, done["checked"]),
    ]


def _any(rows: QuerySet) -> Exists:
    return Exists(rows)
