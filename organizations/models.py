from __future__ import annotations

from typing import Any, ClassVar, Self, TypeVar

from allauth.account.models import EmailAddress
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Now

from organizations import owners  # noqa: F401  # the lookup `owner`
from organizations.names import NameField

_Row = TypeVar("_Row", bound=models.Model)


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Who runs a command on the server vouches for the address: it counts as confirmed, without any mail."""
        with transaction.atomic(using=self._db):
            user = self.create_user(email, password, is_staff=True, is_superuser=True, **fields)
            EmailAddress.objects.using(self._db).create(user=user, email=user.email, primary=True, verified=True)
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """A person. Logs in by e-mail; belongs to organizations through memberships."""

    email = models.EmailField(unique=True, error_messages={"unique": "A user with that e-mail exists."})
    name = NameField(max_length=150, blank=True)
    is_staff = models.BooleanField(default=False, help_text="An operator of this installation: may use the admin.")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[UserManager] = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        return self.name or self.email


class OrganizationQuerySet(models.QuerySet["Organization"]):
    def of_user(self, user: User) -> Self:
        """The open organizations that `user` is a member of."""
        return self.filter(memberships__user=user, closed_at=None, is_platform=False)

    def customers(self) -> Self:
        return self.filter(is_platform=False)

    def platform(self) -> Organization | None:
        """The one that stands for the installation; None before `manage.py init`."""
        return self.filter(is_platform=True).first()


class Organization(models.Model):
    """
    A tenant. Everything a tenant owns has an `organization` column.

    One row is the platform itself: it owns the managed keys and has no members.
    """

    class RecencyWindow(models.IntegerChoices):
        DAYS_30 = 30, "30 days"
        DAYS_60 = 60, "60 days"
        DAYS_90 = 90, "90 days"

    name = NameField(max_length=120)
    slug = models.SlugField(max_length=60, unique=True)
    is_platform = models.BooleanField(default=False, editable=False)
    recency_window_days = models.PositiveSmallIntegerField(
        choices=RecencyWindow.choices,
        default=RecencyWindow.DAYS_30,
        help_text="How long an earlier check of a person still counts as recent.",
    )
    shares_recency = models.BooleanField(
        default=False,
        help_text="Takes part in the recency network: checks by others count here, and its own paid ones there.",
    )
    members_see_usd = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Else USD are shown to owners and admins alone; members see tokens, calls and runs.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["is_platform"], condition=Q(is_platform=True), name="one_platform_organization"
            ),
            models.CheckConstraint(
                condition=Q(recency_window_days__in=[30, 60, 90]), name="recency_window_30_60_or_90"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class TenantQuerySet(models.QuerySet[_Row]):
    """Queries of rows that belong to an organization; application code reads through `for_organization`."""

    def for_organization(self, organization: Organization | int) -> Self:
        """By the organization or its id."""
        return self.filter(organization__owner=organization)


class Membership(models.Model):
    """A person's place in an organization, and with it what they may do there."""

    class Role(models.TextChoices):
        OWNER = "owner", "Owner"
        ADMIN = "admin", "Admin"
        MEMBER = "member", "Member"

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantQuerySet["Membership"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="one_membership_a_person"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.get_role_display()}"

    @property
    def sees_usd(self) -> bool:
        """What the organization's own calls cost. What Managed ones do is the operator's: usage/audience.py."""
        return self.role != self.Role.MEMBER or self.organization.members_see_usd


class InvitationQuerySet(TenantQuerySet["Invitation"]):
    def open(self) -> Self:
        """Neither accepted nor withdrawn; it may have expired."""
        return self.filter(accepted_at=None, revoked_at=None)


class Invitation(models.Model):
    """
    A place in an organization, offered to the person who reads an e-mail address; one open offer an address.

    The link in the e-mail carries a token of which only the SHA-256 is stored. Rows stay after their end.
    """

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(help_text="In lower case.")
    role = models.CharField(max_length=10, choices=Membership.Role.choices)
    token_digest = models.CharField(max_length=64, unique=True, editable=False)
    # CASCADE: an offer is worth what its giver may give, so none outlives its giver.
    invited_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "email"],
                condition=Q(accepted_at=None, revoked_at=None),
                name="one_open_invitation_an_address",
            ),
            models.CheckConstraint(
                condition=Q(accepted_at=None) | Q(revoked_at=None), name="invitation_accepted_or_revoked"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.email} · {self.get_role_display()}"


class EmailChange(models.Model):
    """A new address that staff asked for; it works once somebody agreed (organizations/email_changes.py)."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="email_changes")
    old_email = models.EmailField()
    new_email = models.EmailField()
    requested_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(null=True, blank=True)
    confirmed_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user"],
                condition=Q(confirmed_at=None, withdrawn_at=None),
                name="one_open_email_change_a_person",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.old_email} → {self.new_email}"


class ApiToken(models.Model):
    """
    Lets a program act for an organization, at most as the person who made the token now may.

    Only the SHA-256 of the token is stored. Rows stay after their end. Rules: `organizations/api_tokens.py`.
    """

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="api_tokens")
    name = NameField(max_length=100)
    prefix = models.CharField(max_length=8, unique=True, help_text="The part of the token that is shown.")
    digest = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(help_text="Permissions: see API_SCOPES.")
    # CASCADE: a token is worth what its creator may do, so none outlives its creator.
    created_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="To the minute.")
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["ApiToken"].as_manager()
    maker: Membership | None = None  # of its creator, once it was used (`use_token`)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"], condition=Q(revoked_at=None), name="one_api_token_a_name"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} (kf_{self.prefix}…)"


class DoneRequest(models.Model):
    """
    What came of a request that is carried out once, however often it arrives: see `organizations/once.py`.

    Kept as long as the organization is: whoever asks again gets what was made the first time.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    purpose = models.CharField(max_length=40, help_text="What was asked for: keys of two purposes never meet.")
    key = models.CharField(max_length=200, help_text="An Idempotency-Key of a program, or that of a form.")
    body_digest = models.CharField(max_length=64, help_text="SHA-256 of what was asked for, hexadecimal.")
    result = models.CharField(max_length=200, help_text="What came of it, mostly the id of what was made.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantQuerySet["DoneRequest"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "purpose", "key"], name="one_result_a_request"),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {self.key}"


class AuditEvent(models.Model):
    """
    Who changed what: one row for every key, routing, member and credit change.

    Append-only (by database triggers) and chained: see `organizations/audit_chain.py`. Written by `audit.record`.
    Holds no key, ciphertext or other secret; names are snapshots, so it outlives what it names. People are made
    inactive, never deleted, once they stand here.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="audit_events")
    seq = models.PositiveBigIntegerField(help_text="Counts the organization's events from 1, without a gap.")
    actor = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    actor_label = models.CharField(max_length=254, help_text="E-mail of the person, or what acted.")
    action = models.CharField(max_length=60)
    target = models.CharField(max_length=200, blank=True)
    details = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()
    prev_hash = models.CharField(max_length=64, help_text="The hash of the event before.")
    hash = models.CharField(max_length=64, help_text="SHA-256 of this event and the hash before it.")

    objects = TenantQuerySet["AuditEvent"].as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["organization", "-created_at"], name="audit_by_organization"),
            models.Index(fields=["-created_at", "-id"], name="audit_of_everybody"),
        ]
        constraints = [models.UniqueConstraint(fields=["organization", "seq"], name="audit_seq_unique")]

    def __str__(self) -> str:
        return f"{self.title} {self.target}".strip()

    @property
    def title(self) -> str:
        """The action in words: "provider_key.saved" reads "Provider key saved"."""
        return self.action.replace(".", " ").replace("_", " ").capitalize().replace("Api ", "API ")


class AuditHead(models.Model):
    """Where an organization's audit log ends: tells a missing end, and is what its writers lock to take turns."""

    organization = models.OneToOneField(Organization, primary_key=True, on_delete=models.PROTECT, related_name="+")
    seq = models.PositiveBigIntegerField(default=0)
    hash = models.CharField(max_length=64)

    objects = TenantQuerySet["AuditHead"].as_manager()

    def __str__(self) -> str:
        return f"Event {self.seq:,}"


class OutgoingMail(models.Model):
    """
    A mail to one recipient: until it left, and a while after. See `organizations/outbox/`.

    Mails hold links that open accounts, so the mail itself is sealed, shown nowhere, and erased once it left or was
    given up.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        SENT = "sent", "Sent"
        GIVEN_UP = "given_up", "Given up"

    recipient = models.EmailField(max_length=320)
    subject = models.CharField(max_length=300)
    sealed = models.TextField(blank=True, editable=False, help_text="Empty once it left or was given up.")
    message_id = models.CharField(max_length=255, db_index=True, help_text="As the mail server logs it.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.CharField(max_length=300, blank=True, help_text="Why the last attempt failed.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    next_attempt_at = models.DateTimeField(db_default=Now())
    good_until = models.DateTimeField(help_text="Later than this it is not sent: its link would be dead.")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=Q(state="waiting"), name="mail_waiting"),
            models.Index(fields=["finished_at"], name="mail_finished"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} to {self.recipient}"


class MailServer(models.Model):
    """
    How the outgoing mail server is doing; one row. Who sends holds it: one process at a time.

    A server that failed is left alone until `paused_until`, so that it holds up one worker for one attempt only.
    """

    holder = models.UUIDField(null=True, blank=True)
    held_until = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    last_error = models.CharField(max_length=300, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    paused_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return "Outgoing mail server"
