"""Short ways to a state that tests start from; all through the real services."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from asgiref.sync import async_to_sync

from billing.ledger import grant_credits, open_account
from candidates.briefings import create_briefing
from candidates.check_endings import make_way
from candidates.models import Briefing, Candidate, CandidateCheck
from candidates.profiles.files import parse_file
from candidates.profiles.importing import import_profiles
from candidates.prompts.draft import DraftRequirement
from config.onboarding import ensure_platform
from gateway import dispatch
from gateway.ticket import Outcome, Ticket
from gateway.writer import Ended, Writer, open_writer
from organizations.audit import record
from organizations.models import Membership, Organization, User
from providers.adapters.base import ChatRequest, ChatResult
from providers.adapters.secret import Secret
from providers.catalog import PROVIDERS
from providers.egress.connections import open_client
from providers.keys.saving import save_provider_key
from providers.keys.validation import validate_key
from providers.models import KeyValidation, ProviderKey
from routing.actions import ACTIONS
from routing.resolve import Route
from routing.services import save_routing
from usage.facts import Admission

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PREFIXES = {
    "openrouter": "sk-or-v1-",
    "openai": "sk-proj-",
    "anthropic": "sk-ant-api03-",
    "google": "AQ.",
    "mistral": "",
    "openai_compatible": "",
    "anthropic_compatible": "",
    "gemini_compatible": "",
}
# Servers that organizations name, and those of them that may be their own or somebody else's.
SERVERS = tuple(slug for slug, provider in PROVIDERS.items() if provider.takes_base_url)
PERHAPS_OWN = tuple(slug for slug, provider in PROVIDERS.items() if provider.may_be_own_server)


def complete(*organizations: Organization) -> None:
    """What every organization begins with (config/onboarding.py) and those of the fixtures lack."""
    for organization in organizations:
        owner, _ = User.objects.get_or_create(email=f"owner@{organization.slug}.example")
        Membership.objects.get_or_create(
            organization=organization, user=owner, defaults={"role": Membership.Role.OWNER}
        )
        record(organization=organization, actor=owner, action="organization.opened", target=organization.name)
        open_account(organization=organization)


def connect_key(
    organization: Organization, provider: str = "openrouter", *, kind: str = "valid", label: str = "Default"
) -> ProviderKey:
    """A key as the simulator knows it (`kind`), saved and validated; needs the simulator."""
    key = save_provider_key(
        organization=organization,
        provider=provider,
        secret=Secret("" if provider == "ollama" else f"{PREFIXES[provider]}simulated-{kind}-0001"),
        actor=None,
        now=NOW,
        label=label,
    )
    validation = KeyValidation.objects.create(
        organization=organization, key=key, secret_version=key.secret_version, requested_at=NOW
    )
    validate_key(validation_id=validation.pk, now=NOW)
    return ProviderKey.objects.get(pk=key.pk)


def connect_managed_key(kind: str = "valid") -> ProviderKey:
    return connect_key(ensure_platform(), kind=kind)


def route_to_own_key(organization: Organization, model: str = "openai/gpt-4.1-mini") -> ProviderKey:
    """Every action on the organization's own OpenRouter key."""
    key = connect_key(organization)
    for action in ACTIONS:
        save_routing(organization=organization, action=action, key=key, model=model, actor=None)
    return key


def give_credits(organization: Organization, amount: int) -> None:
    open_account(organization=organization)
    grant_credits(organization=organization, amount=amount, reason="Test", idempotency_key=f"test:{amount}")


def write_briefing(organization: Organization, *requirements: tuple[str, str], title: str = "Engineer") -> Briefing:
    """A briefing from (text, "must" or "nice") pairs."""
    drafts = [DraftRequirement(text=text, kind=kind, weight=1) for text, kind in requirements]
    return create_briefing(organization=organization, title=title, requirements=drafts, actor=None, now=NOW)


def import_people(organization: Organization, *summaries: str) -> Sequence[Candidate]:
    """One candidate for each summary, in their order."""
    emails = [f"person{number}@people.example" for number, _ in enumerate(summaries, start=1)]
    resumes = [
        {"basics": {"name": email.split("@")[0].title(), "email": email, "summary": summary}}
        for email, summary in zip(emails, summaries, strict=True)
    ]
    import_profiles(organization=organization, rows=parse_file(json.dumps(resumes).encode()), actor=None)
    people = {person.email: person for person in Candidate.objects.for_organization(organization)}
    return [people[email] for email in emails]


def checked_before(*people: Candidate, at: datetime, kind: str = "new", status: str = "completed") -> None:
    """A check of each one's newest profile that ended at `at`, as a worker leaves it."""
    for person in people:
        organization = person.organization
        briefing, _ = Briefing.objects.get_or_create(organization=organization, title="An earlier position")
        make_way(briefing=briefing, candidates=[person.pk])
        CandidateCheck.objects.create(
            organization=organization,
            briefing=briefing,
            candidate=person,
            profile=person.profiles.filter(organization=organization).order_by("-version")[0],
            status=status,
            mode="managed",
            kind=kind,
            price=4,
            route={},
            accepted_at=at,
            completed_at=at if status in ("completed", "failed") else None,
        )


def run_call(
    *,
    organization: Organization,
    route: Route,
    run_id: uuid.UUID,
    iteration: int,
    request: ChatRequest,
    now: datetime,
) -> ChatResult:
    """One call from start to end. Raises RouteUnavailable and ProviderError."""
    ticket = dispatch.prepare(organization=organization, route=route, run_id=run_id, iteration=iteration, now=now)
    outcome = ask_with(ticket, request)
    if outcome.error is not None:
        raise outcome.error
    assert outcome.result is not None
    return outcome.result


def ask_with(ticket: Ticket, request: ChatRequest, *, timeout: float | None = None) -> Outcome:
    """What becomes of one call; it is given up after `timeout` seconds."""

    async def ask() -> Outcome:
        async with open_client() as client, open_writer() as writer:
            return await asyncio.wait_for(dispatch.ask(client, writer, ticket, request), timeout)

    return async_to_sync(ask)()


def admit(ticket: Ticket) -> None:
    async def admit_alone() -> None:
        async with open_writer() as writer:
            await writer.admit(ticket)

    async_to_sync(admit_alone)()


def settle(ticket: Ticket, outcome: Outcome, now: datetime = NOW) -> None:
    async def settle_alone() -> None:
        async with open_writer() as writer:
            await writer.settle(ticket, outcome, now)

    async_to_sync(settle_alone)()


def before_settling(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Have something happen after a provider has answered and before the call is in the books."""
    store = Writer._store

    def store_after(writer: Writer, items: Sequence[Admission | Ended]) -> None:
        if any(isinstance(item, Ended) for item in items):
            happens()
        store(writer, items)

    monkeypatch.setattr(Writer, "_store", store_after)
