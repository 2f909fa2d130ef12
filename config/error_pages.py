"""The page for a request that cannot be read; needs neither the request nor the database."""

from __future__ import annotations

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

TOO_LARGE = (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """413 for what is too large, else 400; never a word of the exception, which can quote what was sent."""
    is_too_large = isinstance(exception, TOO_LARGE)
    page = render_to_string("400.html", {"is_too_large": is_too_large})
    return HttpResponse(page, status=413 if is_too_large else 400)
