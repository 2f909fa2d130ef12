"""
The JSON API under /api/v1/, composed from the apps' routers; docs/api.md is its manual.

Every refusal is `{"error": "a sentence"}`, and nothing of what was sent is repeated in it but the names of fields.
There is no page that shows the schema: those that come with the library need scripts the content security policy
refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

import candidates.api
import config.export_api
import gateway.api
from organizations.api_access import in_scope_of_token

NOT_JSON = "The body is not JSON. Send one JSON object, encoded in UTF-8."
NO_OBJECT = "Send a JSON object as the body."
TOO_LARGE = "The body is larger than 10 MB."
WORDS = {"missing": "is missing", "extra_forbidden": "is not a field of this request"}

api = NinjaAPI(
    title="Keyfare",
    version="1",
    description="Every request carries an API token of the organization: `Authorization: Bearer kf_…`.",
    docs_url=None,
    docs_decorator=require_safe,
    urls_namespace="api",
)
api.add_decorator(in_scope_of_token)
api.add_router("", candidates.api.router)
api.add_router("", gateway.api.router)
api.add_router("", config.export_api.router)


@api.exception_handler(HttpError)
def refused(request: HttpRequest, error: HttpError) -> HttpResponse:
    # The library's own sentence about a body that is no JSON quotes it under DEBUG.
    sentence = NOT_JSON if error.message.startswith("Cannot parse request body") else error.message
    response = _error(request, sentence, error.status_code)
    if error.status_code == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


@api.exception_handler(ValidationError)
def misshapen(request: HttpRequest, error: ValidationError) -> HttpResponse:
    return _error(request, " ".join(map(_sentence, error.errors[:5])), 400)


@api.exception_handler(RequestDataTooBig)
def too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return _error(request, TOO_LARGE, 413)


@api.exception_handler(Http404)
@api.exception_handler(Exception)
def crashed(request: HttpRequest, error: Exception) -> HttpResponse:
    """Left to Django, which reports it without any values; the library would show them under DEBUG."""
    raise error


def api_urls() -> tuple[list[URLResolver | URLPattern], str, str]:
    """For `path()`: the library's addresses, of which the wrong method is answered in our shape as well."""
    patterns, app_name, namespace = api.urls
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            pattern.callback = csrf_exempt(_in_our_shape(pattern.callback))  # nothing here reads a cookie
    return patterns, app_name, namespace


def _in_our_shape(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = view(request, *args, **kwargs)
        if response.status_code != 405:
            return response
        shaped = _error(request, f"Use one of these methods: {response['Allow']}.", 405)
        shaped["Allow"] = response["Allow"]
        return shaped

    return wrapped


def _error(request: HttpRequest, sentence: str, status: int) -> HttpResponse:
    return api.create_response(request, {"error": sentence}, status=status)


def _sentence(error: dict[str, Any]) -> str:
    """One entry of pydantic's list: `loc` is where (body, name of the argument, field, …), `type` and `msg` what."""
    field = ".".join(str(part)[:60] for part in error["loc"][2:])
    if not field:
        return NO_OBJECT
    what = WORDS.get(error["type"])
    return f"{field} {what}." if what else f"{field}: {error['msg']}."
