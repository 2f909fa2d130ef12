"""
Two requests that make the same at the same moment, on the pages of accounts.

A double click on "Sign up" or on "Activate" posts twice at once. allauth looks first and writes later, so the second
one fails at a constraint of the database. It is answered as if it had come a moment later: by the view, once more,
whose form then finds what is there.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse


class AskedAtOnce:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Nothing of the first attempt is kept: each of allauth's writes stands for itself or is undone."""
        match = request.resolver_match
        if not isinstance(exception, IntegrityError) or match is None or not match.route.startswith("accounts/"):
            return None
        answer: HttpResponse = match.func(request, *match.args, **match.kwargs)
        return answer
