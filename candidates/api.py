"""The JSON API of candidate checks: ask for one, read how it went. docs/api.md is its manual."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from datetime import datetime
from typing import Annotated, Any, TypeVar

from django.conf import settings
from django.urls import reverse
from ninja import Field, Header, Router, Schema
from ninja.errors import HttpError
from pydantic import ConfigDict, StrictInt, StrictStr

from billing.ledger import NotEnoughCredits
from candidates.acceptance import BriefingNotReady
from candidates.check_requests import PURPOSE, accept_check, earlier_check
from candidates.failure_cap import TooManyFailures
from candidates.models import Briefing, Candidate, CandidateCheck, RequirementVerdict
from candidates.profiles.files import ProfileRow, RowError, read_profile
from candidates.profiles.importing import find_imported, import_profiles
from candidates.profiles.links import normalize_link
from organizations import clock
from organizations.api_access import ApiHttpRequest, Refusal, TokenAuth
from organizations.models import Organization, User
from organizations.once import KeyReused, Once
from organizations.permissions import Permission
from routing.resolve import RouteUnavailable

Row = TypeVar("Row")
router = Router(tags=["Candidate checks"])

NO_BRIEFING = "There is no such briefing. Its number stands in the address of its page."
NO_CHECK = "There is no such candidate check."
NO_CANDIDATE = "There is no such candidate."
NOT_IMPORTED = "Nobody with this profile link was imported. Import this person, or send `profile`."
NO_PROFILE_LINK = (
    "linkedinProfileLink is not the address of a profile. Give one like https://www.linkedin.com/in/jane-doe."
)
NAME_ONE = "Say whom to check by exactly one of linkedinProfileLink, candidateId and profile."
BAD_KEY = "An Idempotency-Key has 1 to 200 printable ASCII characters without spaces."
KEY_FORM = re.compile(r"[\x21-\x7e]{1,200}")


class CheckWanted(Schema):
    model_config = ConfigDict(extra="forbid")

    briefingId: StrictInt  # noqa: N815  # the names of the public API
    linkedinProfileLink: StrictStr | None = Field(  # noqa: N815
        None, description="The profile link of a person who was imported."
    )
    candidateId: StrictInt | None = None  # noqa: N815
    profile: dict[str, Any] | None = Field(
        None, description="A JSON Resume document. The person is imported, or their profile renewed, before the check."
    )


class CheckAccepted(Schema):
    candidateCheckId: uuid.UUID  # noqa: N815
    resultUrl: str  # noqa: N815


class VerdictFound(Schema):
    requirement: str
    kind: str = Field(description="must or nice")
    weight: int
    verdict: str = Field(description="met, partly, not_met or unknown")
    claimed: str | None = Field(
        description="met or partly, where the model claimed it and no evidence was found: the verdict is unknown then"
    )
    quote: str
    reason: str


class CheckResult(Schema):
    score: int = Field(description="0 to 100")
    category: str = Field(description="strong, possible or none")
    verdicts: list[VerdictFound]


class CheckFound(CheckAccepted):
    status: str = Field(description="Pending, In Progress, Completed or Failed")
    briefingId: int  # noqa: N815
    candidateId: int  # noqa: N815
    mode: str = Field(description="managed or byok")
    provider: str = Field(description="Whose model serves it, pinned when the check was accepted")
    model: str = Field(description="Pinned as well")
    isOwnModel: bool = Field(  # noqa: N815
        description="The briefing has a key and model of its own, which serve it instead of the route of the action"
    )
    kind: str = Field(description="new or recent")
    price: int = Field(description="Credits, pinned when the check was accepted")
    charged: int | None = Field(description="Credits that were spent; null while the check runs")
    acceptedAt: datetime  # noqa: N815
    completedAt: datetime | None  # noqa: N815
    failure: str | None = Field(description="Why it failed, as a sentence")
    result: CheckResult | None = Field(description="null until Completed")


@router.post(
    "/candidate-check",
    auth=TokenAuth(Permission.CHECK_CANDIDATES),
    response={200: CheckAccepted, frozenset({400, 401, 402, 403, 404, 409, 413}): Refusal},
    url_name="candidate-checks",
    summary="Check a candidate against a briefing",
)
def request_check(
    request: ApiHttpRequest,
    wanted: CheckWanted,
    idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
) -> CheckAccepted:
    """Send the same Idempotency-Key when you try again: the check is then started, and charged, once."""
    organization, actor = request.auth.organization, request.auth.created_by
    if [wanted.linkedinProfileLink, wanted.candidateId, wanted.profile].count(None) != 2:
        raise HttpError(400, NAME_ONE)
    profile, link = _profile(wanted), _link(wanted)
    once = _once(idempotency_key, wanted)
    try:
        check = earlier_check(organization=organization, once=once) if once else None
        if check is None:
            briefings = Briefing.objects.for_organization(organization).select_related("organization")
            briefing = _or_404(briefings.filter(pk=wanted.briefingId).first(), NO_BRIEFING)
            check, _ = accept_check(
                organization=organization,
                briefing=briefing,
                candidate=(
                    _imported(organization, profile, actor)
                    if profile
                    else _known(organization, link, wanted.candidateId)
                ),
                actor=actor,
                now=clock.now(),
                once=once,
            )
    except NotEnoughCredits as refusal:
        raise HttpError(402, str(refusal)) from None
    except (BriefingNotReady, KeyReused, RouteUnavailable, TooManyFailures) as refusal:
        raise HttpError(409, str(refusal)) from None
    return CheckAccepted(candidateCheckId=check.pk, resultUrl=_result_url(organization, check))


@router.get(
    "/candidate-check/{check_id}",
    auth=TokenAuth(Permission.VIEW),
    response={200: CheckFound, frozenset({401, 403, 404}): Refusal},
    url_name="candidate-check",
    summary="Status of a check, and its result",
)
def read_check(request: ApiHttpRequest, check_id: str) -> CheckFound:
    """Ask every 3 to 5 seconds until the status is Completed or Failed."""
    organization = request.auth.organization
    try:
        wanted = uuid.UUID(check_id)
    except ValueError:
        raise HttpError(404, NO_CHECK) from None
    check = _or_404(CandidateCheck.objects.for_organization(organization).filter(pk=wanted).first(), NO_CHECK)
    return CheckFound(
        candidateCheckId=check.pk,
        resultUrl=_result_url(organization, check),
        status=check.get_status_display(),
        briefingId=check.briefing_id,
        candidateId=check.candidate_id,
        mode=check.mode,
        provider=check.route["provider"],
        model=check.route["model"],
        isOwnModel=bool(check.own_model),
        kind=check.kind,
        price=check.price,
        charged=check.charged,
        acceptedAt=check.accepted_at,
        completedAt=check.completed_at,
        failure=check.why_failed or None,
        result=_result(organization, check),
    )


def _profile(wanted: CheckWanted) -> ProfileRow | None:
    if wanted.profile is None:
        return None
    row = read_profile(wanted.profile)
    if isinstance(row, RowError):
        raise HttpError(400, f"The profile cannot be read. {row.reason}")
    return row


def _link(wanted: CheckWanted) -> str | None:
    if wanted.linkedinProfileLink is None:
        return None
    link = normalize_link(wanted.linkedinProfileLink)
    if not link:
        raise HttpError(400, NO_PROFILE_LINK)
    return link


def _imported(organization: Organization, profile: ProfileRow, actor: User) -> Candidate:
    report = import_profiles(organization=organization, rows=[profile], actor=actor)
    if report.errors:
        raise HttpError(409, report.errors[0].reason)
    return _or_404(find_imported(organization=organization, row=profile), NO_CANDIDATE)


def _known(organization: Organization, link: str | None, candidate_id: int | None) -> Candidate:
    candidates = Candidate.objects.for_organization(organization)
    if candidate_id is not None:
        return _or_404(candidates.filter(pk=candidate_id).first(), NO_CANDIDATE)
    return _or_404(candidates.filter(link=link).first(), NOT_IMPORTED)


def _once(key: str | None, wanted: CheckWanted) -> Once | None:
    if key is None:
        return None
    if not KEY_FORM.fullmatch(key):
        raise HttpError(400, BAD_KEY)
    body = json.dumps(wanted.model_dump(exclude_none=True), sort_keys=True)
    return Once(PURPOSE, key, hashlib.sha256(body.encode()).hexdigest())


def _result(organization: Organization, check: CandidateCheck) -> CheckResult | None:
    if check.status != CandidateCheck.Status.COMPLETED or check.score is None:
        return None
    verdicts = RequirementVerdict.objects.for_organization(organization).filter(check_row=check)
    return CheckResult(
        score=check.score,
        category=check.category,
        verdicts=[
            VerdictFound(
                requirement=verdict.requirement.text,
                kind=verdict.requirement.kind,
                weight=verdict.requirement.weight,
                verdict=verdict.verdict,
                claimed=verdict.claimed or None,
                quote=verdict.quote,
                reason=verdict.reason,
            )
            for verdict in verdicts.select_related("requirement").order_by("requirement__position", "pk")
        ],
    )


def _result_url(organization: Organization, check: CandidateCheck) -> str:
    site: str = settings.SITE_URL
    return site.rstrip("/") + reverse("candidates:check", args=[organization.slug, check.pk])


def _or_404(row: Row | None, sentence: str) -> Row:
    if row is None:
        raise HttpError(404, sentence)
    return row
