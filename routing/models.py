from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from organizations.models import ApiToken, Organization, TenantQuerySet
from organizations.names import NameField
from providers.models import ProviderKey
from usage.names import action_name, provider_name


class Effort(models.TextChoices):
    """How long a model may think, in the words that OpenAI's API has for it."""

    NONE = "none", "None"
    MINIMAL = "minimal", "Minimal"
    LOW = "low", "Low"
    MEDIUM = "medium", "Medium"
    HIGH = "high", "High"


class ManagedDefault(models.Model):
    """The model that serves an action on the operator's managed key, unless an organization chose its own."""

    action = models.CharField(max_length=60, unique=True)
    provider = models.CharField(max_length=40)
    model = models.CharField(max_length=200)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{action_name(self.action)}: {provider_name(self.provider)} {self.model}"


class Agent(models.Model):
    """
    An action that an organization defines itself: who calls through the gateway in its name.

    Its slug is the action that its calls are counted by and what clients send as the model, so it never changes and is
    not given again. An archived one serves no more, keeps its figures, and can be brought back.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="agents")
    slug = models.SlugField(max_length=40)
    name = NameField(max_length=80)
    description = models.CharField(max_length=300, blank=True)
    # Staff may let it run on a managed key: the model that serves it there, and for how much a UTC day. Empty: on the
    # organization's own keys alone.
    managed_provider = models.CharField(max_length=40, blank=True)
    managed_model = models.CharField(max_length=200, blank=True)
    managed_calls_a_day = models.PositiveIntegerField(null=True, blank=True)
    managed_nanousd_a_day = models.PositiveBigIntegerField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Agent"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "slug"], name="one_agent_a_slug"),
            models.UniqueConstraint(
                fields=["organization", "name"], condition=Q(archived_at=None), name="one_agent_a_name"
            ),
            models.CheckConstraint(
                condition=Q(managed_calls_a_day=None, managed_nanousd_a_day=None)
                | Q(managed_calls_a_day__isnull=False, managed_nanousd_a_day__isnull=False),
                name="a_managed_agent_has_both_caps",
            ),
            models.CheckConstraint(
                condition=Q(managed_calls_a_day=None, managed_provider="", managed_model="")
                | Q(managed_calls_a_day__isnull=False) & ~Q(managed_provider="") & ~Q(managed_model=""),
                name="a_managed_agent_has_a_model",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class RoutingRule(models.Model):
    """An organization's own choice of key and model for one action. No row: the managed default."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    action = models.CharField(max_length=60)
    key = models.ForeignKey(ProviderKey, on_delete=models.PROTECT, related_name="routing_rules")
    model = models.CharField(max_length=200)
    # What the call is sent with where its client names nothing else; empty: as the client or the model has it.
    temperature = models.DecimalField(max_digits=3, decimal_places=2, null=True, blank=True)
    most_output_tokens = models.PositiveIntegerField(null=True, blank=True)
    reasoning_effort = models.CharField(max_length=10, blank=True, choices=Effort.choices)
    allowed_models = models.JSONField(
        default=list,
        blank=True,
        help_text="“provider” or “provider/model” of all that this action may be routed to; empty: anything.",
    )
    paused_at = models.DateTimeField(null=True, blank=True, help_text="Since when nothing runs by it.")
    version = models.PositiveIntegerField(default=1)
    updated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantQuerySet["RoutingRule"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "action"], name="one_rule_an_action"),
        ]

    def __str__(self) -> str:
        return f"{action_name(self.action)}: {self.model}"


class CallAccess(models.Model):
    """
    What an API token may call through the gateway; a token without one calls nothing.

    A token that was made for one agent alone is bound to it: whatever model its client names, that agent's route
    serves. That is noted, not counted: a token of two agents is not bound once one of them is archived.
    """

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    token = models.OneToOneField(ApiToken, on_delete=models.CASCADE, related_name="call_access")
    # CASCADE like the maker of a token: it is worth what that person may do.
    member = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="In whose name its calls stand in the books.",
    )
    every_agent = models.BooleanField(default=False)
    is_bound = models.BooleanField(default=False)
    agents = models.ManyToManyField(Agent, through="CallableAgent", related_name="accesses")
    allowed_models = models.JSONField(
        default=list, blank=True, help_text="“provider” or “provider/model” of all that it may reach; empty: anything."
    )
    requests_a_minute = models.PositiveIntegerField(null=True, blank=True)
    tokens_a_minute = models.PositiveIntegerField(null=True, blank=True)
    calls_at_once = models.PositiveIntegerField(null=True, blank=True)

    objects = TenantQuerySet["CallAccess"].as_manager()

    def __str__(self) -> str:
        return str(self.token)


class CallableAgent(models.Model):
    """An agent that a token may call."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    access = models.ForeignKey(CallAccess, on_delete=models.CASCADE, related_name="named_agents")
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="+")

    objects = TenantQuerySet["CallableAgent"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "access", "agent"], name="an_agent_once_a_token"),
        ]

    def __str__(self) -> str:
        return f"{self.access}: {self.agent}"


class ModelNotice(models.Model):
    """
    What is told of a model until somebody says that they have read it, and not again after that.

    Of models that are new there is one row, whose `dismissed_at` is when the organization last looked.
    """

    class Kind(models.TextChoices):
        NEW = "new", "New models"
        CHEAPER = "cheaper", "A cheaper model"
        ENDING = "ending", "A model that ends"

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    action = models.CharField(max_length=60, blank=True)
    provider = models.CharField(max_length=40, blank=True)
    model = models.CharField(max_length=200, blank=True)
    detail = models.JSONField(default=dict, blank=True, help_text="What its sentence names.")
    noted_at = models.DateTimeField()
    dismissed_at = models.DateTimeField(null=True, blank=True)
    dismissed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = TenantQuerySet["ModelNotice"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "kind", "action", "provider", "model"], name="a_model_is_told_of_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {provider_name(self.provider)} {self.model}".strip()


class DirectKey(models.Model):
    """The key that a token's calls to `provider/model` leave with, one a provider; they run as the action *direct*."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    access = models.ForeignKey(CallAccess, on_delete=models.CASCADE, related_name="direct_keys")
    provider = models.CharField(max_length=40)
    key = models.ForeignKey(ProviderKey, on_delete=models.CASCADE, related_name="+")

    objects = TenantQuerySet["DirectKey"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "access", "provider"], name="one_direct_key_a_provider"),
        ]

    def __str__(self) -> str:
        return f"{self.access}: {self.key}"
