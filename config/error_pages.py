"""The pages for a request that cannot be read, whose address leads nowhere, or that was not answered as it should."""

from __future__ import annotations

import sys

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views.defaults import page_not_found, server_error

from config.unavailable import is_unavailable
from config.web.pages import refused
from config.web.refusals import Refusal

TOO_LARGE = (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)
UNAVAILABLE = Refusal(
    503,
    "The database did not answer in time",
    "It is busy or cannot be reached. Wait a moment, look whether what you did was saved, then try again.",
    retry_after_seconds=10,
)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """
    413 for what is too large, else 400; never a word of the exception, which can quote what was sent.

    Needs neither the request nor the database.
    """
    is_too_large = isinstance(exception, TOO_LARGE)
    page = render_to_string("400.html", {"is_too_large": is_too_large})
    return HttpResponse(page, status=413 if is_too_large else 400)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A page for people; for programs what config/api.py answers, and nothing to look at for what no person reads."""
    if request.path.startswith("/api/"):
        return JsonResponse({"error": "There is nothing at this address. See /api/v1/openapi.json."}, status=404)
    if request.path.startswith(settings.STATIC_URL):
        return HttpResponse("There is no such file.", status=404, content_type="text/plain")  # without the database
    return page_not_found(request, exception)


def crashed(request: HttpRequest) -> HttpResponse:
    """
    503 where the database is busy or away, else 500.

    Django asks here wherever the error came from, view or middleware, while it is being handled.
    """
    if is_unavailable(sys.exception()):
        return refused(request, UNAVAILABLE)
    if request.path.startswith("/api/"):
        return JsonResponse({"error": "Something went wrong on our side. It was written to the log."}, status=500)
    return server_error(request)
