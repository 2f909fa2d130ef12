"""
The story the demo tells, through the same services that pages and commands use.

Every step finds what an earlier run left done and adds only what is missing, so that a second run changes nothing
and an interrupted one is completed by the next.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Sum

from billing.ledger import balance
from billing.models import LedgerEntry
from billing.verification import verify_ledger
from candidates import checks
from candidates.briefings import DraftRequirement, create_briefing
from candidates.check_endings import OPEN
from candidates.models import Briefing, Candidate, CandidateCheck
from candidates.profiles import import_profiles, parse_file
from config.onboarding import ensure_platform, open_organization
from organizations import clock
from organizations.models import Organization, User
from providers.custody import Secret
from providers.models import KeyValidation, ProviderKey
from providers.services import save_provider_key
from providers.validation import request_validation, requeue_validations
from routing.actions import ACTIONS
from routing.services import save_routing
from usage import amounts
from usage.models import Mode
from usage.reports import cost_summary

DATA = Path(__file__).parent / "demo_data"
OWNER_EMAIL = "owner@demo.example"
SLUG = "demo"
PATIENCE_SECONDS = 180
# The simulator takes any key with "simulated-valid" in it.
KEYS = {
    "openrouter": "sk-or-v1-simulated-valid-demo-1111",
    "openai": "sk-proj-simulated-valid-demo-2222",
    "anthropic": "sk-ant-api03-simulated-valid-demo-3333",
    "google": "AQ.simulated-valid-demo-4444",
}
MANAGED_KEY = "sk-or-v1-simulated-valid-managed-0000"
ROUTED_MODEL = "anthropic/claude-sonnet-4.5"
PEOPLE_A_MODE = 6


class StoryStuck(Exception):
    """Something the story waits for did not happen; the text says what."""


@dataclass(frozen=True)
class Step:
    title: str
    run: Callable[[], None]


class Story:
    def __init__(self, *, owner_password: str) -> None:
        self.owner_password = owner_password

    def steps(self) -> Iterator[Step]:
        yield Step("Connecting the managed key of the platform", self.connect_managed_key)
        yield Step("Opening the demo organization", self.open_demo_organization)
        yield Step("Importing 13 fictional profiles and two briefings", self.import_data)
        yield Step("Managed mode: 6 people, briefing A (new)", lambda: self.check("A", self.managed_people))
        yield Step("Managed mode: the same 6, briefing B (recent)", lambda: self.check("B", self.managed_people))
        yield Step("Saving and validating four provider keys", self.connect_keys)
        yield Step("Routing every action of a check to the own OpenRouter key", self.route)
        yield Step("BYOK mode: 6 other people, briefing A (new)", lambda: self.check("A", self.byok_people))
        yield Step("BYOK mode: the same 6, briefing B (recent)", lambda: self.check("B", self.byok_people))
        yield Step("One check whose answers cannot be read", lambda: self.check("A", self.unreadable_people))

    def connect_managed_key(self) -> None:
        self._connect(ensure_platform(), "openrouter", MANAGED_KEY, actor=None)

    def open_demo_organization(self) -> None:
        owner = User.objects.filter(email=OWNER_EMAIL).first()
        if owner is None:
            owner = User.objects.create_superuser(OWNER_EMAIL, self.owner_password, name="Dana Demo")
        if not Organization.objects.filter(slug=SLUG).exists():
            open_organization(name="Demo Talent", slug=SLUG, owner=owner)

    def import_data(self) -> None:
        report = import_profiles(
            organization=self.organization,
            rows=parse_file((DATA / "profiles.jsonl").read_bytes()),
            actor=self.owner,
        )
        if report.errors:
            raise StoryStuck(f"The demo profiles were not all imported: {report.errors[0]}")
        for briefing in json.loads((DATA / "briefings.json").read_text()):
            if not Briefing.objects.for_organization(self.organization).filter(title=briefing["title"]).exists():
                create_briefing(
                    organization=self.organization,
                    title=briefing["title"],
                    job_description=briefing["job_description"],
                    requirements=[DraftRequirement(**requirement) for requirement in briefing["requirements"]],
                    actor=self.owner,
                    now=clock.now(),
                )

    def connect_keys(self) -> None:
        for provider, secret in KEYS.items():
            self._connect(self.organization, provider, secret, actor=self.owner)

    def route(self) -> None:
        key = ProviderKey.objects.for_organization(self.organization).get(provider="openrouter")
        for action in ACTIONS:
            save_routing(organization=self.organization, action=action, key=key, model=ROUTED_MODEL, actor=self.owner)

    def check(self, briefing: str, people: Callable[[], list[Candidate]]) -> None:
        """Check `people` against a briefing, unless they were, and wait until a worker has done it."""
        target = self._briefing(briefing)
        done = set(target.checks.values_list("candidate_id", flat=True))
        missing = [person for person in people() if person.pk not in done]
        if missing:
            checks.accept_checks(
                organization=self.organization,
                briefing=target,
                candidates=missing,
                actor=self.owner,
                now=clock.now(),
            )
        self._wait(
            lambda: not target.checks.filter(status__in=OPEN).exists(),
            "The checks did not finish",
            nudge=self._requeue_waiting_checks,
        )

    def managed_people(self) -> list[Candidate]:
        return self._people()[:PEOPLE_A_MODE]

    def byok_people(self) -> list[Candidate]:
        return self._people()[PEOPLE_A_MODE : 2 * PEOPLE_A_MODE]

    def unreadable_people(self) -> list[Candidate]:
        return self._people()[2 * PEOPLE_A_MODE :]

    def summary(self, *, url: str) -> dict[str, Any]:
        """What happened, counted from the database."""
        organization = self.organization
        rows = CandidateCheck.objects.for_organization(organization)
        completed = rows.filter(status=CandidateCheck.Status.COMPLETED)
        month = cost_summary(
            organization=organization,
            today=clock.now().date(),
            show_managed_usd=settings.KEYFARE_SHOW_MANAGED_USD,
        ).month
        cost = month.cost_nanousd or 0
        charged = LedgerEntry.objects.for_organization(organization).filter(kind=LedgerEntry.Kind.CAPTURE)
        connected = ProviderKey.objects.for_organization(organization).filter(status=ProviderKey.Status.CONNECTED)
        return {
            "checks": {
                **{
                    f"{mode}_{kind}": completed.filter(mode=mode, kind=kind).count()
                    for mode in Mode.values
                    for kind in CandidateCheck.Kind.values
                },
                "failed": rows.filter(status=CandidateCheck.Status.FAILED).count(),
            },
            "credits_charged": -(charged.aggregate(sum=Sum("d_posted"))["sum"] or 0),
            "credits_available": balance(organization=organization).available,
            # As on the pages: USD are of the calls on own keys.
            "estimated_usd": f"{cost // 10**9}.{cost % 10**9:09}",
            "estimated_usd_shown": amounts.at_least(amounts.dollars(cost), if_incomplete=month.is_incomplete),
            "usd_calls": month.usd_calls,
            "managed_calls": month.hidden_calls,
            "unpriced_events": month.unpriced_calls,
            "unanswered_events": month.unknown_calls,
            "ledger_verified": not verify_ledger(organization=organization),
            "keys_connected": sorted(connected.values_list("provider", flat=True)),
            "url": url,
            "login": {"email": OWNER_EMAIL, "password": self.owner_password},
        }

    @property
    def organization(self) -> Organization:
        return Organization.objects.get(slug=SLUG)

    @property
    def owner(self) -> User:
        return User.objects.get(email=OWNER_EMAIL)

    def _people(self) -> list[Candidate]:
        """In the order of the file: ids of one import need not be."""
        names = [json.loads(line)["basics"]["name"] for line in (DATA / "profiles.jsonl").read_text().splitlines()]
        people = {person.name: person for person in Candidate.objects.for_organization(self.organization)}
        return [people[name] for name in names]

    def _briefing(self, key: str) -> Briefing:
        titles = {briefing["key"]: briefing["title"] for briefing in json.loads((DATA / "briefings.json").read_text())}
        return Briefing.objects.for_organization(self.organization).get(title=titles[key], version=1)

    def _connect(self, organization: Organization, provider: str, secret: str, actor: User | None) -> None:
        key = ProviderKey.objects.for_organization(organization).filter(provider=provider).first()
        if key is None:
            key = save_provider_key(
                organization=organization,
                provider=provider,
                secret=Secret(secret),
                actor=actor,
                now=clock.now(),
            )
        if not key.is_usable:
            request_validation(key=key, actor=actor, now=clock.now())
        waiting = KeyValidation.objects.filter(key=key, state=KeyValidation.State.QUEUED)
        self._wait(
            lambda: not waiting.exists(),
            f"The {provider} key was not validated",
            nudge=lambda: requeue_validations(now=clock.now(), older_than_seconds=10),
        )
        key.refresh_from_db()
        if not key.is_usable:
            raise StoryStuck(f"The {provider} key is {key.get_status_display().lower()}: {key.status_detail}")

    def _requeue_waiting_checks(self) -> None:
        if checks.organizations_with_waiting_checks(now=clock.now()):
            checks.queue_checks()

    def _wait(self, done: Callable[[], bool], trouble: str, *, nudge: Callable[[], object]) -> None:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        nudge_at = time.monotonic() + settings.KEYFARE_CHECK_LEASE_SECONDS / 4
        while not done():
            if time.monotonic() > give_up_at:
                raise StoryStuck(f"{trouble} within {PATIENCE_SECONDS} seconds.")
            if time.monotonic() > nudge_at:
                nudge()
                nudge_at = time.monotonic() + settings.KEYFARE_CHECK_LEASE_SECONDS / 4
            time.sleep(0.1)
