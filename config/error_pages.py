"""The pages for a request that cannot be read, or whose address leads nowhere."""

from __future__ import annotations

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views.defaults import page_not_found

TOO_LARGE = (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """
    413 for what is too large, else 400; never a word of the exception, which can quote what was sent.

    Needs neither the request nor the database.
    """
    is_too_large = isinstance(exception, TOO_LARGE)
    page = render_to_string("400.html", {"is_too_large": is_too_large})
    return HttpResponse(page, status=413 if is_too_large else 400)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A page for people; for programs what config/api.py answers."""
    if request.path.startswith("/api/"):
        return JsonResponse({"error": "There is nothing at this address. See /api/v1/openapi.json."}, status=404)
    return page_not_found(request, exception)
