from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import SignupForm as AllauthSignupForm
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.http import HttpRequest

from organizations.invitation_views import invited_email
from organizations.models import User


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # published without types
    """
    Sign-up is closed unless the installation opens it (KEYFARE_SIGNUP_OPEN), or the visitor was invited.

    Who came by the link in an invitation's e-mail has shown that they read it: the address is confirmed.
    """

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.KEYFARE_SIGNUP_OPEN) or invited_email(request) is not None

    def is_email_verified(self, request: HttpRequest, email: str) -> bool:
        return invited_email(request) == email.lower() or bool(super().is_email_verified(request, email))


class SignupForm(AllauthSignupForm):  # type: ignore[misc]
    """The invited sign up with the address that the invitation went to, whatever is posted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        email = invited_email(context.request)
        if email is not None:
            self.initial["email"] = email
            self.fields["email"].disabled = True


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Proposes "Passkey 2" as a name: allauth's "Master key" is something else here."""

    def generate_authenticator_name(self, user: User, type: str) -> str:
        count = Authenticator.objects.filter(user=user, type=type).count()
        return f"Passkey {count + 1}" if count else "Passkey"
