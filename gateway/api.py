"""The JSON API of model calls: the receipt of one. docs/api.md is its manual."""

from __future__ import annotations

import uuid
from typing import Any

from ninja import Field, Router, Schema
from ninja.errors import HttpError

from gateway.receipts import as_json, read_receipt
from organizations.api_access import ApiHttpRequest, Refusal, TokenAuth
from organizations.permissions import Permission

router = Router(tags=["Model calls"])

NO_CALL = "There is no such call."
TO_THE_NANO = "To the nano-dollar; null where nobody knows, or where the operator paid and keeps it"


class KeyUsed(Schema):
    label: str = Field(description="As the key was called when the call left")
    last4: str | None = Field(description="Of the secret it had then; null where that is not known any more")
    isThere: bool  # noqa: N815  # the names of the public API
    wasReplaced: bool = Field(description="The key has another secret since")  # noqa: N815


class MemberFound(Schema):
    name: str
    email: str


class AttemptFound(Schema):
    callId: uuid.UUID  # noqa: N815
    attempt: int
    at: str = Field(description="When it left, UTC")
    provider: str
    model: str = Field(description="As requested")
    servedModel: str | None = Field(description="As the provider reported it")  # noqa: N815
    payer: str = Field(description="byok or managed")
    status: str = Field(description="in_flight, answered, failed, lost, cut_off, cancelled or broke")
    reason: str | None = Field(description="Why it did not end well, as sentences")
    errorKind: str | None  # noqa: N815
    httpStatus: int | None  # noqa: N815
    isStream: bool  # noqa: N815
    finishReason: str | None = Field(description="In the provider's word")  # noqa: N815
    requestId: str | None = Field(description="The provider's own id of the call")  # noqa: N815
    serviceTier: str | None  # noqa: N815
    firstByteMs: int | None = Field(description="Until the answer began")  # noqa: N815
    endMs: int | None = Field(description="Until it ended")  # noqa: N815
    tokensKnown: str = Field(  # noqa: N815
        description="reported by the provider; estimated by us; part; not_reported; not_known; none: nothing was used"
    )
    tokens: dict[str, int | None] | None = Field(
        description="By class, disjoint: input, cache_read, cache_write, cache_write_1h, output, reasoning"
    )
    usdPerMillion: dict[str, str] | None = Field(  # noqa: N815
        description="Unit prices by class, where the price list priced the call and still does"
    )
    costNanousd: int | None = Field(description=TO_THE_NANO)  # noqa: N815
    costUsd: str | None = Field(description=TO_THE_NANO)  # noqa: N815
    priceSource: str | None = Field(  # noqa: N815
        description="provider: reported as a whole; catalog: the price list; own_server: no token charges; none"
    )
    priceVersion: str | None = Field(description="Of the price list")  # noqa: N815
    whyNoCost: str | None = Field(description="As a sentence")  # noqa: N815


class CorrectionFound(Schema):
    callId: uuid.UUID  # noqa: N815
    revision: int
    costNanousd: int | None = Field(description="What was added to the cost, or taken from it")  # noqa: N815
    costUsd: str | None  # noqa: N815


class CallFound(Schema):
    callId: uuid.UUID = Field(description="That of the first attempt")  # noqa: N815
    organization: str
    action: str = Field(description="The slug of an action or agent")
    actionName: str  # noqa: N815
    runId: uuid.UUID  # noqa: N815
    iteration: int
    at: str = Field(description="When it left, UTC")
    status: str = Field(description="Of the last attempt")
    payer: str = Field(description="byok or managed")
    key: KeyUsed | None = Field(description="null: one of the operator's")
    ruleVersion: int | None = Field(description="Of the routing rule that it went by")  # noqa: N815
    isOwnModel: bool = Field(  # noqa: N815
        description="The briefing's own key and model served it, so it went by no rule"
    )
    token: str | None = Field(description="The name of the API token that it came by")
    member: MemberFound | None = Field(description="Whom that token stood for, while they are a member")
    labels: dict[str, str]
    attempts: list[AttemptFound]
    corrections: list[CorrectionFound]
    costNanousd: int | None = Field(description=f"Of all attempts and corrections. {TO_THE_NANO}")  # noqa: N815
    costUsd: str | None = Field(description=f"The same in USD. {TO_THE_NANO}")  # noqa: N815
    costIsComplete: bool = Field(description="Nothing of the cost is missing in it")  # noqa: N815


@router.get(
    "/calls/{call_id}",
    auth=TokenAuth(Permission.VIEW),
    response={200: CallFound, frozenset({401, 403, 404}): Refusal},
    url_name="call",
    summary="The receipt of a model call",
)
def read_call(request: ApiHttpRequest, call_id: str) -> dict[str, Any]:
    """Every call, those of candidate checks and drafts included; the id of any attempt leads to the same receipt."""
    try:
        wanted = uuid.UUID(call_id)
    except ValueError:
        raise HttpError(404, NO_CALL) from None
    receipt = read_receipt(organization=request.auth.organization, call_id=wanted)
    if receipt is None:
        raise HttpError(404, NO_CALL)
    return as_json(receipt)
