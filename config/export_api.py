"""The JSON API's files: what an organization used. docs/exports.md is their manual."""

from __future__ import annotations

from django.http.response import HttpResponseBase
from ninja import Field, Query, Router, Schema
from ninja.errors import HttpError

from config.downloads import csv_answer
from config.exports import FORMATS, Withheld, export, file_name
from organizations import clock
from organizations.api_access import ApiHttpRequest, Refusal, TokenAuth
from organizations.permissions import Permission
from usage.exports.periods import BadPeriod, read_period
from usage.exports.sealing import SealBroken

router = Router(tags=["Exports"])


class Asked(Schema):
    month: str = Field("", description="YYYY-MM, UTC; a sealed one as it was sealed")
    first: str = Field("", alias="from", description="Or the days on which calls left, YYYY-MM-DD, UTC: the first,")
    last: str = Field("", alias="to", description="and the last")


@router.get(
    "/exports/{format}",
    auth=TokenAuth(Permission.VIEW),
    response={frozenset({400, 401, 403, 404, 409}): Refusal},
    url_name="export",
    summary="A month or some days as a CSV file",
)
def read_export(
    request: ApiHttpRequest,
    format: str,
    of: Query[Asked],
) -> HttpResponseBase:
    """`csv`: a line for each model call; `focus`: FOCUS 1.4 in USD; `credits`: FOCUS 1.4 in credits."""
    if format not in FORMATS:
        raise HttpError(404, f"There is no such export. There are {', '.join(FORMATS)}.")
    organization = request.auth.organization
    try:
        period = read_period(month=of.month, first=of.first, last=of.last, today=clock.now().date())
        return csv_answer(request, export(organization, format, period), file_name(organization, format, period))
    except BadPeriod as bad:
        raise HttpError(400, str(bad)) from None
    except Withheld as withheld:
        raise HttpError(403, str(withheld)) from None
    except SealBroken as broken:
        raise HttpError(409, str(broken)) from None
