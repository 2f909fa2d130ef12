"""
Which USD whoever looks sees: one place decides, for pages, receipts, answers, headers and exports.

What Managed calls cost is the operator's figure, shown where the installation does (`KEYFARE_SHOW_MANAGED_USD`) and
nowhere else. What an organization's own calls cost is shown to its owners and admins, and to its members where an owner
lets them (organizations/viewer.py says who looks). Staff see all in the admin.
"""

from __future__ import annotations

from django.conf import settings

from organizations import viewer
from usage.columns import Mode

OF_THE_OPERATOR = "paid by the operator"
OF_OWNERS = "shown to owners and admins"


def sees_usd(mode: str, *, show_managed_usd: bool | None = None) -> bool:
    """
    Whether whoever looks sees what calls in `mode` cost, or what that is made of. `show_managed_usd`: as for a page
    that leaves Managed calls out, or shows them, whatever the installation does; None: as the installation does.
    """
    if not viewer.may_see_usd():
        return False
    if mode != Mode.MANAGED:
        return True
    return shows_managed_usd() if show_managed_usd is None else show_managed_usd


def shows_managed_usd() -> bool:
    """Whether the installation shows organizations what Managed calls cost."""
    return bool(settings.KEYFARE_SHOW_MANAGED_USD)


def sees_any_usd() -> bool:
    return sees_usd(Mode.BYOK)


def why_hidden() -> str:
    """In place of USD that are not shown."""
    return OF_THE_OPERATOR if sees_any_usd() else OF_OWNERS
