from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from fernet_fields import EncryptedTextField

from organizations.models import Organization, TenantQuerySet
from organizations.names import NameField
from providers.adapters.reasons import Reason, reason
from providers.catalog import PROVIDERS, origin_of
from usage.names import provider_name

UNREADABLE = reason("unreadable")


class WrappedKeyField(EncryptedTextField):  # type: ignore[misc]  # published without types
    """
    Text encrypted under the master keys (`FERNET_KEYS`).

    The stock field encrypts the *repr* of SQL expressions (`bulk_update`, `F()`) and hands plaintext to
    `dumpdata`; both are mended here.
    """

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        if hasattr(value, "as_sql"):
            return value
        return super().get_db_prep_save(value, connection)

    def value_to_string(self, obj: models.Model) -> str:
        return ""


class OrganizationKeyQuerySet(TenantQuerySet["OrganizationKey"]):
    def with_token(self) -> Self:
        """
        With `token`, the wrapped key as it is stored, in place of `wrapped`, which is unwrapped whenever it is loaded.
        """
        token = models.ExpressionWrapper(models.F("wrapped"), output_field=models.BinaryField())
        return self.annotate(token=token).defer("wrapped")


class OrganizationKey(models.Model):
    """
    The random data key under which one organization's provider keys are sealed.

    Stored wrapped under the master keys. Deleting the row makes everything sealed under it unreadable for good.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    version = models.PositiveIntegerField(default=1)
    wrapped = WrappedKeyField(editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OrganizationKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "version"], name="one_organization_key_a_version"),
        ]

    def __str__(self) -> str:
        return f"Version {self.version}"


class ProviderKeyQuerySet(TenantQuerySet["ProviderKey"]):
    def usable(self) -> Self:
        """Those that calls may leave with, as far as the database knows; `ProviderKey.is_usable` knows the rest."""
        return self.filter(status__in=USABLE_STATUSES, unreadable_since=None)


class ProviderKey(models.Model):
    """
    A key an organization made at a provider. The secret itself is sealed; only its last four characters are shown.

    `origin` is where the key may travel, and is bound into the seal: with another origin it does not open.
    """

    class Status(models.TextChoices):
        SAVED = "saved", "Saved, not validated"
        VALIDATING = "validating", "Validating"
        CONNECTED = "connected", "Connected"
        LIMITED = "limited", "Limited"
        INVALID = "invalid", "Invalid"
        NO_CREDIT = "no_credit", "No credit"
        RATE_LIMITED = "rate_limited", "Rate limited"
        UNREACHABLE = "unreachable", "Unreachable"
        NEEDS_REENTRY = "needs_reentry", "Needs re-entry"
        DISABLED = "disabled", "Disabled"

    class BreakNotice(models.TextChoices):
        """Whether those who manage the key were told that it broke; forgotten when it works again."""

        NONE = "", "nothing to tell"
        DUE = "due", "to be told"
        SENT = "sent", "told"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    provider = models.CharField(max_length=40)
    label = NameField(max_length=80, default="Default")
    base_url = models.CharField(
        max_length=200, blank=True, editable=False, help_text="Of a server that the organization named, else blank."
    )
    is_own_server = models.BooleanField(
        default=False,
        editable=False,
        help_text="The owner says that the server behind the base URL is their own: its tokens cost nothing.",
    )
    origin = models.CharField(max_length=200, editable=False)
    ciphertext = models.BinaryField(editable=False)
    key_version = models.PositiveIntegerField(editable=False)
    last4 = models.CharField(max_length=4, blank=True, editable=False)
    fingerprint = models.CharField(
        max_length=32,
        blank=True,
        editable=False,
        help_text="Keyed digest of the secret (`custody.fingerprint`): tells a second paste of it, and nothing else.",
    )
    secret_version = models.PositiveIntegerField(
        default=1, editable=False, help_text="Counts replacements; a validation of an older one changes nothing."
    )
    replaces = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        editable=False,
        on_delete=models.CASCADE,
        related_name="replacements",
        help_text="The key that serves until this one is validated; see `providers.keys.replacement`.",
    )
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.SAVED)
    status_detail = models.CharField(max_length=300, blank=True, help_text="The reason of rows from before reasons.")
    status_reason = models.JSONField(
        null=True, blank=True, editable=False, help_text="Why it has this status: a code and what it names."
    )
    validated_at = models.DateTimeField(null=True, blank=True, help_text="When the status was last established.")
    unreadable_since = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When it was found that the secret does not open; empty again as soon as it opens.",
    )
    last_check_failed_at = models.DateTimeField(
        null=True, blank=True, help_text="When a check that came after the status was established did not get through."
    )
    last_check_failure = models.CharField(
        max_length=300, blank=True, help_text="The reason of rows from before reasons."
    )
    last_check_reason = models.JSONField(null=True, blank=True, editable=False, help_text="Why that did not.")
    replaced_at = models.DateTimeField(null=True, blank=True, editable=False)
    rotation_reminded_at = models.DateTimeField(null=True, blank=True, editable=False)
    break_notice = models.CharField(max_length=4, choices=BreakNotice.choices, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True)
    proof_model = models.CharField(
        max_length=200,
        blank=True,
        editable=False,
        help_text="The model that a person typed to prove the key with, where its server lists none.",
    )
    must_prove_by_call = models.BooleanField(
        default=False,
        editable=False,
        help_text="A call was refused for the key itself: only an answered call shows that it works again.",
    )
    provider_limits = models.JSONField(default=dict, blank=True, help_text="As the provider reports them.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ProviderKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "provider", "label"],
                condition=Q(replaces=None),
                name="key_label_unique_per_provider",
            ),
            models.UniqueConstraint(
                fields=["organization", "replaces"],
                condition=Q(replaces__isnull=False),
                name="one_pending_replacement_a_key",
            ),
            # No rule can name it and no call can leave with it: everything that serves is Connected or Limited.
            models.CheckConstraint(
                condition=Q(replaces=None) | ~Q(status__in=["connected", "limited"]),
                name="a_pending_replacement_does_not_serve",
            ),
        ]

    def __str__(self) -> str:
        return f"{provider_name(self.provider)} · {self.label}"

    @property
    def state(self) -> KeyState:
        """
        What is shown of the key and gone by: its status, unless its secret is known not to open, or not for where calls
        go now. The status stays meanwhile, so that a key is as good as before once a missing master key is back.
        """
        is_moved = self.provider in PROVIDERS and self.origin != origin_of(self.provider, self.base_url)
        if is_moved or self.unreadable_since is not None:
            return KeyState(ProviderKey.Status.NEEDS_REENTRY, UNREADABLE, None)
        why = Reason.from_json(self.status_reason) if self.status_reason else self.status_detail
        return KeyState(ProviderKey.Status(self.status), why, self.validated_at)

    @property
    def last_check(self) -> str:
        """Why the last check did not get through, as a sentence; "" if it did."""
        return _said(self.last_check_reason) or self.last_check_failure

    def set_status(self, status: str, why: Reason | None = None) -> None:
        """Saves nothing."""
        self.status, self.status_reason, self.status_detail = status, why.as_json() if why else None, ""

    def set_last_check(self, failed_at: datetime | None = None, why: Reason | None = None) -> None:
        """When and why a check did not get through, or that none did not since; saves nothing."""
        self.last_check_failed_at, self.last_check_failure = failed_at, ""
        self.last_check_reason = why.as_json() if why else None

    @property
    def is_usable(self) -> bool:
        """Whether a rule may name this key, and calls may leave with it. Temporary trouble does not unroute."""
        return self.state.status in USABLE_STATUSES

    @property
    def has_secret(self) -> bool:
        """Whether there is anything in the seal: a server that the organization named may expect no key."""
        return bool(self.fingerprint or not self.base_url)

    @property
    def has_no_token_charges(self) -> bool:
        """Whether calls cost nothing by the token, because the organization runs the server itself."""
        return self.is_own_server or self.provider == "ollama"

    @property
    def secret_since(self) -> datetime:
        """Since when the present secret is used: its age is what rotation is about."""
        return self.replaced_at or self.created_at

    @property
    def has_verdict(self) -> bool:
        """Whether it is known if the key works. Trouble on the way to its provider does not change what is known."""
        return self.status in USABLE_STATUSES | BROKEN_STATUSES


@dataclass(frozen=True, slots=True)
class KeyState:
    """
    How a key stands now, and why, a text where it is an older row's; `validated_at` is when that was established by its
    provider, if it was.
    """

    status: ProviderKey.Status
    why: Reason | str
    validated_at: datetime | None

    @property
    def detail(self) -> str:
        return self.why.of_key if isinstance(self.why, Reason) else self.why

    @property
    def label(self) -> str:
        return str(self.status.label)


class PrivateEndpoint(models.Model):
    """
    A server in a private network that staff allow one organization to use: Ollama, or any that it may name.

    The only way to plain http and to addresses that are not on the internet. `network` is what `host` may resolve to.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    host = models.CharField(max_length=200, help_text="Name or IP address, as in the base URL.")
    port = models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(65535)])
    network = models.CharField(
        max_length=50, help_text="What the host may resolve to, as small as it can be: 10.1.2.3/32, fd12:3456::/64."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantQuerySet["PrivateEndpoint"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "host", "port", "network"], name="private_endpoint_allowed_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.host}:{self.port} in {self.network}"


class KeyValidation(models.Model):
    """One attempt to validate a key: the truth about a background validation."""

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        DONE = "done", "Done"

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    key = models.ForeignKey(ProviderKey, on_delete=models.CASCADE, related_name="validations")
    secret_version = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    outcome = models.CharField(max_length=20, choices=ProviderKey.Status.choices, blank=True)
    detail = models.CharField(max_length=300, blank=True, help_text="The reason of rows from before reasons.")
    reason = models.JSONField(null=True, blank=True, editable=False, help_text="A code and what it names.")
    requested_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["KeyValidation"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "key"], condition=Q(state="queued"), name="one_queued_validation_a_key"
            ),
        ]

    def __str__(self) -> str:
        return self.get_outcome_display() or self.get_state_display()

    @property
    def sentence(self) -> str:
        """Why it came out so, "" where there is nothing to say."""
        return _said(self.reason) or self.detail


class AvailableModel(models.Model):
    """A model that a key can call, as its provider listed it at the last validation, or as a person typed it."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    key = models.ForeignKey(ProviderKey, on_delete=models.CASCADE, related_name="available_models")
    model = models.CharField(max_length=200)
    name = NameField(max_length=200, blank=True)
    context_tokens = models.PositiveBigIntegerField(null=True, blank=True)
    input_nanousd_per_mtok = models.PositiveBigIntegerField(null=True, blank=True)
    output_nanousd_per_mtok = models.PositiveBigIntegerField(null=True, blank=True)
    listed_since = models.DateTimeField(
        null=True, blank=True, help_text="When it came into a list that there was before; empty for the first list."
    )
    ends_on = models.DateField(null=True, blank=True, help_text="As its provider announced.")

    objects = TenantQuerySet["AvailableModel"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "key", "model"], name="one_row_a_listed_model"),
        ]

    def __str__(self) -> str:
        return self.model


class ModelQuirk(models.Model):
    """
    An optional field of our requests that a model's server refused: it is left out, or sent otherwise, from then on.

    Forgotten when the key's secret or base URL is replaced, and when somebody asks for it.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    key = models.ForeignKey(ProviderKey, on_delete=models.CASCADE, related_name="model_quirks")
    model = models.CharField(max_length=200)
    field = models.CharField(max_length=40, help_text="By its name in the provider's API.")
    instead = models.CharField(max_length=40, blank=True, help_text="The field that is sent in its place.")
    most = models.PositiveBigIntegerField(null=True, blank=True, help_text="The most it may be, where it is a limit.")
    noticed_at = models.DateTimeField(auto_now_add=True)

    objects = TenantQuerySet["ModelQuirk"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "key", "model", "field"], name="one_quirk_a_model_and_field"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model}: {self.field}"


def _said(stored: dict[str, Any] | None) -> str:
    """The sentence of a stored reason, as it stands on the row of a key."""
    return Reason.from_json(stored).of_key if stored else ""


USABLE_STATUSES = frozenset({ProviderKey.Status.CONNECTED, ProviderKey.Status.LIMITED})
# A provider's (or the seal's) word that the key does not work: calls stop until it is mended.
BROKEN_STATUSES = frozenset(
    {ProviderKey.Status.INVALID, ProviderKey.Status.NO_CREDIT, ProviderKey.Status.NEEDS_REENTRY}
)
