from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from candidates.forms import CandidateAdminForm
from candidates.models import (
    Briefing,
    Candidate,
    CandidateCheck,
    CandidateWord,
    Profile,
    ProfileSighting,
    Requirement,
    RequirementVerdict,
    Trial,
    TrialCheck,
)
from candidates.search import note_words
from organizations import audit
from organizations.guarded_admin import GuardedAdmin
from organizations.models import User
from organizations.read_only_admin import ReadOnlyAdmin


@admin.register(Candidate)
class CandidateAdmin(GuardedAdmin, ModelAdmin):  # type: ignore[misc]
    form = CandidateAdminForm
    list_display = ("name", "headline", "email", "link", "organization", "created_at")
    list_select_related = ("organization",)
    search_fields = ("name", "headline", "email", "organization__name")
    found_by = ("email", "link", "external_id")
    readonly_fields = ("organization", "created_at")
    fields = ("organization", "name", "headline", "link", "email", "external_id", "created_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # a candidate without a profile cannot be checked: imports add both

    def save_model(self, request: HttpRequest, obj: Candidate, form: Any, change: bool) -> None:
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            note_words(organization=obj.organization, candidates=[obj])
            if form.changed_data:
                self._record(request, obj, "candidate.changed_by_staff", fields=", ".join(form.changed_data))

    def delete_model(self, request: HttpRequest, obj: Candidate) -> None:
        with transaction.atomic(), audit.events_last():
            self._record(request, obj, "candidate.removed_by_staff")
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Candidate]) -> None:
        with transaction.atomic(), audit.events_last():
            for candidate in queryset.select_related("organization").select_for_update(of=("self",)):
                self.delete_model(request, candidate)

    def _record(self, request: HttpRequest, candidate: Candidate, action: str, **details: str) -> None:
        """By id: who is removed must not stay in a log for good."""
        actor = request.user if isinstance(request.user, User) else None
        target = f"Candidate {candidate.pk}"
        audit.record(organization=candidate.organization, actor=actor, action=action, target=target, **details)


@admin.register(Profile)
class ProfileAdmin(ReadOnlyAdmin):
    list_display = ("candidate", "version", "organization", "created_at")
    list_select_related = ("candidate", "organization")
    search_fields = ("candidate__name", "candidate__email", "organization__name")
    found_by = ("digest",)


@admin.register(Briefing)
class BriefingAdmin(ReadOnlyAdmin):
    list_display = ("title", "version", "state", "organization", "created_by", "created_at")
    list_filter = (("state", ChoicesDropdownFilter),)
    list_select_related = ("organization", "created_by")
    search_fields = ("title", "job_description", "organization__name")
    exclude = ("state_detail",)
    readonly_fields = ("why",)


@admin.register(Requirement)
class RequirementAdmin(ReadOnlyAdmin):
    list_display = ("text", "kind", "weight", "briefing", "organization")
    list_filter = (("kind", ChoicesDropdownFilter),)
    list_select_related = ("briefing", "organization")
    search_fields = ("text", "briefing__title", "organization__name")


@admin.register(CandidateCheck)
class CandidateCheckAdmin(ReadOnlyAdmin):
    list_display = (
        "candidate",
        "briefing",
        "organization",
        "status",
        "category",
        "score",
        "mode",
        "kind",
        "charged",
        "accepted_at",
    )
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("category", ChoicesDropdownFilter),
        ("mode", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
    )
    list_select_related = ("candidate", "briefing", "organization")
    search_fields = ("candidate__name", "briefing__title", "organization__name")
    found_by = ("id", "run_id")
    ordering = ("-accepted_at",)
    exclude = ("failure",)
    readonly_fields = ("why_failed",)


@admin.register(RequirementVerdict)
class RequirementVerdictAdmin(ReadOnlyAdmin):
    list_display = ("requirement", "verdict", "claimed", "check_row", "organization")
    list_filter = (("verdict", ChoicesDropdownFilter),)
    list_select_related = ("requirement", "check_row__candidate", "check_row__briefing", "organization")
    search_fields = ("requirement__text", "quote", "check_row__candidate__name", "organization__name")
    found_by = ("check_row",)


@admin.register(ProfileSighting)
class ProfileSightingAdmin(ReadOnlyAdmin):
    list_display = ("person_digest", "last_checked_at")
    search_fields = ("person_digest",)
    found_by = ("person_digest",)


@admin.register(CandidateWord)
class CandidateWordAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "candidate", "organization")
    list_select_related = ("candidate", "organization")
    search_fields = ("candidate__name", "organization__name")


@admin.register(Trial)
class TrialAdmin(ReadOnlyAdmin):
    list_display = ("id", "briefing", "organization", "requested_at", "ended_at")
    list_select_related = ("briefing", "organization")
    search_fields = ("briefing__title", "organization__name")
    found_by = ("id",)


@admin.register(TrialCheck)
class TrialCheckAdmin(ReadOnlyAdmin):
    list_display = ("check_row", "status", "trial", "organization")
    list_filter = (("status", ChoicesDropdownFilter),)
    list_select_related = ("check_row__candidate", "check_row__briefing", "trial", "organization")
    search_fields = ("check_row__candidate__name", "organization__name")
    found_by = ("run_id",)
