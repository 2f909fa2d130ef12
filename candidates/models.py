from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce

from billing.models import CreditHold
from candidates.failures import Failure
from candidates.trial_models import Trial as Trial
from candidates.trial_models import TrialCheck as TrialCheck
from organizations.models import Organization, TenantQuerySet
from organizations.names import NameField
from providers.adapters.reasons import Reason
from providers.models import ProviderKey
from usage.models import Mode


def _numbered(field: str, values: Sequence[str]) -> Case:
    """The place of a field's value among `values`, to order by."""
    return Case(
        *(When(**{field: value}, then=Value(number)) for number, value in enumerate(values)),
        default=Value(len(values)),
        output_field=models.SmallIntegerField(),
    )


class Candidate(models.Model):
    """A person an organization imported. What is known of them lies in profile versions."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    name = NameField(max_length=200)
    headline = NameField(max_length=200, blank=True)
    link = models.CharField(max_length=400, blank=True, help_text="Normalized profile link.")
    email = models.CharField(max_length=254, blank=True, help_text="In lower case.")
    external_id = models.CharField(max_length=120, blank=True, help_text="`candidate_id` of the import.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantQuerySet["Candidate"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", field], condition=~Q(**{field: ""}), name=f"candidate_{field}_unique"
            )
            for field in ("link", "email", "external_id")
        ]

    def __str__(self) -> str:
        return self.name


class CandidateWord(models.Model):
    """A word by which a candidate is found (candidates/search.py)."""

    # Without checks of the database, which an import would wait for ten times a person.
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    candidate = models.ForeignKey(Candidate, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    word = models.BinaryField(max_length=60, help_text="Folded, as UTF-8.")

    objects = TenantQuerySet["CandidateWord"].as_manager()

    class Meta:
        indexes = [models.Index(fields=["organization", "word", "candidate"], name="candidate_by_word")]

    def __str__(self) -> str:
        return bytes(self.word).decode(errors="replace")


class Profile(models.Model):
    """One version of a candidate's profile (JSON Resume shape). Never changed: other content is a new version."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    candidate = models.ForeignKey(Candidate, on_delete=models.CASCADE, related_name="profiles")
    version = models.PositiveIntegerField(default=1)
    content = models.JSONField()
    digest = models.CharField(max_length=64, help_text="SHA-256 of the canonical content, hexadecimal.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantQuerySet["Profile"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "candidate", "version"], name="one_profile_a_version"),
        ]
        indexes = [models.Index(fields=["organization", "digest"], name="profile_by_digest")]

    def __str__(self) -> str:
        return f"{self.candidate} v{self.version}"


class Briefing(models.Model):
    """What a position asks for. Once checked against, its requirement texts are locked; other words are a copy."""

    class State(models.TextChoices):
        DRAFTING = "drafting", "Drafting"
        REVIEW = "review", "To be looked over"
        READY = "ready", "Ready"
        FAILED = "failed", "Draft failed"

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    title = NameField(max_length=200)
    job_description = models.TextField(blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.READY)
    state_detail = models.CharField(max_length=300, blank=True, help_text="The reason of rows from before reasons.")
    state_reason = models.JSONField(
        null=True, blank=True, editable=False, help_text="Why it is in this state: a code and what it names."
    )
    version = models.PositiveIntegerField(default=1)
    earlier_version = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    draft_run_id = models.UUIDField(default=uuid.uuid4, editable=False)
    draft_requested_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="Who saved title or requirements last; nobody: a draft.",
    )
    changed_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)
    key = models.ForeignKey(
        ProviderKey,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="With the model, what serves its checks; without, they go as the action is routed.",
    )
    model = models.CharField(max_length=200, blank=True)

    objects = TenantQuerySet["Briefing"].as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(key=None, model="") | Q(key__isnull=False) & ~Q(model=""),
                name="a_briefings_model_has_a_key",
            ),
        ]
        indexes = [
            models.Index(
                fields=["organization", "-id"],
                condition=Q(key__isnull=False, archived_at=None),
                name="briefing_with_model",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} (version {self.version})" if self.version > 1 else self.title

    @property
    def why(self) -> str:
        """Of a draft: why it failed, or takes long, as a sentence; else ""."""
        return Failure.from_json(self.state_reason).sentence if self.state_reason else self.state_detail

    def set_state(self, state: str, reason: Reason | None = None) -> None:
        """Does not save."""
        self.state, self.state_detail = state, ""
        self.state_reason = reason.as_json() if reason else None


class Requirement(models.Model):
    """One thing a briefing asks for: a must-have (a hard gate) or a weighted nice-to-have."""

    class Kind(models.TextChoices):
        MUST = "must", "Must-have"
        NICE = "nice", "Nice-to-have"

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    briefing = models.ForeignKey(Briefing, on_delete=models.CASCADE, related_name="requirements")
    position = models.PositiveSmallIntegerField(default=0)
    text = models.CharField(max_length=300)
    kind = models.CharField(max_length=4, choices=Kind.choices, default=Kind.NICE)
    weight = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(100)], help_text="Only the relation counts."
    )

    objects = TenantQuerySet["Requirement"].as_manager()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(weight__gte=1), name="requirement_weight_at_least_1")]

    def __str__(self) -> str:
        return self.text


# Results are ranked by how far they have come, then by fit, then by score.
STATUS_RANK = 1000
FAILED_RANK = 3 * STATUS_RANK
RANK = (
    _numbered("status", ("completed", "in_progress", "pending", "failed")) * STATUS_RANK
    + _numbered("category", ("strong", "possible", "none")) * 200
    + 100
    - Coalesce("score", 0)
)


class CandidateCheck(models.Model):
    """
    One candidate checked against one briefing.

    Mode, price and route are pinned when the check is accepted. The row is the truth about the work: workers
    claim it by lease, and its result, the capture of its hold and its status are written in one transaction.
    """

    class Status(models.TextChoices):
        PENDING = "pending", "Pending"
        IN_PROGRESS = "in_progress", "In Progress"
        COMPLETED = "completed", "Completed"
        FAILED = "failed", "Failed"

    class Kind(models.TextChoices):
        NEW = "new", "New"
        RECENT = "recent", "Existing recent"

    class Category(models.TextChoices):
        STRONG = "strong", "Strong fit"
        POSSIBLE = "possible", "Possible fit"
        NONE = "none", "No fit"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    briefing = models.ForeignKey(Briefing, on_delete=models.PROTECT, related_name="checks")
    candidate = models.ForeignKey(Candidate, on_delete=models.PROTECT, related_name="checks")
    profile = models.ForeignKey(Profile, on_delete=models.PROTECT, related_name="+")
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.PENDING)
    failure = models.CharField(max_length=300, blank=True, help_text="The reason of rows from before reasons.")
    failure_reason = models.JSONField(
        null=True, blank=True, editable=False, help_text="Why it failed: a code and what it names."
    )
    mode = models.CharField(max_length=10, choices=Mode.choices)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    price = models.PositiveIntegerField(help_text="Credits, pinned at acceptance.")
    charged = models.PositiveIntegerField(null=True, blank=True, help_text="Credits captured with the result.")
    hold = models.OneToOneField(CreditHold, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    route = models.JSONField(help_text="The pinned route: provider, model, key, rule.")
    is_latest = models.BooleanField(
        default=True,
        editable=False,
        help_text="The one of this person and briefing that counts: the latest that did not fail, else the latest.",
    )
    run_id = models.UUIDField(default=uuid.uuid4, editable=False)
    failed_after_answer = models.BooleanField(
        default=False, editable=False, help_text="A Managed check that failed although its calls were paid for."
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    score = models.PositiveSmallIntegerField(null=True, blank=True, help_text="0 to 100.")
    category = models.CharField(max_length=10, choices=Category.choices, blank=True)
    rubric_version = models.PositiveSmallIntegerField(
        default=1, help_text="By which rules the verdicts were read (candidates.prompts.check); never changed later."
    )
    rank = models.GeneratedField(
        expression=RANK,
        output_field=models.SmallIntegerField(),
        db_persist=True,
        help_text="The place among the results of the briefing, best fit first.",
    )
    accepted_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = TenantQuerySet["CandidateCheck"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "briefing", "candidate"],
                condition=Q(status__in=["pending", "in_progress"]),
                name="one_open_check_a_candidate_and_briefing",
            ),
            models.UniqueConstraint(
                fields=["organization", "briefing", "candidate"],
                condition=Q(is_latest=True),
                name="one_latest_check_a_candidate_and_briefing",
            ),
            models.CheckConstraint(
                condition=Q(charged=None) | Q(charged__lte=F("price")), name="charged_at_most_the_pinned_price"
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-accepted_at", "id"], name="check_by_moment"),
            models.Index(fields=["organization", "briefing", "status", "accepted_at"], name="check_by_briefing"),
            models.Index(fields=["organization", "candidate", "-accepted_at", "id"], name="check_by_candidate"),
            models.Index(fields=["organization", "run_id"], name="check_by_run"),
            models.Index(
                fields=["organization", "briefing", "rank", "-candidate"],
                condition=Q(is_latest=True),
                name="check_results",
            ),
            models.Index(fields=["-accepted_at", "-id"], name="check_of_everybody"),
            models.Index(
                fields=["organization", "-completed_at", "id"],
                condition=Q(status="completed", charged=0),
                name="check_free",
            ),
            models.Index(
                fields=["organization", "lease_until"],
                condition=Q(status__in=["pending", "in_progress"]),
                name="check_open_by_lease",
            ),
            # All that is counted of checks by the day on which they ended is named, so that no check is looked at.
            models.Index(
                fields=["organization", "completed_at", "status", "mode", "category", "charged", "briefing"],
                condition=Q(completed_at__isnull=False),  # else SQLite would read all of it, to look at briefings
                name="check_ended",
            ),
            models.Index(
                fields=["organization", "completed_at"],
                condition=Q(failed_after_answer=True),
                name="check_failed_after_answer",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.candidate} · {self.briefing}"

    @property
    def why_failed(self) -> str:
        """As a sentence; "" if it did not fail."""
        return Failure.from_json(self.failure_reason).sentence if self.failure_reason else self.failure

    @property
    def own_model(self) -> str:
        """The model that serves it where that was its briefing's own; "" where it goes as the action was routed."""
        return str(self.route["model"]) if self.route.get("is_own_model") else ""


class RequirementVerdict(models.Model):
    """
    What counts of what the model said of one requirement, with its quote from the profile as evidence.

    A claim without evidence is unknown; `claimed` keeps it.
    """

    class Verdict(models.TextChoices):
        MET = "met", "Met"
        PARTLY = "partly", "Partly met"
        NOT_MET = "not_met", "Not met"
        UNKNOWN = "unknown", "Unknown"

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    check_row = models.ForeignKey(CandidateCheck, on_delete=models.CASCADE, related_name="verdicts")
    requirement = models.ForeignKey(Requirement, on_delete=models.PROTECT, related_name="+")
    verdict = models.CharField(max_length=8, choices=Verdict.choices)
    claimed = models.CharField(
        max_length=8,
        choices=Verdict.choices,
        blank=True,
        help_text="The model's verdict, if it gave no evidence for it.",
    )
    quote = models.TextField(blank=True)
    reason = models.TextField(blank=True)

    objects = TenantQuerySet["RequirementVerdict"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "check_row", "requirement"], name="one_verdict_a_requirement"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.requirement}: {self.get_verdict_display()}"


class ProfileSighting(models.Model):
    """
    When a person was last checked for credits by an organization of the recency network (candidates/recency.py).

    Holds a keyed digest of link and name, and a time, nothing else: not who checked, what for, or with which result.
    """

    person_digest = models.CharField(max_length=64, unique=True)
    last_checked_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.person_digest[:12]
