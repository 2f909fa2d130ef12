"""Whom somebody chooses to have checked: from a long list of which a page shows only a part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from django.db.models import Q, QuerySet
from django.http import QueryDict

from candidates.briefings import unchecked_candidates
from candidates.models import Briefing, Candidate

UNCHECKED, CHECKED, EVERYBODY = "unchecked", "checked", "all"
SHOW = {UNCHECKED: "Not yet checked", CHECKED: "Checked before", EVERYBODY: "Everybody"}
LARGEST = 2**31


@dataclass(frozen=True, slots=True)
class Selection:
    """
    Of the people who match `query` and `show`: the `ticked` ones, and with `others` everybody not `shown`.

    `shown` are those whom the page listed; `first` cuts the whole to so many. Who no longer matches is left
    out.
    """

    query: str = ""
    show: str = UNCHECKED
    shown: frozenset[int] = frozenset()
    ticked: frozenset[int] = frozenset()
    others: bool = False
    first: int | None = None

    @classmethod
    def read(cls, data: QueryDict) -> Self:
        """What a form sent; whatever makes no sense in it counts as not sent."""
        first = next(iter(_numbers([data.get("first", "")])), None)
        show = data.get("show", UNCHECKED)
        return cls(
            query=data.get("q", "").replace("\x00", "").strip()[:200],
            show=show if show in SHOW else UNCHECKED,
            shown=frozenset(_numbers(data.getlist("shown"))),
            ticked=frozenset(_numbers(data.getlist("candidates"))),
            others="others" in data,
            first=first or None,
        )

    def matching(self, briefing: Briefing) -> QuerySet[Candidate]:
        """Everybody in the list, newest first."""
        found: QuerySet[Candidate] = Candidate.objects.for_organization(briefing.organization)
        if self.show == UNCHECKED:
            found = unchecked_candidates(briefing)
        elif self.show == CHECKED:
            found = found.exclude(pk__in=unchecked_candidates(briefing).values("pk"))
        for word in self.query.split():
            found = found.filter(Q(name__icontains=word) | Q(headline__icontains=word) | Q(email__icontains=word))
        return found.order_by("-pk")

    def people(self, briefing: Briefing) -> list[Candidate]:
        """Those who are chosen, newest first."""
        matching = self.matching(briefing)
        unticked = self.shown - self.ticked
        chosen = matching.exclude(pk__in=unticked) if self.others else matching.filter(pk__in=self.ticked)
        return list(chosen[: self.first])


def _numbers(texts: Iterable[str]) -> list[int]:
    return [
        int(text)
        for text in (text.strip() for text in texts)
        if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < LARGEST
    ]
