"""
An installation on https that is not told so: who asks reads why, where a redirect to https would lead to itself.

Django believes that a request came by https if uvicorn has the certificate, or if the proxy in front says so and
BEHIND_TLS_PROXY lets it. Everything else would be redirected for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from config.web.pages import refused, with_page_headers
from config.web.refusals import Refusal

logger = logging.getLogger(__name__)
HEADER = "X-Forwarded-Proto"
NGINX = f"in nginx: proxy_set_header {HEADER} $scheme;"


def start_warning() -> str | None:
    """What cannot be right, or needs a certificate of uvicorn's own to be."""
    if settings.HTTPS and not settings.SECURE_PROXY_SSL_HEADER:
        return (
            "SITE_URL begins with https://, but BEHIND_TLS_PROXY is not set: right only if uvicorn has the certificate "
            f"itself. If a proxy in front does TLS, let it send {HEADER} ({NGINX}) and set BEHIND_TLS_PROXY=1."
        )
    if settings.SECURE_PROXY_SSL_HEADER and not settings.HTTPS:
        return (
            "BEHIND_TLS_PROXY is set, but SITE_URL does not begin with https://: links in mails lead to "
            f"{settings.SITE_URL}, and cookies are sent without TLS, too. Set SITE_URL to the address that people type."
        )
    return None


def why_not_https(request: HttpRequest) -> str | None:
    """A sentence if sending a plain request to https would bring it back as it is."""
    said = request.headers.get(HEADER)
    if not settings.SECURE_PROXY_SSL_HEADER:
        if said is None:
            return (
                "This request came without https, and nothing said otherwise. If a proxy in front does TLS, let it "
                f"send {HEADER} ({NGINX}) and set BEHIND_TLS_PROXY=1."
            )
        return f"The proxy in front sends {HEADER}, which is believed only with BEHIND_TLS_PROXY=1. Set it and restart."
    if said is None:
        return (
            f"BEHIND_TLS_PROXY is set, but this request came without {HEADER}: past the proxy, or the proxy does not "
            f"send it ({NGINX})."
        )
    if "Sec-Fetch-Mode" in request.headers:  # which browsers send on https alone
        return (
            f"The proxy in front says that this request came without https, but the browser sent it with https. Where "
            f"one proxy stands behind another, {HEADER} has to be passed on as the outermost one sends it."
        )
    return None


class NoRedirectToItself:
    """Before Django's SecurityMiddleware, which redirects. Static files are served anyway, for the page's style."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        is_for_https = settings.SECURE_SSL_REDIRECT and not request.path.startswith(settings.STATIC_URL)
        cause = why_not_https(request) if is_for_https and not request.is_secure() else None
        if cause is None:
            return self.get_response(request)
        _log_once(cause)
        sentence = f"Keyfare is served with https only, at {settings.SITE_URL}. For whoever runs it: {cause}"
        refusal = Refusal(400, "This page needs https", sentence, address=settings.SITE_URL)
        return with_page_headers(request, refused(request, refusal))


@cache
def _log_once(cause: str) -> None:
    logger.error("Pages are refused: %s", cause)
