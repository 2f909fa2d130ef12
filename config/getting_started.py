"""The checklist of a new organization. It ticks itself from what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Exists
from django.urls import reverse

from candidates.models import Candidate, CandidateCheck
from organizations.models import Organization
from providers.catalog import PROVIDERS
from providers.models import ProviderKey


@dataclass(frozen=True, slots=True)
class Step:
    title: str
    text: str
    link_text: str
    url: str
    is_done: bool


def _names(sold: bool) -> str:
    *names, last = [each.name for each in PROVIDERS.values() if each.takes_base_url is not sold]
    return f"{', '.join(names)} or {last}"


def _begun(organization: Organization, latest_checks: Sequence[CandidateCheck]) -> dict[str, bool]:
    if any(check.status == CandidateCheck.Status.COMPLETED for check in latest_checks):
        return {"imported": True, "checked": True}
    facts = {
        "imported": Exists(Candidate.objects.for_organization(organization)),
        "checked": Exists(
            CandidateCheck.objects.for_organization(organization).filter(status=CandidateCheck.Status.COMPLETED)
        ),
    }
    begun: dict[str, bool] = Organization.objects.filter(pk=organization.pk).annotate(**facts).values(*facts).get()
    return begun


def steps(
    *, organization: Organization, keys: Sequence[ProviderKey], is_routed: bool, latest_checks: Sequence[CandidateCheck]
) -> list[Step]:
    """
    In the order to take them, by all keys of the organization and the latest of its checks; one query where these do
    not tell all.
    """
    done = {
        "saved": bool(keys),
        "validated": any(key.validated_at for key in keys),
        "connected": any(key.is_usable for key in keys),
        "routed": is_routed,
        **_begun(organization, latest_checks),
    }

    settings_url = reverse("settings", args=[organization.slug])
    keys_url, routing_url = f"{settings_url}#llm-providers", f"{settings_url}#llm-routing"
    return [
        Step(
            "Save a provider key",
            f"Paste a key of {_names(True)}; or name a server of yours: {_names(False)}.",
            "Save key",
            keys_url,
            done["saved"],
        ),
        Step(
            "Validate it",
            "Keyfare asks the provider, in the background.",
            "Validate key",
            keys_url,
            done["validated"],
        ),
        Step(
            "See it Connected",
            "Only a connected key can serve an action.",
            "See status",
            keys_url,
            done["connected"],
        ),
        Step(
            "Route an action to it",
            "From then on that action runs on your own key, and checks cost fewer credits.",
            "Save routing",
            routing_url,
            done["routed"],
        ),
        Step(
            "Import candidates",
            "From JSON Resume files.",
            "Import candidates",
            reverse("candidates:import", args=[organization.slug]),
            done["imported"],
        ),
        Step(
            "Run a first check",
            "Write a briefing, then check candidates against it.",
            "Open briefings",
            reverse("candidates:briefings", args=[organization.slug]),
            done["checked"],
        ),
    ]
