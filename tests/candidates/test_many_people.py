"""What many people cost is counted by the database, and is to the credit what reading them one by one says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as unhurried
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from billing.ledger import balance
from candidates import recency
from candidates.credit_costs import CREDIT_COSTS, affordable, quote
from candidates.models import Briefing, Candidate, CandidateCheck, Profile
from candidates.recency import kind_for, recent_among
from organizations.models import Organization
from tests.builders import NOW, connect_managed_key, give_credits, import_people, route_to_own_key, write_briefing

TEXTS = (
    "Builds payment services in Django and PostgreSQL at Fjordpay, and mentors two junior engineers there.",
    "Builds payment services in Django and PostgreSQL at Fjordpay, and mentors three junior engineers there.",
    "Bakes sourdough bread before sunrise, runs a shop in Lyon with six apprentices and their cargo bikes.",
)
PEOPLE = 4
person = st.integers(0, PEOPLE - 1)
PROFILES = st.lists(st.tuples(person, st.sampled_from(TEXTS)), max_size=6)
CHECKS = st.lists(
    st.tuples(
        person,
        st.integers(0, 40),  # days ago
        st.integers(0, 3),  # which profile of theirs, in any order: clocks go wrong
        st.sampled_from(["new", "recent"]),
        st.sampled_from(["completed", "completed", "completed", "failed", "in_progress"]),
    ),
    max_size=10,
)


@pytest.mark.usefixtures("simulated_providers")
class AnyHistory(TestCase):
    def setUp(self) -> None:
        self.acme = Organization.objects.create(name="Acme", slug="acme")
        connect_managed_key()
        self.people = import_people(self.acme, *[TEXTS[0]] * PEOPLE)
        self.briefing, self.earlier = (write_briefing(self.acme, ("Django", "must"), title=title) for title in "AB")

    def arrange(self, profiles, checks) -> None:
        for version, (number, text) in enumerate(profiles, 2):
            Profile.objects.create(
                organization=self.acme,
                candidate=self.people[number],
                version=version,
                content={"basics": {"summary": text}},
                digest=str(version),
            )
        for number, days, profile, kind, status in checks:
            versions = Profile.objects.filter(candidate=self.people[number]).order_by("version")
            is_open = status == "in_progress"
            briefing: Briefing = self.briefing if is_open else self.earlier
            if is_open and briefing.checks.filter(candidate=self.people[number]).exists():
                continue
            CandidateCheck.objects.create(
                organization=self.acme,
                briefing=briefing,
                candidate=self.people[number],
                profile=versions[profile % len(versions)],
                status=status,
                mode="managed",
                kind=kind,
                price=4,
                route={},
                is_latest=is_open,
                accepted_at=NOW - timedelta(days=days),
                completed_at=None if is_open else NOW - timedelta(days=days),
            )

    @unhurried(max_examples=60, deadline=None)
    @given(PROFILES, CHECKS, st.integers(0, 12), st.booleans())
    def test_price_and_who_is_affordable_are_those_of_reading_everybody(self, profiles, checks, credits, byok) -> None:
        self.arrange(profiles, checks)
        if byok:
            route_to_own_key(self.acme)
        if credits:
            give_credits(self.acme, credits)
        everybody = Candidate.objects.for_organization(self.acme).order_by("-pk")

        kinds = kind_for(candidates=list(everybody), organization=self.acme, now=NOW)
        busy = set(self.briefing.checks.values_list("candidate_id", flat=True))
        offer = quote(organization=self.acme, briefing=self.briefing, candidates=everybody, now=NOW)
        chosen = affordable(organization=self.acme, briefing=self.briefing, candidates=everybody, now=NOW)

        recent = {pk for pk, kind in kinds.items() if kind == "recent"}
        assert recent_among(people=everybody, organization=self.acme, now=NOW) == recent
        waiting = {pk: kind for pk, kind in kinds.items() if pk not in busy}
        assert offer.skipped == len(busy)
        assert offer.count_of("new") == sum(kind == "new" for kind in waiting.values())
        assert offer.count_of("recent") == sum(kind == "recent" for kind in waiting.values())
        assert offer.total == sum(CREDIT_COSTS[offer.mode, kind] for kind in waiting.values())
        left, paid = balance(organization=self.acme).available, []
        for pk, kind in sorted(waiting.items(), key=lambda each: (CREDIT_COSTS[offer.mode, each[1]], -each[0])):
            if CREDIT_COSTS[offer.mode, kind] > left:
                break
            left -= CREDIT_COSTS[offer.mode, kind]
            paid.append(pk)
        assert [candidate.pk for candidate in chosen] == sorted(paid, reverse=True)


@pytest.mark.usefixtures("simulated_providers")
def test_a_check_that_ends_while_a_price_is_asked_for_makes_it_no_less_than_nothing(acme, monkeypatch):
    connect_managed_key()
    (person,) = import_people(acme, TEXTS[0])
    briefing = write_briefing(acme, ("Django", "must"))
    running = CandidateCheck.objects.create(
        organization=acme,
        briefing=briefing,
        candidate=person,
        profile=person.profiles.get(organization=acme),
        mode="managed",
        kind="new",
        price=4,
        route={},
        accepted_at=NOW,
    )

    def end_and_ask(**asked: Any) -> set[int]:
        CandidateCheck.objects.filter(pk=running.pk).update(status="completed", completed_at=NOW)
        return recent_among(**asked)

    monkeypatch.setattr(recency, "recent_among", end_and_ask)
    offer = quote(organization=acme, briefing=briefing, candidates=[person], now=NOW)

    assert [(line.kind, line.count, line.credits) for line in offer.lines] == [("recent", 1, 2)]
