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
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.db.models import QuerySet, Sum

from billing.ledger import balance
from billing.verification import verify_ledgers
from candidates import acceptance
from candidates.briefings import create_briefing
from candidates.check_endings import OPEN
from candidates.models import Briefing, Candidate, CandidateCheck
from candidates.profiles.files import parse_file
from candidates.profiles.importing import import_profiles
from candidates.prompts.draft import DraftRequirement
from config.anomalies import open_anomalies
from config.demo_agents import AgentsAtWork
from config.demo_clock import StoryClock
from config.demo_history import ANTHROPIC, DAYS, GOOGLE, OPENAI, OPENROUTER, History
from config.onboarding import ensure_platform, open_organization
from organizations import clock
from organizations.models import Organization, User
from providers.adapters.secret import Secret
from providers.keys.saving import save_provider_key
from providers.keys.validation import request_validation, requeue_validations
from providers.models import KeyValidation, ProviderKey
from routing.actions import ACTIONS, action_names_of
from routing.services import save_routing
from usage import amounts, gaps
from usage.days import start_of_day
from usage.episodes.words import MEASURES, said
from usage.models import Mode, UsageEvent
from usage.names import action_name

DATA = Path(__file__).parent / "demo_data"
OWNER_EMAIL = "owner@demo.example"
SLUG = "demo"
PATIENCE_SECONDS = 180
EMPTY_SLUG = "fresh-start"
KEYS = {key.provider: key.secret for key in (OPENROUTER, OPENAI, ANTHROPIC, GOOGLE)}
MANAGED_KEY = "sk-or-v1-simulated-valid-managed-0000"
LABEL = "Default"
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

    def history(self, clock: StoryClock) -> Iterator[Step]:
        """What came before; in a process that no worker helps, within `story_time()`."""
        known = Organization.objects.filter(slug=SLUG).first()
        history = History(clock=clock, organization=known, open_it=self.open_demo_organization)
        return (Step(title, live) for title, live in history.days())

    def steps(self) -> Iterator[Step]:
        yield Step("Importing 13 fictional profiles and two briefings", self.import_data)
        yield Step("Managed mode: 6 people, briefing A (new)", lambda: self.check("A", self.managed_people))
        yield Step("Managed mode: the same 6, briefing B (recent)", lambda: self.check("B", self.managed_people))
        yield Step("Saving and validating four provider keys", self.connect_keys)
        yield Step("Routing every action of a check to the own OpenRouter key", self.route)
        yield Step("One check whose answers cannot be read", lambda: self.check("A", self.unreadable_people))
        yield Step("BYOK mode: 6 other people, briefing B (new)", lambda: self.check("B", self.byok_people))
        yield Step("BYOK mode: the same 6, briefing A (recent)", lambda: self.check("A", self.byok_people))
        yield Step("Opening an empty organization, to set up keys in", self.open_empty_organization)

    def agents(self) -> AgentsAtWork:
        return AgentsAtWork(self.organization, self.owner, settings.ENV_FILE.parent)

    def work_agents(self, address: str) -> None:
        """By the gateway at `address`."""
        since = start_of_day(self.organization.created_at.date() + timedelta(days=DAYS))
        try:
            self.agents().work(address, since=since)
        except httpx.HTTPError as error:
            raise StoryStuck(f"The gateway did not answer as it should: {error}") from None

    def open_demo_organization(self) -> Organization:
        """With its owner, and a managed key of the platform that serves it from the start."""
        self._connect(ensure_platform(), "openrouter", MANAGED_KEY, actor=None)
        owner = User.objects.filter(email=OWNER_EMAIL).first()
        if owner is None:
            owner = User.objects.create_superuser(OWNER_EMAIL, self.owner_password, name="Dana Demo")
        known = Organization.objects.filter(slug=SLUG).first()
        return known or open_organization(name="Demo Talent", slug=SLUG, owner=owner)

    def open_empty_organization(self) -> None:
        if not Organization.objects.filter(slug=EMPTY_SLUG).exists():
            open_organization(name="Fresh Start", slug=EMPTY_SLUG, owner=self.owner)

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
        key = ProviderKey.objects.for_organization(self.organization).get(provider="openrouter", label=LABEL)
        for action in ACTIONS:
            save_routing(organization=self.organization, action=action, key=key, model=ROUTED_MODEL, actor=self.owner)

    def check(self, briefing: str, people: Callable[[], list[Candidate]]) -> None:
        """Check `people` against a briefing, unless they were, and wait until a worker has done it."""
        target = self._briefing(briefing)
        done = set(target.checks.values_list("candidate_id", flat=True))
        missing = [person for person in people() if person.pk not in done]
        if missing:
            acceptance.accept_checks(
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
        """What happened in the story, and under `history` what happened before it; counted from the database."""
        organization = self.organization
        checks_of_all = CandidateCheck.objects.for_organization(organization)
        people = [person.pk for person in self._people()]
        before = checks_of_all.exclude(candidate__in=people)
        connected = ProviderKey.objects.for_organization(organization).filter(
            status=ProviderKey.Status.CONNECTED, label=LABEL, provider__in=KEYS
        )
        return {
            **self._figures(checks_of_all.filter(candidate__in=people)),
            "credits_available": balance(organization=organization).available,
            "ledger_verified": not any(report.problems for report in verify_ledgers(Organization.objects.all())),
            "keys_connected": sorted(connected.values_list("provider", flat=True)),
            "history": {
                "days": DAYS,
                **self._figures(before),
                "models": sorted(set(self._calls(before).values_list("model", flat=True))),
            },
            "gateway": self.agents().summary(),
            "anomalies": self._anomalies(),
            "url": url,
            "login": {"email": OWNER_EMAIL, "password": self.owner_password},
        }

    def _anomalies(self) -> list[dict[str, str]]:
        """Those open of which it is known what drives them."""
        names = action_names_of(self.organization)
        return [
            {
                "title": said(each, action=action_name(each.action, names)).title,
                "since": f"{each.since:%Y-%m-%d %H:%M}",
                "drivers": ", ".join(MEASURES[driver["name"]] for driver in each.drivers or ()),
            }
            for each in open_anomalies(self.organization)
            if each.drivers
        ]

    def _figures(self, rows: QuerySet[CandidateCheck]) -> dict[str, Any]:
        completed = rows.filter(status=CandidateCheck.Status.COMPLETED)
        own = self._calls(rows).filter(mode=Mode.BYOK)  # as on the pages: USD are of the calls on own keys
        cost = own.aggregate(sum=Sum("cost_nanousd"))["sum"] or 0
        unpriced, unanswered = own.filter(gaps.UNPRICED).count(), own.filter(gaps.UNKNOWN).count()
        return {
            "checks": {
                **{
                    f"{mode}_{kind}": completed.filter(mode=mode, kind=kind).count()
                    for mode in Mode.values
                    for kind in CandidateCheck.Kind.values
                },
                "failed": rows.filter(status=CandidateCheck.Status.FAILED).count(),
            },
            "credits_charged": rows.aggregate(sum=Sum("charged"))["sum"] or 0,
            "estimated_usd": f"{cost // 10**9}.{cost % 10**9:09}",
            "estimated_usd_shown": amounts.at_least(amounts.dollars(cost), if_incomplete=bool(unpriced or unanswered)),
            "usd_calls": own.count(),
            "managed_calls": self._calls(rows).filter(mode=Mode.MANAGED).count(),
            "unpriced_events": unpriced,
            "unanswered_events": unanswered,
        }

    def _calls(self, rows: QuerySet[CandidateCheck]) -> QuerySet[UsageEvent]:
        return UsageEvent.objects.for_organization(self.organization).filter(run_id__in=rows.values("run_id"))

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
        key = ProviderKey.objects.for_organization(organization).filter(provider=provider, label=LABEL).first()
        if key is None:
            key = save_provider_key(
                organization=organization,
                provider=provider,
                secret=Secret(secret),
                label=LABEL,
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
            raise StoryStuck(f"The {provider} key is {key.state.label.lower()}: {key.state.detail}")

    def _requeue_waiting_checks(self) -> None:
        if acceptance.organizations_with_waiting_checks(now=clock.now()):
            acceptance.queue_checks()

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
