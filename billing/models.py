from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from organizations.models import Organization, TenantQuerySet


class CreditAccount(models.Model):
    """
    The balance of one organization, and the lock of its whole ledger.

    Changed only by billing/ledger.py, always together with a ledger entry. `seq` counts the entries.
    """

    organization = models.OneToOneField(Organization, on_delete=models.PROTECT, primary_key=True, related_name="+")
    posted = models.BigIntegerField(default=0, help_text="Credits owned, those held included.")
    held = models.BigIntegerField(default=0, help_text="Credits set aside by pending holds.")
    seq = models.BigIntegerField(default=0)

    objects = TenantQuerySet["CreditAccount"].as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(held__gte=0), name="account_held_not_negative"),
            models.CheckConstraint(condition=Q(posted__gte=F("held")), name="account_available_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.organization}"

    @property
    def available(self) -> int:
        return self.posted - self.held


class CreditLot(models.Model):
    """
    Credits that came in together: one grant, or one adjustment upwards.

    A hold pins credits of particular lots, oldest first, so that every credit spent can be traced to how it
    was given. Lots are used up, never deleted.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    amount = models.BigIntegerField(help_text="Credits it began with.")
    remaining = models.BigIntegerField(help_text="Credits not spent yet, those held included.")
    held = models.BigIntegerField(default=0, help_text="Credits of it that pending holds pin.")
    reason = models.CharField(max_length=200)
    created_seq = models.BigIntegerField(help_text="Number of the entry that made it; the burn order.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = TenantQuerySet["CreditLot"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "created_seq"], name="one_lot_an_entry"),
            models.CheckConstraint(
                condition=Q(amount__gt=0, held__gte=0, remaining__gte=F("held"), amount__gte=F("remaining")),
                name="lot_held_at_most_remaining_at_most_amount",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "created_seq"], condition=Q(remaining__gt=0), name="lot_burn_order"),
        ]

    def __str__(self) -> str:
        return f"{self.remaining} of {self.amount}: {self.reason}"


class CreditHold(models.Model):
    """
    Credits set aside for one thing that may still fail; captured with its result, or released.

    Leaves *pending* once and for ever. Its maker chooses the id, which makes the hold idempotent.
    """

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        CAPTURED = "captured", "Captured"
        RELEASED = "released", "Released"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    amount = models.BigIntegerField()
    captured = models.BigIntegerField(default=0, help_text="Credits spent in the end; the rest went back.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    purpose = models.CharField(max_length=200, help_text="What for, by its id; names no person.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = TenantQuerySet["CreditHold"].as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0, captured__gte=0, captured__lte=F("amount"))
                & (Q(state="captured") | Q(captured=0)),
                name="hold_captured_at_most_amount",
            ),
        ]
        indexes = [
            models.Index(fields=["organization"], condition=Q(state="pending"), name="hold_pending"),
            models.Index(fields=["-created_at", "-id"], name="hold_of_everybody"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} for {self.purpose}"


class HoldAllocation(models.Model):
    """
    Which lots a hold took its credits from. Pinned when it is made, so that a capture never finds too
    little.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    hold = models.ForeignKey(CreditHold, on_delete=models.PROTECT, related_name="allocations")
    lot = models.ForeignKey(CreditLot, on_delete=models.PROTECT, related_name="allocations")
    position = models.PositiveIntegerField(help_text="Burn order within the hold, from 1.")
    amount = models.BigIntegerField()
    captured = models.BigIntegerField(default=0)

    objects = TenantQuerySet["HoldAllocation"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "hold", "lot"], name="one_allocation_a_hold_and_lot"),
            models.CheckConstraint(
                condition=Q(amount__gt=0, captured__gte=0, captured__lte=F("amount")),
                name="allocation_captured_at_most_amount",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} of lot {self.lot_id}"


class LedgerEntry(models.Model):
    """
    One movement of credits: what changed, the balance after it, and why.

    Append-only (the database refuses updates and deletes): a correction is an *adjust* entry. Numbered
    without gaps per organization; `seq`, not time, gives the order. Account and lots can be recomputed from
    the entries, which is what `verify_ledger` does.
    """

    class Kind(models.TextChoices):
        GRANT = "grant", "Granted"
        HOLD = "hold", "Set aside"
        CAPTURE = "capture", "Charged"
        RELEASE = "release", "Freed"
        ADJUST = "adjust", "Adjusted"

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=10, choices=Kind.choices)
    d_posted = models.BigIntegerField(help_text="Change of the credits owned.")
    d_held = models.BigIntegerField(help_text="Change of the credits held.")
    posted_after = models.BigIntegerField()
    held_after = models.BigIntegerField()
    hold = models.ForeignKey(CreditHold, null=True, blank=True, on_delete=models.PROTECT, related_name="entries")
    lot = models.ForeignKey(CreditLot, null=True, blank=True, on_delete=models.PROTECT, related_name="entries")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    reason = models.CharField(max_length=200, blank=True)
    idempotency_key = models.CharField(max_length=120)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the arguments, hexadecimal.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = TenantQuerySet["LedgerEntry"].as_manager()

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints = [
            models.UniqueConstraint(fields=["organization", "seq"], name="entry_seq_unique"),
            models.UniqueConstraint(fields=["organization", "idempotency_key"], name="entry_key_unique"),
            models.UniqueConstraint(
                fields=["organization", "hold"],
                condition=Q(kind__in=["capture", "release"]),
                name="hold_ends_once",
            ),
            models.CheckConstraint(
                condition=Q(seq__gte=1, held_after__gte=0, posted_after__gte=F("held_after")),
                name="entry_balance_not_negative",
            ),
            models.CheckConstraint(
                condition=(
                    Q(kind="grant", d_posted__gt=0, d_held=0, hold=None, lot__isnull=False)
                    | Q(kind="hold", d_posted=0, d_held__gt=0, hold__isnull=False, lot=None)
                    | Q(
                        kind="capture",
                        d_held__lt=0,
                        d_posted__gte=F("d_held"),
                        d_posted__lte=0,
                        hold__isnull=False,
                        lot=None,
                    )
                    | Q(kind="release", d_posted=0, d_held__lt=0, hold__isnull=False, lot=None)
                    | Q(kind="adjust", d_posted__gt=0, d_held=0, hold=None, lot__isnull=False)
                    | Q(kind="adjust", d_posted__lt=0, d_held=0, hold=None, lot=None)
                ),
                name="entry_signs_of_its_kind",
            ),
            models.CheckConstraint(
                condition=~Q(kind__in=["grant", "adjust"], reason=""),
                name="entry_given_credits_have_a_reason",
            ),
            models.CheckConstraint(condition=~Q(kind="adjust", actor=None), name="entry_adjustment_has_an_actor"),
        ]
        indexes = [
            models.Index(fields=["organization", "created_at"], name="entry_by_time"),
            models.Index(fields=["-created_at", "-id"], name="entry_of_everybody"),
            # The kind of all of them is named, too, so that SQLite need not look at the entries themselves.
            models.Index(
                fields=["organization", "created_at", "d_posted", "kind"],
                condition=Q(kind="capture"),
                name="entry_spent",
            ),
            models.Index(fields=["organization", "-seq"], condition=Q(d_held=0), name="entry_given"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} (entry {self.seq})"

    @property
    def available_after(self) -> int:
        return self.posted_after - self.held_after
