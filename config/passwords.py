"""
New passwords, chosen by a double click once.

Both clicks are let in by the old password, or by the link. The later one waits (config/asked_at_once.py) and then finds
the new password set: it is answered like the first, without another change or another mail.
"""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.forms import ChangePasswordForm as AllauthChangePasswordForm
from allauth.account.forms import SetPasswordForm as AllauthSetPasswordForm
from allauth.account.forms import UserTokenForm as AllauthUserTokenForm
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.debug import sensitive_variables

from organizations.models import User


class ChosenOnce:
    user: User
    is_bound: bool

    def full_clean(self) -> None:
        if self.is_bound and _chosen_meanwhile(self.user):
            update_session_auth_hash(context.request, self.user)
            _answer(redirect(get_adapter().get_password_change_redirect_url(context.request)))
        super().full_clean()  # type: ignore[misc]  # of the form beside


class ChangePasswordForm(ChosenOnce, AllauthChangePasswordForm):  # type: ignore[misc]  # published without types
    pass


class SetPasswordForm(ChosenOnce, AllauthSetPasswordForm):  # type: ignore[misc]
    pass


class UserTokenForm(AllauthUserTokenForm):  # type: ignore[misc]
    """The link to choose a new password."""

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean()
        if context.request.method == "POST":
            before = self.reset_user.password
            User.objects.select_for_update(no_key=True).get(pk=self.reset_user.pk)
            if _chosen_meanwhile(self.reset_user):
                _answer(redirect("account_reset_password_from_key_done"))
            if self.reset_user.password != before:
                raise get_adapter().validation_error("invalid_password_reset")
        return cleaned


@sensitive_variables()
def _chosen_meanwhile(person: User) -> bool:
    """Whether the password that is posted became theirs after `person`, now as stored, was read."""
    before = person.password
    person.refresh_from_db(fields=["password"])
    return person.password != before and person.check_password(context.request.POST.get("password1", ""))


def _answer(response: HttpResponse) -> None:
    get_adapter().add_message(context.request, messages.SUCCESS, "account/messages/password_changed.txt")
    raise ImmediateHttpResponse(response)
