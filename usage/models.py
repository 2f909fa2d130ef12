from __future__ import annotations

import uuid
from dataclasses import fields
from datetime import UTC, date

from django.db import models
from django.db.models import F, Q

from organizations.models import Organization, TenantQuerySet
from usage.anomaly_table import Anomaly as Anomaly
from usage.anomaly_table import AnomalyWebhook as AnomalyWebhook
from usage.columns import Asked, CalledBy
from usage.columns import Mode as Mode
from usage.exports.models import SealedMonth as SealedMonth
from usage.facts import Admission
from usage.ingest import IngestPosition
from usage.names import action_name, provider_name
from usage.querysets import UsageEventQuerySet
from usage.rollup_tables import RollupState as RollupState
from usage.rollup_tables import UsageByLabel as UsageByLabel
from usage.rollup_tables import UsageDaily as UsageDaily
from usage.rollup_tables import UsageHourly as UsageHourly
from usage.saved_view import SavedView as SavedView


class InFlightCall(CalledBy, Asked):
    """
    A model call that was admitted and has no usage event yet.

    Written before the call leaves, removed by the transaction that writes its event. What a crash leaves
    behind is swept into an event with status *lost*, so that no call goes uncounted.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, help_text="Becomes the event's call_id.")
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    run_id = models.UUIDField()
    iteration = models.PositiveSmallIntegerField(default=1)
    no_token_charges = models.BooleanField(
        default=False, help_text="It goes to the organization's own server, as its key said when the call left."
    )
    started_at = models.DateTimeField()
    deadline_at = models.DateTimeField(help_text="After this the caller is dead and the call counts as lost.")

    objects = TenantQuerySet["InFlightCall"].as_manager()

    def __str__(self) -> str:
        return f"{provider_name(self.provider)} {self.model} {self.id}"

    @property
    def admission(self) -> Admission:
        return Admission(**{field.name: getattr(self, field.name) for field in fields(Admission)})


class UsageRun(models.Model):
    """
    One execution of an action, and which of its calls count it: the first one, in the order they are recorded.

    A run belongs to the day of its first call. What goes on for longer than 24 hours is counted once more for every
    24 hours in which it calls (`part`), so that one run id used for ever is not one run.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    action = models.CharField(max_length=60)
    run_id = models.UUIDField()
    part = models.PositiveIntegerField(help_text="Whole days since the run began.")
    started_at = models.DateTimeField(help_text="When the first call of this part left.")
    first_call_id = models.UUIDField(
        null=True, help_text="The call that counts it; empty in runs of before this table."
    )
    is_priced = models.BooleanField(default=False, help_text="One of its calls has a price.")
    is_incomplete = models.BooleanField(default=False, help_text="One of its calls has a cost that nobody knows.")

    objects = TenantQuerySet["UsageRun"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "run_id", "action", "part"], name="a_run_is_counted_once"),
        ]

    def __str__(self) -> str:
        return f"{action_name(self.action)} {self.run_id} {self.part}"

    @property
    def day(self) -> date:
        return self.started_at.astimezone(UTC).date()


class UsageEvent(CalledBy, Asked):
    """
    One model call: what was used and what it cost, as known when it ended.

    Append-only. Provider, model, action and key are snapshots in text, so history outlives keys and rules.
    Token classes are disjoint (see usage/tokens.py); cost is computed once and pinned with its price. A later revision
    of an event adds to its cost, or takes from it, and counts as no call, no run and no tokens.
    """

    class Status(models.TextChoices):
        ANSWERED = "answered", "Answered"
        FAILED = "failed", "Failed"
        LOST = "lost", "Lost"
        CUT_OFF = "cut_off", "Cut off"  # a stream that ended before its end
        CANCELLED = "cancelled", "Cancelled"  # by who asked, who hung up
        BROKE = "broke", "Broke"  # a stream that ended with an error
        CORRECTED = "corrected", "Cost corrected"

    class PriceSource(models.TextChoices):
        PROVIDER = "provider", "Reported by the provider"
        CATALOG = "catalog", "Price list"
        OWN_SERVER = "own_server", "No token charges"
        NONE = "none", "Unpriced"

    class NoPrice(models.TextChoices):
        """Why a call has no cost. Empty for calls that have one, and for those of before this was noted."""

        NOT_BILLED = "not_billed", "The call failed in a way that providers do not bill"
        NOTHING_USED = "nothing_used", "The call used no tokens"
        NO_ANSWER = "no_answer", "The call left and brought no answer that could be read; it may have been billed"
        NOT_REPORTED = "not_reported", "The provider reported no tokens"
        UNCLEAR_TOKENS = "unclear_tokens", "The provider reported only some of the tokens, or counts that do not add up"
        PART_OF_COST = "part_of_cost", "The provider reported only a part of the cost"
        EXTRAS = "extras", "The call was billed for more than text: a tool of the provider, sound or pictures"
        TIER = "tier", "The price list has no price for the tier, speed or region that served the call"
        NOT_LISTED = "not_listed", "The price list does not know the model, or not all that it used"

    # What sums count as failed: it ended with an error, before its answer or in the midst of it.
    ERRORS = (Status.FAILED, Status.CUT_OFF, Status.BROKE)
    NOTHING_DUE = (NoPrice.NOT_BILLED, NoPrice.NOTHING_USED)
    KIND = ("provider", "model", "action", "mode", "status", "price_source", "no_price", "usage_reported")

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    call_id = models.UUIDField()
    occurred_at = models.DateTimeField(help_text="When the call left.")
    revision = models.PositiveSmallIntegerField(default=0, help_text="Above 0 it corrects the cost of the first.")
    served_model = models.CharField(max_length=200, blank=True, help_text="As the provider reported it.")
    run_id = models.UUIDField(help_text="One execution of an action; its calls are its iterations.")
    iteration = models.PositiveSmallIntegerField(default=1)
    status = models.CharField(max_length=10, choices=Status.choices)
    error_kind = models.CharField(max_length=40, blank=True)
    finish_reason = models.CharField(
        max_length=40, blank=True, help_text="Why the answer ended, in the provider's word."
    )
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    request_id = models.CharField(max_length=200, blank=True, help_text="The provider's own id of the call.")
    service_tier = models.CharField(max_length=40, blank=True, help_text="As the provider reported it.")
    usage_reported = models.BooleanField(
        default=False, help_text="Else not all tokens are known; those that are not stand as 0."
    )
    uncached_input_tokens = models.PositiveBigIntegerField(default=0)
    cache_read_tokens = models.PositiveBigIntegerField(default=0)
    cache_write_tokens = models.PositiveBigIntegerField(default=0)
    cache_write_1h_tokens = models.PositiveBigIntegerField(
        default=0, help_text="A part of cache_write_tokens, dearer than the rest."
    )
    output_tokens = models.PositiveBigIntegerField(default=0, help_text="Reasoning included.")
    reasoning_tokens = models.PositiveBigIntegerField(default=0, help_text="A part of output_tokens.")
    # What the input was made of, counted by us and scaled to the tokens that were reported; all 0 where not counted.
    system_tokens = models.PositiveBigIntegerField(default=0, help_text="Instructions.")
    tools_tokens = models.PositiveBigIntegerField(default=0, help_text="Definitions of tools and what they returned.")
    retrieved_tokens = models.PositiveBigIntegerField(default=0, help_text="Documents given along, such as a profile.")
    history_tokens = models.PositiveBigIntegerField(default=0, help_text="Earlier turns.")
    user_tokens = models.PositiveBigIntegerField(default=0, help_text="The last turn of the user.")
    cost_nanousd = models.BigIntegerField(null=True, blank=True, help_text="Empty: unpriced.")
    input_cost_nanousd = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="The part of the cost that is of input; empty where it cannot be told apart."
    )
    price_source = models.CharField(max_length=10, choices=PriceSource.choices)
    price_version = models.CharField(max_length=80, blank=True)
    no_price = models.CharField(max_length=20, blank=True, choices=NoPrice.choices, help_text="Why it has no cost.")
    counts_run = models.BooleanField(default=False, help_text="It counts its run; see usage/runs.py.")
    counts_priced_run = models.BooleanField(default=False, help_text="It counts its run as one with a price.")
    counts_partly_priced_run = models.BooleanField(
        default=False, help_text="It counts its run as one of which a part has a price, and a part has none."
    )
    run_day = models.DateField(
        null=True, blank=True, help_text="The UTC day its run belongs to, where that is not the day the call left."
    )
    latency_ms = models.PositiveBigIntegerField(default=0)
    first_byte_ms = models.PositiveBigIntegerField(null=True, blank=True, help_text="Until the answer began.")
    are_tokens_estimated = models.BooleanField(
        default=False, help_text="Counted by us, as the answer broke off before the provider had."
    )
    ingest_position = models.BigIntegerField(
        db_default=IngestPosition(), editable=False, help_text="See usage/ingest.py."
    )

    objects = UsageEventQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "call_id", "occurred_at", "revision"], name="one_event_a_revision"
            ),
            models.CheckConstraint(
                condition=Q(revision=0, cost_nanousd__isnull=True)
                | Q(revision=0, cost_nanousd__gte=0)
                | Q(
                    revision__gt=0,
                    status="corrected",
                    cost_nanousd__isnull=False,
                    usage_reported=True,
                    uncached_input_tokens=0,
                    cache_read_tokens=0,
                    cache_write_tokens=0,
                    output_tokens=0,
                    latency_ms=0,
                    counts_run=False,
                    counts_priced_run=False,
                    counts_partly_priced_run=False,
                ),
                name="a_revision_corrects_cost_alone",
            ),
            models.CheckConstraint(
                condition=Q(price_source="none", cost_nanousd__isnull=True)
                | ~Q(price_source="none") & Q(cost_nanousd__isnull=False),
                name="a_cost_has_a_source",
            ),
            models.CheckConstraint(
                condition=~Q(price_source="own_server") | Q(cost_nanousd=0), name="an_own_server_costs_nothing"
            ),
            models.CheckConstraint(
                condition=Q(reasoning_tokens__lte=F("output_tokens"))
                & Q(cache_write_1h_tokens__lte=F("cache_write_tokens")),
                name="parts_within_their_tokens",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-occurred_at", "-id"], name="usage_event_by_time"),
            # For filters of any kind, see usage/kinds.py.
            models.Index(
                fields=[
                    "organization",
                    "provider",
                    "model",
                    "action",
                    "mode",
                    "status",
                    "price_source",
                    "no_price",
                    "usage_reported",
                    "-occurred_at",
                    "-id",
                ],
                name="usage_event_by_kind",
            ),
            # For staff, who see the calls of all organizations.
            models.Index(fields=["-occurred_at", "-id"], name="usage_event_of_everybody"),
            models.Index(fields=["organization", "run_id"], name="usage_event_by_run"),
            # Few: most calls are answered at the first attempt.
            models.Index(
                fields=["organization", "attempt_of"],
                condition=Q(attempt_of__isnull=False),
                name="usage_event_by_first_attempt",
            ),
            # Empty on SQLite, where the position is the row id.
            models.Index(
                fields=["ingest_position"], condition=Q(ingest_position__gt=0), name="usage_event_by_position"
            ),
            models.Index(
                fields=["organization", "ingest_position"],
                condition=Q(ingest_position__gt=0),
                name="usage_event_tail",
            ),
            # Few: calls of a run that goes on over midnight.
            models.Index(
                fields=["organization", "run_day"],
                condition=Q(run_day__isnull=False),
                name="usage_event_by_run_day",
            ),
        ]

    def __str__(self) -> str:
        return f"{provider_name(self.provider)} {self.model} {self.call_id}"

    @property
    def input_tokens(self) -> int:
        """All that was sent: uncached, read from cache and written to cache."""
        return self.uncached_input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def error_beside_status(self) -> str:
        """The kind of its error, where that says more than that the call did not end by itself."""
        if self.status in (self.Status.LOST, self.Status.CANCELLED):
            return ""
        return "" if self.error_kind == "unexpected" and self.status != self.Status.FAILED else self.error_kind

    @property
    def has_no_token_charges(self) -> bool:
        """Whether it ran on the organization's own server: its cost of 0 is no price and nobody's report."""
        return self.price_source == UsageEvent.PriceSource.OWN_SERVER

    # The same in Python as the conditions of usage/gaps.py; a test compares them.

    @property
    def has_nothing_to_pay(self) -> bool:
        return self.no_price in self.NOTHING_DUE

    @property
    def is_unanswered(self) -> bool:
        return self.no_price == self.NoPrice.NO_ANSWER

    @property
    def is_unpriced(self) -> bool:
        return self.cost_nanousd is None and not self.has_nothing_to_pay and not self.is_unanswered

    @property
    def are_tokens_a_part(self) -> bool:
        """Reported ones, without the rest; an estimate is of all of them."""
        return self.are_tokens_unknown and not self.are_tokens_estimated

    @property
    def are_tokens_unknown(self) -> bool:
        if self.usage_reported or self.has_nothing_to_pay:
            return False
        return self.status != self.Status.FAILED or bool(self.no_price)
