"""
The door of the JSON API: who asks, in which organization, and whether they may.

An operation names its permission by `auth=TokenAuth(…)`; `in_scope_of_token` then runs it among the rows of the
token's organization only. There is no other way in: sessions and cookies count for nothing here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest
from ninja import Field, Schema
from ninja.errors import AuthenticationError, AuthorizationError
from ninja.security.base import AuthBase

from organizations.api_tokens import TokenRefused, use_token
from organizations.models import ApiToken, Membership
from organizations.permissions import Permission
from organizations.tenancy import scope
from organizations.viewer import viewing

NO_TOKEN = "Send an API token as `Authorization: Bearer kf_...` or as `x-api-key: kf_...`."  # noqa: S105  # a sentence


class Refusal(Schema):
    """How every refusal looks."""

    error: str = Field(description="A sentence that says what to do")


class ApiHttpRequest(HttpRequest):
    """What an operation behind `TokenAuth` may rely on."""

    auth: ApiToken


class TokenAuth(AuthBase):
    openapi_type = "http"
    openapi_scheme = "bearer"

    def __init__(self, permission: Permission) -> None:
        self.permission = permission
        super().__init__()

    def __call__(self, request: HttpRequest) -> ApiToken:
        value = bearer_token(request)
        if value is None:
            raise AuthenticationError(message=NO_TOKEN)
        try:
            return use_token(value=value, permission=self.permission)
        except TokenRefused as refusal:
            raise AuthorizationError(message=str(refusal)) from None


def bearer_token(request: HttpRequest) -> str | None:
    """The token of a request, from `Authorization: Bearer` or else `x-api-key`; None if there is none to read."""
    authorization = request.headers.get("Authorization")
    if authorization is None:
        scheme, value = "bearer", request.headers.get("x-api-key", "").strip()
    else:
        scheme, _, value = authorization.strip().partition(" ")
        value = value.strip()
    return value if scheme.lower() == "bearer" and value and " " not in value else None


def in_scope_of_token(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Run an operation among the rows of the organization of its token."""

    @wraps(operation)
    def wrapped(request: ApiHttpRequest, *args: Any, **kwargs: Any) -> Any:
        organization, maker = request.auth.organization, request.auth.maker
        sees_usd = organization.members_see_usd or (maker is not None and maker.role != Membership.Role.MEMBER)
        with scope(organization, "the organization of the API token"), viewing(sees_usd=sees_usd):
            return operation(request, *args, **kwargs)

    return wrapped
