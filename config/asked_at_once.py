"""
What people post to the pages of accounts: one after another, and whole or not at all.

A double click on "Sign up", "Remove" or "Change password" posts twice at once; allauth looks first and writes later. So
each of these requests is one transaction, and those of one person take turns: a later one finds what the earlier
one did. Where the database refuses what allauth did not look for, the view is asked once more, as if it had come a
moment later; if that fails, too, a page says so, and nothing of either attempt is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import wraps

from allauth.core.exceptions import ImmediateHttpResponse
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver

from config.web.pages import refused
from config.web.refusals import Refusal
from organizations.models import User

logger = logging.getLogger(__name__)
View = Callable[..., HttpResponse]

# They write nothing but the session, and check passwords meanwhile: no transaction should be open so long.
LOG_IN_AND_OUT = {
    "account_login",
    "account_logout",
    "account_reauthenticate",
    "mfa_authenticate",
    "mfa_login_webauthn",
    "mfa_reauthenticate",
    "mfa_reauthenticate_webauthn",
}


def take_turns(patterns: Iterable[URLPattern | URLResolver]) -> None:
    """Have the views of `patterns` asked one after another."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            take_turns(pattern.url_patterns)
        elif pattern.name not in LOG_IN_AND_OUT:
            pattern.callback = _in_turn(pattern.callback)


def _in_turn(view: View) -> View:
    @wraps(view)
    def asked(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        def attempt() -> HttpResponse:
            with transaction.atomic():
                if request.user.is_authenticated:
                    User.objects.select_for_update(no_key=True).filter(pk=request.user.pk).first()
                try:
                    return view(request, *args, **kwargs)
                except ImmediateHttpResponse as answer:  # what was written before it, stays
                    response: HttpResponse = answer.response
                    return response

        if request.method != "POST":
            return view(request, *args, **kwargs)
        try:
            return attempt()
        except IntegrityError:
            try:
                return attempt()
            except IntegrityError as error:
                logger.warning("%s was refused by the database: %s", request.path, type(error).__name__)
                return refused(request, Refusal(409, "This cannot be saved", _sentence(request)))

    return asked


def _sentence(request: HttpRequest) -> str:
    others = User.objects.exclude(pk=request.user.pk or 0)
    email = request.POST.get("email", "")
    if email and others.filter(email__iexact=email).exists():
        return (
            f"Another account was opened with {email}, so it cannot be your primary address. Nothing was changed. "
            "Ask whoever runs this installation to free it."
        )
    return "Another account has this already, or it was changed at the same moment. Nothing was changed."
