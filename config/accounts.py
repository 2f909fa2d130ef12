from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # published without types
    """Sign-up is closed unless the installation opens it (KEYFARE_SIGNUP_OPEN)."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.KEYFARE_SIGNUP_OPEN)
