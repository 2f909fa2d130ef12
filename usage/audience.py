"""
Which USD an organization sees. What Managed calls cost is the operator's figure: pages, receipts, answers and headers
show it where the installation does (`KEYFARE_SHOW_MANAGED_USD`), and nowhere else. Staff see all in the admin.
"""

from __future__ import annotations

from django.conf import settings

from usage.models import Mode


def sees_usd(mode: str, *, show_managed_usd: bool | None = None) -> bool:
    """
    Whether an organization sees what calls in `mode` cost, or what that is made of. `show_managed_usd`: as for a page
    that leaves Managed calls out, or shows them, whatever the installation does; None: as the installation does.
    """
    if mode != Mode.MANAGED:
        return True
    return bool(settings.KEYFARE_SHOW_MANAGED_USD if show_managed_usd is None else show_managed_usd)
