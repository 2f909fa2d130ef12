"""The filters of the checks page; numbers on other pages link by them to the checks that they count."""

from __future__ import annotations

from datetime import date
from typing import cast

from django import forms
from django.db.models import Q, QuerySet
from django.http import QueryDict

from candidates.check_endings import OPEN
from candidates.models import Briefing, Candidate, CandidateCheck
from candidates.search import found_by
from organizations.models import Organization
from organizations.reading import whole_number
from routing.actions import CANDIDATE_CHECK
from usage.days import end_of_day, start_of_day
from usage.forms import ALL, FilterForm
from usage.models import Mode, UsageEvent

MOST_BRIEFINGS = 500  # in the list to choose from, the newest
RUNNING = "running"
# The value in the address, its words, and the checks it means.
CREDITS = {
    "none": ("0 credits", Q(charged=0)),
    "some": ("1 or more", Q(charged__gt=0)),
}
# Which of its days a check is found by.
ACCEPTED, FINISHED, FIRST_CALL = "", "finished", "run"


class CheckFilterForm(FilterForm):
    status = forms.ChoiceField(
        required=False, choices=[ALL, (RUNNING, "Pending or In Progress"), *CandidateCheck.Status.choices]
    )
    result = forms.ChoiceField(required=False, choices=[ALL, *CandidateCheck.Category.choices])
    briefing = forms.ModelChoiceField(
        Briefing.objects.none(),
        required=False,
        error_messages={"invalid_choice": "There is no such briefing. Choose one from the list."},
    )
    person = forms.CharField(required=False, max_length=200, label="Name, headline or e-mail")
    mode = forms.ChoiceField(required=False, choices=[ALL, *Mode.choices])
    credits = forms.ChoiceField(required=False, choices=[ALL, *((value, text) for value, (text, _) in CREDITS.items())])
    by = forms.ChoiceField(
        required=False,
        label="Days",
        choices=[
            (ACCEPTED, "On which it was accepted"),
            (FINISHED, "On which it ended"),
            (FIRST_CALL, "Of its first model call"),
        ],
    )

    def __init__(self, address: QueryDict, *, organization: Organization) -> None:
        super().__init__(address)
        self.organization = organization
        briefings = Briefing.objects.for_organization(organization).order_by("-pk")
        shown = list(briefings[:MOST_BRIEFINGS])
        chosen = whole_number(address.get("briefing"))
        if chosen is not None and all(briefing.pk != chosen for briefing in shown):
            shown += briefings.filter(pk=chosen)
        field = cast("forms.ModelChoiceField[Briefing]", self.fields["briefing"])
        field.queryset = briefings
        field.widget.choices = [ALL, *((briefing.pk, str(briefing)) for briefing in shown)]

    def narrow(self, checks: QuerySet[CandidateCheck]) -> QuerySet[CandidateCheck]:
        wanted = self.wanted
        if status := wanted.get("status"):
            checks = checks.filter(status__in=OPEN if status == RUNNING else [status])
        if credits := wanted.get("credits"):
            checks = checks.filter(CREDITS[credits][1])
        for field, name in (("category", "result"), ("briefing", "briefing"), ("mode", "mode")):
            if name in wanted:
                checks = checks.filter(**{field: wanted[name]})
        if person := wanted.get("person"):
            everybody = Candidate.objects.for_organization(self.organization)
            checks = checks.filter(candidate__in=found_by(everybody, self.organization, person).values("pk"))
        return self._of_days(checks, wanted.get("from_"), wanted.get("to"))

    def _of_days(
        self, checks: QuerySet[CandidateCheck], first: date | None, last: date | None
    ) -> QuerySet[CandidateCheck]:
        by = self.wanted.get("by", ACCEPTED)
        if by == FIRST_CALL:
            calls = UsageEvent.objects.for_organization(self.organization).filter(
                action=CANDIDATE_CHECK.slug, counts_run=True
            )
            on_own_day, others = calls.of_runs_on_days(first, last)
            return checks.filter(run_id__in=(on_own_day | others).values("run_id"))
        moment = "completed_at" if by == FINISHED else "accepted_at"
        if first:
            checks = checks.filter(**{f"{moment}__gte": start_of_day(first)})
        if last:
            checks = checks.filter(**{f"{moment}__lte": end_of_day(last)})
        return checks
