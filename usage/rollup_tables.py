"""What pages read: events summed up, by the day, by the hour and by the labels of callers."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from organizations.models import Organization, TenantQuerySet
from usage.columns import CalledBy, Mode
from usage.facts import COUNTED_BY
from usage.names import action_name, provider_name


class CallSums(models.Model):
    """The measures that every such table has; they stand on the day, or in the hour, in which the call left."""

    calls = models.PositiveBigIntegerField()
    answered = models.PositiveBigIntegerField()
    failed = models.PositiveBigIntegerField()
    lost = models.PositiveBigIntegerField()
    retried_calls = models.PositiveBigIntegerField(help_text="Sent again, as nothing had been answered before.")
    unpriced_calls = models.PositiveBigIntegerField(help_text="Answered, at a cost nobody knows.")
    unknown_calls = models.PositiveBigIntegerField(help_text="Without an answer; nobody knows what they cost.")
    unreported_calls = models.PositiveBigIntegerField(help_text="Answered, with tokens nobody knows.")
    own_server_calls = models.PositiveBigIntegerField(help_text="To a server that charges no tokens.")
    uncached_input_tokens = models.PositiveBigIntegerField()
    cache_read_tokens = models.PositiveBigIntegerField()
    cache_write_tokens = models.PositiveBigIntegerField()
    output_tokens = models.PositiveBigIntegerField(help_text="Reasoning included.")
    reasoning_tokens = models.PositiveBigIntegerField(help_text="A part of output_tokens.")
    cost_nanousd = models.BigIntegerField(help_text="Of the calls that have a price.")
    latency_ms = models.PositiveBigIntegerField()
    # How many of `answered` took so many milliseconds at most: a histogram that can be added up.
    within_100_ms = models.PositiveBigIntegerField()
    within_200_ms = models.PositiveBigIntegerField()
    within_350_ms = models.PositiveBigIntegerField()
    within_500_ms = models.PositiveBigIntegerField()
    within_750_ms = models.PositiveBigIntegerField()
    within_1000_ms = models.PositiveBigIntegerField()
    within_1500_ms = models.PositiveBigIntegerField()
    within_2000_ms = models.PositiveBigIntegerField()
    within_3000_ms = models.PositiveBigIntegerField()
    within_5000_ms = models.PositiveBigIntegerField()
    within_7500_ms = models.PositiveBigIntegerField()
    within_10000_ms = models.PositiveBigIntegerField()
    within_15000_ms = models.PositiveBigIntegerField()
    within_20000_ms = models.PositiveBigIntegerField()
    within_30000_ms = models.PositiveBigIntegerField()
    within_60000_ms = models.PositiveBigIntegerField()
    within_120000_ms = models.PositiveBigIntegerField()
    runs = models.PositiveBigIntegerField()

    # The events hold the organization fast. A constraint here would be looked up once a row at the end of a rollup.
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )

    class Meta:
        abstract = True


class UsageDaily(CalledBy, CallSums):
    """
    The events of one UTC day summed by everything they are shown by.

    Written by `roll_up` only, each event once; the events stay the truth, and `rebuild` derives this table
    anew. Calls, tokens and cost stand on the day the call left, as in the provider's bill; the figures of runs on the
    day the run began, so that an average never divides one day's cost by another day's runs. No dimension is ever
    NULL, since NULLs are distinct in a unique constraint and would split a row.
    """

    day = models.DateField()
    token_id = models.BigIntegerField(help_text="The API token that the calls came by; 0: none.")
    member_id = models.BigIntegerField(help_text="The user whose token that was then; 0: nobody.")
    system_tokens = models.PositiveBigIntegerField()
    tools_tokens = models.PositiveBigIntegerField()
    retrieved_tokens = models.PositiveBigIntegerField()
    history_tokens = models.PositiveBigIntegerField()
    user_tokens = models.PositiveBigIntegerField()
    uncached_prefix_tokens = models.PositiveBigIntegerField(
        help_text="Of instructions and tools: what was not read from a cache."
    )
    input_cost_nanousd = models.BigIntegerField(help_text="Of the calls whose cost is told apart.")
    output_cost_nanousd = models.BigIntegerField(help_text="Of the same calls.")
    priced_runs = models.PositiveBigIntegerField(help_text="At least one of their calls has a price.")
    partly_priced_runs = models.PositiveBigIntegerField(help_text="Another one has a cost that nobody knows.")
    own_server_runs = models.PositiveBigIntegerField(help_text="Priced first by a server that charges no tokens.")
    run_cost_nanousd = models.BigIntegerField(help_text="Of all calls of these runs, on whichever day.")
    run_tokens = models.PositiveBigIntegerField(help_text="Of all calls of these runs, on whichever day.")
    run_unreported_calls = models.PositiveBigIntegerField(help_text="Their calls with tokens nobody knows.")

    DIMENSIONS = ("organization_id", "day", *COUNTED_BY, "token_id", "member_id")

    objects = TenantQuerySet["UsageDaily"].as_manager()

    class Meta:
        verbose_name_plural = "usage by day"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "day", *COUNTED_BY, "token_id", "member_id"], name="one_usage_row_a_day"
            ),
        ]
        indexes = [
            # For staff, who see the days of all organizations.
            models.Index(fields=["-day", "-id"], name="usage_daily_of_everybody"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {provider_name(self.provider)} {self.model} {action_name(self.action)}"


class UsageHourly(CallSums):
    """
    The events of one hour, coarser than those of a day: for what changes by the hour, and what is to be noticed soon.
    Kept for HOURS_KEPT_DAYS. A run counts in the hour of the call that counts it.
    """

    hour = models.DateTimeField(help_text="When it began, UTC.")
    provider = models.CharField(max_length=40)
    model = models.CharField(max_length=200)
    action = models.CharField(max_length=60)
    mode = models.CharField(max_length=10, choices=Mode.choices)

    DIMENSIONS = ("organization_id", "hour", "provider", "model", "action", "mode")

    objects = TenantQuerySet["UsageHourly"].as_manager()

    class Meta:
        verbose_name_plural = "usage by hour"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "hour", "provider", "model", "action", "mode"], name="one_usage_row_an_hour"
            ),
        ]
        # None by the hour alone: PostgreSQL would read everybody's hours by it to find those of one organization.

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:%M} UTC {provider_name(self.provider)} {self.model} {action_name(self.action)}"


class UsageByLabel(CallSums):
    """
    The events of one day that carry a label, once for each of their labels: apart from the other sums, as a call may
    have several. How many there are is bounded where calls come in. A run counts on the day of the call that counts it.
    """

    day = models.DateField()
    name = models.CharField(max_length=200)
    value = models.CharField(max_length=200)
    provider = models.CharField(max_length=40)
    model = models.CharField(max_length=200)
    action = models.CharField(max_length=60)
    mode = models.CharField(max_length=10, choices=Mode.choices)

    DIMENSIONS = ("organization_id", "day", "name", "value", "provider", "model", "action", "mode")

    objects = TenantQuerySet["UsageByLabel"].as_manager()

    class Meta:
        verbose_name_plural = "usage by label"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "day", "name", "value", "provider", "model", "action", "mode"],
                name="one_usage_row_a_label",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.name}={self.value} {action_name(self.action)}"


class RollupState(models.Model):
    """How far the rollup has come: one row, moved in the transaction that adds to its tables."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    position = models.BigIntegerField(default=0, help_text="The first position not rolled up.")
    rebuilt_to_id = models.BigIntegerField(
        default=0,
        help_text="PostgreSQL: events up to this id were rolled up by a rebuild, whatever their position.",
    )
    system_identifier = models.CharField(
        max_length=40,
        blank=True,
        help_text="The PostgreSQL cluster whose transaction ids the position counts.",
    )
    rolled_up_at = models.DateTimeField(null=True, blank=True)
    derived_from = models.DateField(
        null=True, blank=True, help_text="Sums of earlier days are never derived anew: their events have left."
    )

    judged_to = models.DateTimeField(
        null=True, blank=True, help_text="Hours that end later were not looked through for anomalies yet."
    )

    class Meta:
        verbose_name = "rollup state"
        verbose_name_plural = "rollup state"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_rollup_state")]

    def __str__(self) -> str:
        return f"rolled up to {self.position}"
