"""
Staff see every organization, so the admin opens only for accounts with a second step at log in.

In the demo (KEYFARE_DEMO, on this computer only) the password is enough.
"""

from __future__ import annotations

from typing import Any

from allauth.account.decorators import secure_admin_login
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

SECOND_FACTORS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]


def protect(site: AdminSite) -> None:
    """Let people into `site` through our login page, and with a second factor only."""
    has_permission, login = site.has_permission, secure_admin_login(site.login)

    def guarded_has_permission(request: HttpRequest) -> bool:
        return has_permission(request) and not _lacks_second_factor(request)

    def guarded_login(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Where every page of the admin sends those whom it refuses."""
        if has_permission(request) and _lacks_second_factor(request):
            messages.warning(
                request,
                "The staff admin needs a second step at log in. Add a passkey or an authenticator app here, "
                "then open the admin again.",
            )
            return redirect("mfa_index")
        response: HttpResponse = login(request, extra_context)
        return response

    site.has_permission = guarded_has_permission  # type: ignore[method-assign]
    site.login = guarded_login  # type: ignore[method-assign]


def _lacks_second_factor(request: HttpRequest) -> bool:
    return not settings.KEYFARE_DEMO and not is_mfa_enabled(request.user, SECOND_FACTORS)
