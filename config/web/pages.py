"""Refusals as pages, for people, and as JSON for programs; with the headers that every page of ours has."""

from __future__ import annotations

import json
from functools import lru_cache
from io import BytesIO

from csp.middleware import CSPMiddleware
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django.template.loader import render_to_string

from config.headers import PageHeaders
from config.web.refusals import Refusal, Scope


def render(scope: Scope, refusal: Refusal) -> tuple[list[tuple[bytes, bytes]], bytes]:
    request = ASGIRequest({**scope, "query_string": b""}, BytesIO())
    answer = with_page_headers(request, refused(request, refusal))
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.items()]
    return headers, answer.content


def with_page_headers(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """For an answer that is given before the middlewares that add them."""
    with_headers = PageHeaders(CSPMiddleware(XFrameOptionsMiddleware(lambda _: response)))(request)
    answer: HttpResponse = SecurityMiddleware(lambda _: with_headers).process_response(request, with_headers)
    return answer


def refused(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """Needs neither the session nor the database."""
    if request.path.startswith("/api/"):
        content, content_type = json.dumps({"error": refusal.sentence}), "application/json"
    elif "HX-Request" in request.headers:
        content, content_type = refusal.sentence, "text/plain; charset=utf-8"  # static/keyfare/app.js shows it
    else:
        content, content_type = _page(refusal), "text/html; charset=utf-8"
    response = HttpResponse(content, status=refusal.status, content_type=content_type)
    if refusal.retry_after_seconds is not None:
        response["Retry-After"] = str(refusal.retry_after_seconds)
    return response


@lru_cache(maxsize=32)
def _page(refusal: Refusal) -> str:
    return render_to_string("refused.html", {"refusal": refusal})
