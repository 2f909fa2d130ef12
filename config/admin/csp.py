"""
A weaker content security policy for the staff admin, and for nothing else.

Unfold runs on Alpine, which evaluates expressions (`unsafe-eval`), and sets theme colours in line. With
Alpine on the page an HTML injection is script execution: nothing a tenant wrote may be marked safe there.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse


class AdminContentSecurityPolicy:
    """Stands below CSPMiddleware, which writes the header from what is set here."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.prefix = reverse("admin:index")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.path.startswith(self.prefix) and getattr(request.user, "is_staff", False):
            response._csp_update = {  # type: ignore[attr-defined]  # how django-csp's own decorators say it
                "script-src": settings.ADMIN_SCRIPT_SOURCES,
                "style-src": settings.ADMIN_STYLE_SOURCES,
            }
        return response
