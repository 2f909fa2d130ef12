"""
What the demo's organization did in the 29 days before the story: a small agency that checks people on most days.

It begins in Managed mode, has two agents work on keys of its own, moves its checks to those as well, tries models of
several providers, has a busy day on which a key runs out of credit, and in the end goes back to the managed defaults,
from where the story sets out; by then one of its agents has lost its cache. Told through the services, at the story's
time (config/demo_clock.py). What happens depends on nothing but the moment at which it is told.

Every act finds what an earlier run left done. Days count from the one on which the organization was opened.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache, partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from django.conf import settings

from billing.ledger import balance, grant_credits
from billing.models import LedgerEntry
from candidates.acceptance import accept_checks
from candidates.briefings import create_briefing, draft_briefing, request_draft
from candidates.check_endings import OPEN
from candidates.models import Briefing, Candidate, CandidateCheck
from candidates.profiles.files import parse_file
from candidates.profiles.importing import import_profiles
from candidates.prompts.draft import DraftRequirement
from candidates.requirements import RequirementInput, ordered_requirements, save_requirements
from candidates.worker import run_pending_checks
from config.demo_agents import AgentsAtWork
from config.demo_agents_past import remember, remember_lost_cache
from config.demo_clock import StoryClock
from organizations.models import AuditEvent, Membership, Organization, User
from organizations.services import add_member
from providers.adapters.secret import Secret
from providers.keys.saving import save_provider_key
from providers.keys.validation import request_validation, validate_due_keys, validate_key
from providers.models import ProviderKey
from routing.actions import ACTIONS, CANDIDATE_CHECK
from routing.services import reset_routing, save_routing
from usage.days import start_of_day

DATA = Path(__file__).parent / "demo_data" / "history.json"
DAYS = 29
CREDITS, LEAST_CREDITS = 200, 60  # what the operator fills the account up to, once it is lower than that
SATURDAY = 5
PEOPLE_A_FAMILY = 7
LEVELS = (0, 1, 0, 1, 2, 0, 1)  # how far somebody has come, by their place in the family
CHECKS_BY_WEEKDAY = (5, 6, 6, 5, 4, 1, 1)
BUSY_DAY = 23  # or the last weekday before it
BUSY_CHECKS = 18
REFUSED_CHECKS = 5
RECRUITERS = {"rosa@demo.example": "Rosa Recruiter", "ben@demo.example": "Ben Brandt"}
Role = Membership.Role
UNREADABLE_MARKER = "[[simulate-unparsable]]"


@dataclass(frozen=True, slots=True)
class Batch:
    """People whom a recruiter has checked at once. The calls of a refused batch find no credit behind their key."""

    briefing: int
    hour: int
    people: tuple[str, ...]
    is_refused: bool = False
    follows_refusal: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    provider: str
    secret: str
    label: str = "Default"


OPENROUTER = Key("openrouter", "sk-or-v1-simulated-valid-demo-1111")
ANTHROPIC = Key("anthropic", "sk-ant-api03-simulated-valid-demo-3333")
GOOGLE = Key("google", "AQ.simulated-valid-demo-4444")
OPENAI = Key("openai", "sk-proj-simulated-valid-demo-2222")
# A key that is fine until the first call: its account has no credit left.
DRAINED = Key("openai", "sk-proj-simulated-drained-demo-5555", "Freelance project")
RENTED = Key("openai_compatible", "simulated-valid-rented-6666", "Rented GPU")
# Day → from then on candidate checks run on this model.
ROUTES = {
    8: (OPENROUTER, "anthropic/claude-sonnet-4.5"),
    13: (GOOGLE, "gemini-2.5-pro"),
    17: (RENTED, "Qwen/Qwen3-32B"),
    19: (OPENAI, "gpt-5.4"),
}
AGENTS_FROM = 3  # the day on which the agents begin
AFTER_THE_BREAK = (ANTHROPIC, "claude-opus-5-5")


class History:
    """For one organization, which the first act opens by `open_it`. `clock` is the story's."""

    def __init__(
        self, *, clock: StoryClock, organization: Organization | None, open_it: Callable[[], Organization]
    ) -> None:
        self.clock, self.open_it = clock, open_it
        self.first_day = organization.created_at.date() if organization else clock.now().date() - timedelta(days=DAYS)
        self._organization = organization

    def days(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """A title and what to do, for each day in turn; nothing if the last act was done before."""
        if self._organization and self._was_granted(self._end()):
            return
        for number, batches in enumerate(plan(self.first_day)):
            day = self.first_day + timedelta(days=number)
            yield f"History: {day:%A, %d %B}", partial(self._live, number, day, batches)

    @property
    def organization(self) -> Organization:
        assert self._organization is not None  # noqa: S101  # opened by the first act
        return self._organization

    def _live(self, number: int, day: date, batches: Sequence[Batch]) -> None:
        if number == 0:
            self._at(day, 8)
            self._organization = self.open_it()
            self._hire()
        self._at(day, 8, 15)
        if balance(organization=self.organization).available < LEAST_CREDITS:
            self._top_up()
        if number >= AGENTS_FROM:
            self._have_agents_at_work(day)
        if number in ROUTES:
            self._change_route(day, 8, *ROUTES[number])
        for batch in batches:
            if batch.is_refused:
                self._change_route(day, batch.hour - 1, DRAINED, "gpt-5.4")
            elif batch.follows_refusal:
                self._change_route(day, batch.hour - 1, *AFTER_THE_BREAK)
            self._check(day, batch)
        if number == DAYS - 1:
            self._end_in_managed_mode(day)

    def _hire(self) -> None:
        for email, name in RECRUITERS.items():
            user = User.objects.filter(email=email).first() or User.objects.create_user(email, None, name=name)
            if not self.organization.memberships.filter(user=user).exists():
                add_member(organization=self.organization, email=email, role=Role.MEMBER, actor=self._owner)

    def _have_agents_at_work(self, day: date) -> None:
        for key in (OPENAI, ANTHROPIC):
            self._connected(key)
        AgentsAtWork(self.organization, self._owner, settings.ENV_FILE.parent).open()
        remember(self.organization, day)

    def _top_up(self) -> None:
        """Up to CREDITS, once at each moment of the story."""
        key = f"top-up at {self.clock.set_to:%Y-%m-%d %H:%M}"
        missing = CREDITS - balance(organization=self.organization).available
        if missing > 0 and not self._was_granted(key):
            reason = f"Top-up to {CREDITS} credits"
            grant_credits(organization=self.organization, amount=missing, reason=reason, idempotency_key=key)

    def _change_route(self, day: date, hour: int, key: Key, model: str) -> None:
        self._at(day, hour, 30)
        row = self._connected(key)
        actions = ACTIONS if key == OPENROUTER else (CANDIDATE_CHECK.slug,)
        for action in actions:
            if not self._happened("routing.saved", ACTIONS[action].name):
                save_routing(organization=self.organization, action=action, key=row, model=model, actor=self._owner)

    def _connected(self, key: Key) -> ProviderKey:
        rows = ProviderKey.objects.for_organization(self.organization)
        row = rows.filter(provider=key.provider, label=key.label).first() or save_provider_key(
            organization=self.organization,
            provider=key.provider,
            secret=Secret(key.secret),
            label=key.label,
            actor=self._owner,
            now=self.clock.now(),
        )
        if row.status in (ProviderKey.Status.SAVED, ProviderKey.Status.VALIDATING):
            waiting = request_validation(key=row, actor=self._owner, now=self.clock.now())
            validate_key(validation_id=waiting.pk, now=self.clock.now())  # does nothing where the task did it
            row.refresh_from_db()
        return row

    def _check(self, day: date, batch: Batch) -> None:
        self._at(day, batch.hour, 10)
        briefing = self._briefing(batch.briefing)
        rows = CandidateCheck.objects.for_organization(self.organization)
        accepted = rows.filter(briefing=briefing, accepted_at__range=self._this_hour()).values("candidate_id")
        people = Candidate.objects.for_organization(self.organization).filter(name__in=batch.people)
        missing = list(people.exclude(pk__in=accepted).order_by("name"))
        if missing:
            actor = User.objects.get(email=list(RECRUITERS)[batch.briefing % len(RECRUITERS)])
            accept_checks(
                organization=self.organization,
                briefing=briefing,
                candidates=missing,
                actor=actor,
                now=self.clock.now(),
            )
        while rows.filter(status__in=OPEN).exists():  # an earlier run was cut off: its leases have to run out
            self.clock.set(self.clock.now() + timedelta(minutes=1))
            run_pending_checks(organization_id=self.organization.pk)

    def _briefing(self, number: int) -> Briefing:
        """Made, and its people imported, when it is first needed."""
        told = _data()["briefings"][number]
        briefing = Briefing.objects.for_organization(self.organization).filter(title=told["title"]).first()
        if briefing is None:
            for family in told["families"]:
                rows = "\n".join(json.dumps(profile) for profile in profiles(family))
                import_profiles(organization=self.organization, rows=parse_file(rows.encode()), actor=self._owner)
            briefing = self._drafted(told) if "job_description" in told else self._written(told)
        if briefing.state != Briefing.State.READY:
            self._use_draft(briefing)
        return briefing

    def _written(self, told: dict[str, Any]) -> Briefing:
        return create_briefing(
            organization=self.organization,
            title=told["title"],
            requirements=[DraftRequirement(*requirement) for requirement in told["requirements"]],
            actor=self._owner,
            now=self.clock.now(),
        )

    def _drafted(self, told: dict[str, Any]) -> Briefing:
        briefing = request_draft(
            organization=self.organization,
            title=told["title"],
            job_description=told["job_description"],
            actor=self._owner,
            now=self.clock.now(),
        )
        draft_briefing(briefing.pk, now=self.clock.now())  # does nothing where the task did it
        briefing.refresh_from_db()
        return briefing

    def _use_draft(self, briefing: Briefing) -> None:
        drafted = ordered_requirements(briefing)
        if not drafted:  # cut off while it was written
            draft_briefing(briefing.pk, now=self.clock.now())
            drafted = ordered_requirements(briefing)
        save_requirements(
            briefing=briefing,
            requirements=[RequirementInput(each.text, each.kind, each.weight, each.pk) for each in drafted],
            now=self.clock.now(),
            actor=self._owner,
        )

    def _end_in_managed_mode(self, day: date) -> None:
        self._at(day, 17)
        for action in ACTIONS:
            reset_routing(organization=self.organization, action=action, actor=self._owner)
        remember_lost_cache(self.organization, until=self.clock.begun_at)
        self.clock.set(self.clock.begun_at)  # so that the scheduled job has nothing to ask about on the first day
        validate_due_keys(now=self.clock.now(), older_than=timedelta(hours=1))
        self._at(day, 18)
        self._top_up()

    def _end(self) -> str:
        return f"top-up at {self.first_day + timedelta(days=DAYS - 1):%Y-%m-%d} 18:00"

    def _was_granted(self, key: str) -> bool:
        return LedgerEntry.objects.for_organization(self.organization).filter(idempotency_key=key).exists()

    def _happened(self, action: str, target: str) -> bool:
        events = AuditEvent.objects.for_organization(self.organization)
        return events.filter(action=action, target=target, created_at__range=self._this_hour()).exists()

    def _at(self, day: date, hour: int, minute: int = 0) -> None:
        self.clock.set(start_of_day(day) + timedelta(hours=hour, minutes=minute))

    def _this_hour(self) -> tuple[datetime, datetime]:
        return self.clock.set_to, self.clock.set_to + timedelta(minutes=59)

    @property
    def _owner(self) -> User:
        return self.organization.memberships.get(role=Role.OWNER).user


def plan(first_day: date) -> list[list[Batch]]:
    """Whom the organization checks on each day: in the order of the briefings, more on working days."""
    queue = [
        (number, name) for number, briefing in enumerate(_data()["briefings"]) for name in _pool(briefing["families"])
    ]
    weekdays = [(first_day + timedelta(days=number)).weekday() for number in range(DAYS)]
    busy = max(number for number in range(BUSY_DAY + 1) if weekdays[number] < SATURDAY)
    days = []
    for number, weekday in enumerate(weekdays):
        count = BUSY_CHECKS if number == busy else CHECKS_BY_WEEKDAY[weekday]
        today, queue = queue[:count], queue[count:]
        batches = [
            Batch(briefing, hour + place, tuple(name for _, name in people))
            for hour, half in ((11, today[: count // 2]), (14, today[count // 2 :]))
            for place, (briefing, people) in enumerate(groupby(half, key=itemgetter(0)))
        ]
        if number == busy:
            largest = max(batches, key=lambda batch: len(batch.people))
            refused = replace(largest, hour=9, people=largest.people[:REFUSED_CHECKS], is_refused=True)
            again = replace(largest, hour=10, follows_refusal=True)
            batches = [refused, again, *(batch for batch in batches if batch is not largest)]
        days.append(batches)
    return days


def profiles(family: str) -> list[dict[str, Any]]:
    """The people of a family, as JSON Resume; all fictional."""
    told = _data()
    texts, employers = told["families"][family], told["employers"]
    offset = list(told["families"]).index(family) * PEOPLE_A_FAMILY
    return [
        _profile(person, texts[LEVELS[place]], employers[(offset + place) % len(employers)], place)
        for place, person in enumerate(told["people"][family])
    ]


def _profile(person: str, text: dict[str, Any], employer: str, place: int) -> dict[str, Any]:
    name, city, country = person.split(", ")
    handle = "-".join("".join(each if each.isalnum() else " " for each in ascii_of(name).lower()).split())
    marker = (
        f" The marker {UNREADABLE_MARKER} shows an answer that is not JSON." if name in _data()["unreadable"] else ""
    )
    return {
        "basics": {
            "name": name,
            "label": text["label"],
            "email": f"{handle}@example.com",
            "summary": f"{text['summary']}{marker}",
            "location": {"city": city, "countryCode": country},
            "profiles": [{"network": "LinkedIn", "url": f"https://www.linkedin.com/in/{handle}-demo"}],
        },
        "work": [
            {
                "name": f"{employer} (fictional)",
                "position": text["label"],
                "location": city,
                "startDate": f"{2017 + place}-0{1 + place}",
                "summary": text["work"],
                "highlights": text["highlights"],
            }
        ],
        "skills": [{"name": "Skills", "keywords": text["skills"]}],
        "languages": [{"language": "English", "fluency": "Fluent"}],
    }


def ascii_of(name: str) -> str:
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()


def _pool(families: Sequence[str]) -> list[str]:
    """The people of the first of `families`, and those of the others who have come furthest."""
    people = _data()["people"]
    own, *others = ([person.split(", ")[0] for person in people[family]] for family in families)
    return [*own, *(name for family in others for place, name in enumerate(family) if LEVELS[place] == 0)]


@cache
def _data() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(DATA.read_text())
    return told
