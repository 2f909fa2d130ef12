"""
Browsers in which a person has logged in before, told by a signed cookie.

Wrong passwords from elsewhere are counted against an account, and against an address that many may share. So that
neither locks its owner out, attempts from a known browser are counted apart: by the browser for its own account, and
for limits by address by the person whose browser it is. The cookie opens nothing: whoever steals it has the same few
guesses as everybody.
"""

from __future__ import annotations

import secrets

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

from organizations.models import User

COOKIE = "keyfare_browser"
SALT = "keyfare/known-browser"
LASTS_SECONDS = 365 * 24 * 60 * 60
MOST_PEOPLE = 5  # of one browser; the one who logged in longest ago is forgotten first


def remember(request: HttpRequest, response: HttpResponse, user: User) -> None:
    """Let the browser be known as one of `user`, for a year from now."""
    known = _people(request)
    mark = known.pop(user.pk, None) or secrets.token_urlsafe(12)
    newest = [*known.items(), (user.pk, mark)][-MOST_PEOPLE:]
    response.set_cookie(
        COOKIE,
        signing.dumps(newest, salt=SALT),
        max_age=LASTS_SECONDS,
        httponly=True,
        secure=settings.SESSION_COOKIE_SECURE,
        samesite="Lax",
    )


def mark_for(request: HttpRequest, email: str) -> str | None:
    """What attempts to log in as `email` count under, where this browser is one of theirs; else None."""
    known = _people(request)
    user = getattr(request, "user", None)
    if isinstance(user, User):  # who confirms their password in a session from before there was a cookie
        known.setdefault(user.pk, f"session-of-{user.pk}")
    if not known:
        return None
    theirs = User.objects.filter(pk__in=known, email__iexact=email).values_list("pk", flat=True).first()
    if theirs is None:
        also = EmailAddress.objects.filter(user__in=list(known), email__iexact=email)
        theirs = also.values_list("user", flat=True).first()
    return None if theirs is None else known[theirs]


def owner(request: HttpRequest) -> int | None:
    """The id of who logged in last in this browser, if the cookie tells."""
    known = _people(request)
    return list(known)[-1] if known else None


def _people(request: HttpRequest) -> dict[int, str]:
    """Mark by person, the latest last."""
    try:
        pairs = signing.loads(request.COOKIES.get(COOKIE, ""), salt=SALT, max_age=LASTS_SECONDS)
        return {int(pk): str(mark) for pk, mark in pairs}
    except (signing.BadSignature, TypeError, ValueError):
        return {}
