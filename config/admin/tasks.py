"""
Background work in the staff admin: what waits, what was done, what failed, and when jobs run by the clock.

What runs is code (config/schedules.py, config/own_tasks.py): staff change times, and submit failed tasks of ours again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django_q import admin as q_admin
from django_q.models import Failure, OrmQ, Schedule, Success, Task
from django_q.tasks import async_task
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from config.own_tasks import TASKS
from config.schedules import JOBS, LONGEST, REPEATED
from organizations import audit, clock
from organizations.guarded_admin import GuardedAdmin
from organizations.long_lists import LongList
from organizations.models import Organization, User
from organizations.read_only_admin import NeverWritten
from organizations.typed_numbers import WholeNumberField

MOST_MINUTES = 7 * 24 * 60
WHAT = ("func", "args", "kwargs", "hook")
TIMES = ("runs", "schedule_type", "minutes", "next_run")

for installed in (Success, Failure, Schedule, OrmQ):
    admin.site.unregister(installed)


class JobFilter(DropdownFilter):
    title = "job"
    parameter_name = "group"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(command, command) for command in JOBS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(group=self.value()) if self.value() else queryset


class ReadOnlyTasks(NeverWritten, LongList):
    """What the cluster did is looked at, run again, or deleted; never edited."""


class FinishedTasks(ReadOnlyTasks):
    actions = ("submit_again",)
    list_filter = (JobFilter,)
    fields = (*WHAT, "name", "group", "cluster", "started", "stopped", "attempt_count", "result")

    def has_submit_again_permission(self, request: HttpRequest) -> bool:
        model: type[Model] = self.model  # type: ignore[attr-defined]  # of the ModelAdmin beside this
        return request.user.has_perm(f"django_q.change_{model._meta.model_name}")

    @action(description="Submit selected tasks again", permissions=["submit_again"])
    def submit_again(self, request: HttpRequest, tasks: QuerySet[Task]) -> None:
        with transaction.atomic():
            found = list(tasks.select_for_update())  # of two clicks the second finds no failed task any more
            ours = [task for task in found if task.func in TASKS]
            for task in ours:
                async_task(task.func, *(task.args or ()), q_options={"group": task.group}, **(task.kwargs or {}))
            if issubclass(tasks.model, Failure):
                Failure.objects.filter(pk__in=[task.pk for task in ours]).delete()
        messages.success(request, f"{len(ours)} submitted again.")
        if others := len(found) - len(ours):
            messages.error(request, f"{others} left out: only Keyfare's own tasks are run.")


@admin.register(Success)
class FinishedTaskAdmin(FinishedTasks, q_admin.TaskAdmin, ModelAdmin):  # type: ignore[misc]  # published without types
    list_display = ("name", "func", "started", "stopped", "time_taken")
    ordering = ("-stopped",)


@admin.register(Failure)
class FailedTaskAdmin(FinishedTasks, q_admin.FailAdmin, ModelAdmin):  # type: ignore[misc]
    list_display = ("name", "func", "started", "stopped", "short_result")
    ordering = ("-stopped",)


@admin.register(OrmQ)
class WaitingTaskAdmin(ReadOnlyTasks, q_admin.QueueAdmin, ModelAdmin):  # type: ignore[misc]
    list_display = ("id", "name", "func", "due")
    list_filter = ()

    @display(description="Due, or kept by a worker until")
    def due(self, task: OrmQ) -> datetime | None:
        lock: datetime | None = task.lock
        return lock


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    runs = forms.BooleanField(
        label="Runs",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Off: the job does not run by the clock until it is switched on again.",
    )
    minutes = WholeNumberField(
        required=False,
        min_value=1,
        max_value=MOST_MINUTES,
        widget=UnfoldAdminTextInputWidget,
        help_text="Every so many minutes, where the type is Minutes.",
    )

    class Meta:
        model = Schedule
        fields = ("schedule_type", "minutes", "next_run")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "runs" in self.fields:
            self.fields["runs"].initial = self.instance.repeats != 0
        if "schedule_type" in self.fields:
            offered = [(value, label) for value, label in Schedule.TYPE if value in REPEATED]
            self.fields["schedule_type"].choices = offered  # type: ignore[attr-defined]
        if "next_run" in self.fields:
            self.fields["next_run"].required = True

    def clean_next_run(self) -> datetime:
        next_run: datetime = self.cleaned_data["next_run"]
        if abs(next_run - clock.now()) >= LONGEST:
            raise forms.ValidationError(f"Choose a time within {LONGEST.days} days. To stop the job, switch it off.")
        return next_run

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        lacks_minutes = not cleaned.get("minutes") and "minutes" not in self.errors
        if cleaned.get("schedule_type") == Schedule.MINUTES and lacks_minutes:
            self.add_error("minutes", f"Enter a whole number from 1 to {MOST_MINUTES:,}.")
        return cleaned


@admin.register(Schedule)
class ScheduleAdmin(GuardedAdmin, q_admin.ScheduleAdmin, ModelAdmin):  # type: ignore[misc]
    """When our jobs run. A row that is none of them never runs; all that is done with it is to delete it."""

    form = ScheduleForm
    list_display = ("name", "state", "schedule_type", "minutes", "next_run", "last_run", "get_success")
    list_display_links = ("name",)
    list_filter = ("schedule_type",)
    readonly_fields = ("name", *WHAT)

    @display(description="State", label={"On": "success", "Off": "warning", "Not ours, never runs": "danger"})
    def state(self, schedule: Schedule) -> str:
        if not _is_job(schedule):
            return "Not ours, never runs"
        return "On" if schedule.repeats else "Off"

    @display(description="Last run")
    def last_run(self, schedule: Schedule) -> str | None:
        return cast("str | None", self.get_last_run(schedule))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Schedule | None = None) -> bool:
        return (obj is None or _is_job(obj)) and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Schedule | None = None) -> bool:
        return not (obj and _is_job(obj)) and bool(super().has_delete_permission(request, obj))

    def get_fields(self, request: HttpRequest, obj: Schedule | None = None) -> tuple[str, ...]:
        """Of a job its times, as what it runs is code; of another row what it would have run."""
        if obj and _is_job(obj):
            may_change = self.has_change_permission(request, obj)
            return ("name", *TIMES) if may_change else ("name", *TIMES[1:])
        return ("name", *WHAT)

    def save_model(self, request: HttpRequest, obj: Schedule, form: ScheduleForm, change: bool) -> None:
        """Times only, and of what the form changed: the clock writes into the same row."""
        changed = {name: form.cleaned_data[name] for name in form.changed_data if name in TIMES}
        if not changed:
            return
        written = {name: value for name, value in changed.items() if name != "runs"}
        if "runs" in changed:
            written["repeats"] = -1 if changed["runs"] else 0
        with transaction.atomic():
            Schedule.objects.filter(pk=obj.pk).update(**written)
            platform = Organization.objects.platform()
            if platform:
                audit.record(
                    organization=platform,
                    actor=cast(User, request.user),
                    action="schedule.changed",
                    target=str(obj.name),
                    **{name: value if isinstance(value, bool) else str(value) for name, value in changed.items()},
                )


def _is_job(schedule: Schedule) -> bool:
    """Of several rows by one name the clock reads the first."""
    if schedule.name not in JOBS:
        return False
    return not Schedule.objects.filter(name=schedule.name, pk__lt=schedule.pk).exists()
