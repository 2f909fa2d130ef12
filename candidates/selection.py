"""Whom somebody chooses to have checked: from a long list of which a page shows only a part."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import QueryDict

from candidates.briefings import checked_candidates, unchecked_candidates
from candidates.credit_costs import affordable
from candidates.models import Briefing, Candidate
from candidates.search import count_found, found_by
from organizations.reading import whole_number
from organizations.storable import storable
from organizations.typed_numbers import WholeNumberField

UNCHECKED, CHECKED, EVERYBODY = "unchecked", "checked", "all"
SHOW = {UNCHECKED: "Not yet checked", CHECKED: "Checked before", EVERYBODY: "Everybody"}
MOST_PEOPLE = 1_000_000
AT_MOST = WholeNumberField(
    required=False,
    min_value=1,
    max_value=MOST_PEOPLE,
    error_messages={
        "invalid": "Enter a whole number, such as 50, or nothing for all of them.",
        "min_value": "Enter a number from 1, or nothing for all of them.",
        "max_value": f"Enter a number up to {MOST_PEOPLE:,}, or nothing for all of them.",
    },
)


class Who(StrEnum):
    TICKED = "ticked"
    LISTED = "listed"
    AFFORDABLE = "affordable"


@dataclass(frozen=True, slots=True)
class Selection:
    """
    Of the people who match `query` and `show`, the list: those whom `who` says, `first` of them at most.

    TICKED are the `ticked` ones, and with `others` everybody not `shown`, which are those whom the page listed. Who
    no longer matches is left out. Where what was typed for `first` is no number, `problem` says so and nobody is
    chosen.
    """

    query: str = ""
    show: str = UNCHECKED
    who: Who = Who.TICKED
    shown: frozenset[int] = frozenset()
    ticked: frozenset[int] = frozenset()
    others: bool = False
    first: int | None = None
    first_typed: str = ""
    problem: str = ""

    @classmethod
    def read(cls, data: QueryDict) -> Self:
        """What a form sent. Only what was typed can be wrong; whatever else makes no sense counts as not sent."""
        show, who, typed = data.get("show", ""), data.get("who", ""), storable(data.get("first", "")).strip()
        first, problem = None, ""
        try:
            first = AT_MOST.clean(typed)
        except ValidationError as error:
            problem = error.messages[0]
        return cls(
            query=storable(data.get("q", "")).strip()[:200],
            show=show if show in SHOW else UNCHECKED,
            who=Who(who) if who in list(Who) else Who.TICKED,
            shown=_ids(data.getlist("shown")),
            ticked=_ids(data.getlist("candidates")),
            others="others" in data,
            first=first,
            first_typed=typed[:200],
            problem=problem,
        )

    def matching(self, briefing: Briefing) -> QuerySet[Candidate]:
        """Everybody in the list, newest first."""
        found: QuerySet[Candidate] = Candidate.objects.for_organization(briefing.organization)
        if self.show == UNCHECKED:
            found = unchecked_candidates(briefing)
        elif self.show == CHECKED:
            found = found.filter(pk__in=checked_candidates(briefing).values("candidate_id"))
        return found_by(found, briefing.organization, self.query).order_by("-pk")

    def count(self, briefing: Briefing) -> int:
        """How many `matching` has."""
        if self.show == UNCHECKED and not self.query:  # without comparing everybody with everybody who was checked
            everybody = Candidate.objects.for_organization(briefing.organization)
            return everybody.count() - checked_candidates(briefing).count()
        if self.show == EVERYBODY:
            return count_found(briefing.organization, self.query)
        return self.matching(briefing).count()

    def people(self, briefing: Briefing, *, now: datetime) -> QuerySet[Candidate]:
        """Those who are chosen, newest first."""
        found = self.matching(briefing)
        if self.problem:
            return found.none()
        if self.who == Who.AFFORDABLE:
            found = affordable(organization=briefing.organization, briefing=briefing, candidates=found, now=now)
        elif self.who == Who.TICKED:
            unticked = self.shown - self.ticked
            found = found.exclude(pk__in=unticked) if self.others else found.filter(pk__in=self.ticked)
        if self.first:
            for last in found.values_list("pk", flat=True)[self.first - 1 : self.first]:
                found = found.filter(pk__gte=last)
        return found


def _ids(texts: list[str]) -> frozenset[int]:
    return frozenset(number for text in texts if (number := whole_number(text)) is not None)
