"""The pages for a request that cannot be read, whose address leads nowhere, or that was not answered as it should."""

from __future__ import annotations

import logging
import re
import sys
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost, RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views.csrf import csrf_failure
from django.views.defaults import page_not_found, server_error

from config.unavailable import is_unavailable
from config.web.pages import refused
from config.web.refusals import Refusal

logger = logging.getLogger(__name__)
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
    context = {"is_too_large": is_too_large, "is_unknown_host": isinstance(exception, DisallowedHost)}
    page = render_to_string("400.html", context)
    return HttpResponse(page, status=413 if is_too_large else 400)


def form_refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without its token, or from an address that is not one of this site: that is mostly a wrong setting."""
    said = request.headers.get("Origin", request.headers.get("Referer", ""))
    if not reason.startswith(("Origin checking failed", "Referer checking failed")):
        return csrf_failure(request, reason)
    came_from = _origin(said)
    logger.warning(
        "A form came from %s, the trusted origins are %s. If people use that address, set SITE_URL to it, or add it to "
        "CSRF_TRUSTED_ORIGINS; behind a proxy look at BEHIND_TLS_PROXY and at the Host and X-Forwarded-Proto it sends.",
        came_from or "an unknown address",
        ", ".join(settings.CSRF_TRUSTED_ORIGINS),
    )
    where = f"from {came_from}" if came_from else "without saying from where (a setting of your browser may hide it)"
    sentence = (
        f"Nothing was changed: the form was sent {where}, but this Keyfare is at {settings.SITE_URL}. Open it there "
        "and send the form again. If you did use its right address, whoever runs Keyfare has to set SITE_URL to it."
    )
    refusal = Refusal(403, "This form came from another address", sentence, address=settings.SITE_URL)
    return refused(request, refusal)


def _origin(said: str) -> str:
    """Scheme, host and port of what a browser said, if it is an address at all."""
    try:
        parts = urlsplit(said)
    except ValueError:
        return ""
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return address if re.fullmatch(r"https?://[\w.:\[\]-]{1,255}", address, re.ASCII) else ""


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
