"""What was found out of the ordinary, and what people said to it."""

from __future__ import annotations

from datetime import datetime
from math import ceil
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from organizations.models import Organization, TenantQuerySet
from usage.columns import Mode
from usage.names import action_name

ROOM = 1.5  # times what was found: so far it is expected, too
MOST_RUNS = 5  # of one cause, the dearest


class Anomaly(models.Model):
    """
    An episode: from when use left its course until it is back, or until somebody says that it is expected.

    Kept after its end: what was declared expected is not raised again while that holds, and hours of what was not
    are no part of what is usual (usage/anomalies).
    """

    class Kind(models.TextChoices):
        REQUESTS = "requests", "More requests"
        COST_PER_REQUEST = "cost_per_request", "Dearer requests"
        REQUESTS_DRIFT = "requests_drift", "Requests grow week by week"
        COST_PER_REQUEST_DRIFT = "cost_per_request_drift", "Requests get dearer week by week"
        RETRIES = "retries", "Many retries"
        CACHE_LOSS = "cache_loss", "Less is read from cache"
        ERROR_STORM = "error_storm", "Many errors"
        NEW_MODEL = "new_model", "A model never used before"
        NEW_CALLER = "new_caller", "A token that never called before"
        DEAR_RUN = "dear_run", "A run far dearer than others"
        ELSEWHERE = "elsewhere", "A key is used elsewhere"

    class State(models.TextChoices):
        OPEN = "open", "Open"
        EXPECTED = "expected", "Expected"
        OVER = "over", "Over"

    SHARES = (Kind.RETRIES, Kind.CACHE_LOSS, Kind.ERROR_STORM)
    # Those whose hours are not usual ones; the others say nothing of single hours.
    OF_HOURS = (Kind.REQUESTS, Kind.COST_PER_REQUEST, *SHARES)
    # What they say is all in USD.
    OF_USD = (Kind.COST_PER_REQUEST, Kind.COST_PER_REQUEST_DRIFT, Kind.DEAR_RUN)

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=30, choices=Kind.choices)
    action = models.CharField(max_length=60)
    mode = models.CharField(max_length=10, choices=Mode.choices)
    subject = models.CharField(
        max_length=200, blank=True, help_text="The model, the id of the token, of the run or of the key."
    )
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    since = models.DateTimeField(help_text="The hour in which it began.")
    seen_at = models.DateTimeField(help_text="The end of the last hour in which it was found.")
    found_at = models.DateTimeField(help_text="When it was found first.")
    hours = models.PositiveIntegerField(help_text="Over which `usual` and `found` are.")
    usual = models.BigIntegerField(help_text="Requests, nano-USD, or millionths where it is a share.")
    found = models.BigIntegerField(help_text="The same, as it was when last seen.")
    a_day_nanousd = models.BigIntegerField(
        null=True, help_text="What the last 24 hours cost more than usual; empty: nobody knows."
    )
    drivers = models.JSONField(null=True, help_text="Empty: not measured. []: measured, and nothing found.")
    unmeasured = models.JSONField(default=list, help_text="What of that is not measured.")
    also = models.JSONField(default=list, help_text="What else was found of the same cause (VIEW), told with it.")
    told_at = models.DateTimeField(null=True, help_text="When it was mailed, or decided that nobody is to be told.")
    post_attempts = models.PositiveSmallIntegerField(default=0, help_text="Of posting it to the webhook.")
    post_due_at = models.DateTimeField(null=True, help_text="When it is posted next; empty: never, or no more.")
    expected_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", help_text="Who said so."
    )
    expected_at = models.DateTimeField(null=True)
    expected_until = models.DateTimeField(null=True, help_text="Empty: for good.")
    expected_most = models.BigIntegerField(null=True, help_text="Of `found`: beyond this it is raised again.")
    expected_why = models.CharField(max_length=200, blank=True)

    SIGNATURE = ("kind", "action", "mode", "subject")
    VIEW = ("kind", "subject", "hours", "usual", "found")

    objects = TenantQuerySet["Anomaly"].as_manager()

    class Meta:
        verbose_name_plural = "anomalies"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "kind", "action", "mode", "subject"],
                condition=Q(state="open"),
                name="one_open_anomaly_a_signature",
            ),
            models.CheckConstraint(
                condition=~Q(state="expected") | Q(expected_at__isnull=False), name="what_is_expected_was_declared"
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-since", "-id"], name="anomaly_by_time"),
            # For the job, which looks at those of everybody.
            models.Index(fields=["-seen_at", "-id"], name="anomaly_by_last_seen"),
            models.Index(fields=["post_due_at"], condition=Q(post_due_at__isnull=False), name="anomaly_to_post"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {action_name(self.action)} {self.subject}".strip()

    @property
    def signature(self) -> tuple[str, ...]:
        return tuple(getattr(self, name) for name in self.SIGNATURE)

    @property
    def views(self) -> list[Anomaly]:
        """It and what else was found of its cause, each as it would stand alone."""
        return [self, *(self._view(view) for view in self.also)]

    def _view(self, view: dict[str, Any]) -> Anomaly:
        times = {name: datetime.fromisoformat(view[name]) for name in ("since", "seen_at")}
        shared = ("organization_id", "action", "mode", "state", "expected_until")
        alone = Anomaly(
            **{name: view[name] for name in self.VIEW}, **times, **{name: getattr(self, name) for name in shared}
        )
        alone.expected_most = alone.most_expected
        return alone

    def tell_with(self, other: Anomaly) -> None:
        """`other` is of its cause, and no episode of its own. Drivers and cost come from there where it has none."""
        known = {(view["kind"], view["subject"]): view for view in self.also}
        signature = (other.kind, other.subject)
        view = {name: getattr(other, name) for name in self.VIEW} | {"since": other.since.isoformat()}
        if signature in known:
            view["since"] = known[signature]["since"]
        view["seen_at"] = other.seen_at.isoformat()
        views = list((known | {signature: view}).values())
        runs = sorted((each for each in views if each["kind"] == self.Kind.DEAR_RUN), key=lambda each: -each["found"])
        self.also = [each for each in views if each not in runs[MOST_RUNS:]]
        if self.state == self.State.OPEN:
            self.seen_at = other.seen_at
        if not self.drivers and other.drivers:
            self.drivers, self.unmeasured = other.drivers, other.unmeasured
        if self.kind in self.SHARES and self.a_day_nanousd is None:
            self.a_day_nanousd = other.a_day_nanousd

    @property
    def most_expected(self) -> int | None:
        """Of `found`, where it is declared expected; None where there is nothing to measure by."""
        match self.kind:
            case self.Kind.NEW_MODEL | self.Kind.NEW_CALLER:
                return None
            case self.Kind.CACHE_LOSS:
                return int(self.found / ROOM)
            case _:
                return ceil(self.found * ROOM)

    def is_expected(self, moment: datetime) -> bool:
        return self.state == self.State.EXPECTED and (self.expected_until is None or moment < self.expected_until)

    def covers(self, found: int, moment: datetime) -> bool:
        """Whether what was declared expected holds for `found` at `moment`."""
        if not self.is_expected(moment) or self.expected_most is None:
            return self.is_expected(moment)
        if self.kind == self.Kind.CACHE_LOSS:  # the only one that goes down
            return found >= self.expected_most
        return found <= self.expected_most


class AnomalyWebhook(models.Model):
    """Where an organization wants its anomalies posted; the secret signs them and is shown once, when it is made."""

    organization = models.OneToOneField(Organization, on_delete=models.PROTECT, related_name="+")
    url = models.URLField(max_length=500)
    sealed_secret = models.TextField(help_text="Under the master keys.")
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    made_at = models.DateTimeField()
    last_answer = models.CharField(max_length=300, blank=True, help_text="What the last post came to.")
    last_post_at = models.DateTimeField(null=True)

    objects = TenantQuerySet["AnomalyWebhook"].as_manager()

    def __str__(self) -> str:
        return self.url
