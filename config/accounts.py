from __future__ import annotations

import logging
from contextlib import suppress
from datetime import timedelta
from typing import Any, NoReturn
from urllib.parse import urlsplit

from allauth.account import app_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import SignupForm as AllauthSignupForm
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal import ratelimit
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.forms import ActivateTOTPForm as AllauthActivateTOTPForm
from allauth.mfa.totp.internal.auth import SECRET_SESSION_KEY
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.debug import sensitive_variables

from config import known_browsers
from organizations import clock, second_factors
from organizations.invitation_views import invited_email
from organizations.models import User
from organizations.outbox.backend import expiring, store
from organizations.permissions import is_recently_authenticated
from organizations.second_factors import FactorUnreadable

logger = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # published without types
    """
    Sign-up is closed unless the installation opens it (KEYFARE_SIGNUP_OPEN), or the visitor was invited.

    Who came by the link in an invitation's e-mail has shown that they read it: the address is confirmed.
    """

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.KEYFARE_SIGNUP_OPEN) or invited_email(request) is not None

    def is_email_verified(self, request: HttpRequest, email: str) -> bool:
        return invited_email(request) == email.lower() or bool(super().is_email_verified(request, email))

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """
        Every link leads to SITE_URL, whatever name the request came by. Where sign-up is closed, nobody is told that an
        address is unknown; the same is done as for a known one, so that the time does not tell it either.
        """
        links = {name: _of_this_site(url) for name, url in context.items() if name.endswith("_url")}
        site = {"site_url": settings.SITE_URL, "current_site": SiteOfSettings()}
        message = self.render_mail(template_prefix, email, {**context, **links, **site, "email": email})
        message.extra_headers |= expiring(clock.now() + _life_of_link(template_prefix))
        if template_prefix == "account/email/unknown_account" and not self._may_sign_up(email):
            store(message, withheld="No account has this address, and sign-up is closed.")
        else:
            message.send()

    def _may_sign_up(self, email: str) -> bool:
        return bool(settings.KEYFARE_SIGNUP_OPEN) or invited_email(context.request) == email.lower()

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Attempts from a browser in which the person logged in before count apart (config/known_browsers.py)."""
        mark = known_browsers.mark_for(request, str(credentials.get("email", "")))
        if mark is None:
            super().pre_authenticate(request, **credentials)
            return
        consumed = ratelimit.consume(request, app="allauth.account", action="login_failed_known", key=mark)
        self._login_failed_rl_usage = consumed  # given back by allauth when the password was right
        if not consumed:
            raise self.validation_error("too_many_login_attempts")

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **kwargs)
        known_browsers.remember(request, response, user)
        return response

    def get_client_ip(self, request: HttpRequest) -> str:
        """What limits by address count by: in a known browser its person, whoever else shares the address."""
        person = known_browsers.owner(request)
        return f"person-{person}" if person is not None else str(super().get_client_ip(request))

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """By the rule for everything else that asks: to have just logged in is proof enough."""
        return not is_recently_authenticated(context.request)


class SiteOfSettings:
    """What allauth's templates call the current site, from SITE_URL instead of the request."""

    name = "Keyfare"

    @property
    def domain(self) -> str:
        return str(urlsplit(settings.SITE_URL).netloc)


def _of_this_site(url: str) -> str:
    path = urlsplit(url)._replace(scheme="", netloc="").geturl()
    return f"{settings.SITE_URL.rstrip('/')}{path}"


def _life_of_link(template_prefix: str) -> timedelta:
    if "password_reset" in template_prefix:
        return timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)
    return timedelta(days=app_settings.EMAIL_CONFIRMATION_EXPIRE_DAYS)


class SignupForm(AllauthSignupForm):  # type: ignore[misc]
    """The invited sign up with the address that the invitation went to, whatever is posted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        email = invited_email(context.request)
        if email is not None:
            self.initial["email"] = email
            self.fields["email"].disabled = True


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Seals seeds at rest. Proposes "Passkey 2" as a name: allauth's "Master key" is something else here."""

    error_messages = {  # as in the class above
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "This code is not right, or was used before. Wait for the next one and enter that.",
    }

    def encrypt(self, text: str) -> str:
        return second_factors.seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        """A seed that does not open ends the request with a page that says what to do."""
        try:
            return second_factors.unseal(encrypted_text)
        except FactorUnreadable:
            refuse_unreadable_factor(context.request)

    def generate_authenticator_name(self, user: User, type: str) -> str:
        count = Authenticator.objects.filter(user=user, type=type).count()
        return f"Passkey {count + 1}" if count else "Passkey"


class ActivateTOTPForm(AllauthActivateTOTPForm):  # type: ignore[misc]
    """Until the first code is right, allauth keeps the new seed in the session, a row of the database: sealed, too."""

    @sensitive_variables()
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        session = context.request.session
        with suppress(FactorUnreadable):  # there is none yet, or none that opens: a new one is made
            session[SECRET_SESSION_KEY] = second_factors.unseal(session.pop(SECRET_SESSION_KEY, ""))
        super().__init__(*args, **kwargs)
        session[SECRET_SESSION_KEY] = second_factors.seal(self.secret)


def refuse_unreadable_factor(request: HttpRequest | None) -> NoReturn:
    logger.error("A second factor does not open, so nobody is let in by it: see `manage.py check_secrets`.")
    if request is None:
        raise FactorUnreadable
    own = Authenticator.objects.filter(user_id=request.user.pk).values_list("type", flat=True)
    raise ImmediateHttpResponse(render(request, "mfa/unreadable.html", {"own_factors": set(own)}, status=403))
