"""
Codes of authenticator apps: each is accepted once, also that of the 30 seconds before, as people type slowly and clocks
differ.

allauth remembers a used code for 30 seconds, in a cache that may forget it; a code is good for three times as long.
Here the 30 seconds whose code was used last are kept beside the seed, and no code up to them is accepted again
(RFC 6238, 5.2).
"""

from __future__ import annotations

import time

from allauth.core import context
from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth
from allauth.mfa.utils import decrypt
from django.conf import settings
from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from organizations.models import User

LAST_STEP = "last_step"  # of Authenticator.data: the newest 30 seconds, counted from 1970, whose code was used


class OneTimeTOTP(auth.TOTP):  # type: ignore[misc]  # published without types
    """What config/apps.py has allauth take for its own."""

    @classmethod
    def activate(cls, user: User, secret: str) -> OneTimeTOTP:
        """The code that turns the app on is used by that."""
        factor = super().activate(user, secret)
        posted = context.request.POST.get("code", "") if context.request else ""
        step = step_of(secret, posted)
        factor._use_up(int(time.time()) // settings.MFA_TOTP_PERIOD if step is None else step)
        return factor  # type: ignore[no-any-return]

    @sensitive_variables()
    def validate_code(self, code: str) -> bool:
        step = step_of(decrypt(self.instance.data["secret"]), code)
        return step is not None and self._use_up(step)

    def _use_up(self, step: int) -> bool:
        """Whether it was still to be used; of two at a time one is."""
        with transaction.atomic():
            row = Authenticator.objects.select_for_update().filter(pk=self.instance.pk).first()
            if row is None or row.data.get(LAST_STEP, -1) >= step:
                return False
            row.data[LAST_STEP] = step
            row.save(update_fields=["data"])
        self.instance.data = row.data
        return True


@sensitive_variables()
def step_of(secret: str, code: str) -> int | None:
    """The 30 seconds, of those that are accepted now, whose code it is."""
    for step in auth.yield_hotp_counters_from_time():
        if compare_user_code(actual=code, expected=auth.format_hotp_value(auth.hotp_value(secret, step))):
            return int(step)
    return None
