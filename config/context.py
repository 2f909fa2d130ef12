"""What base.html needs on every page. Nothing is read from the database until a template asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from billing import ledger
from config.worker import alarm
from organizations.models import Membership, Organization
from organizations.permissions import CURRENT_ORGANIZATION, Permission, may, memberships_of
from organizations.tenancy import scope
from usage.tabs import metrics_urls


@dataclass(frozen=True, slots=True)
class NavItem:
    label: str
    icon: str
    url: str
    current: bool


# Label, icon, URL name, and which URLs count as inside it ("namespace:" or a whole name).
SECTIONS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("Overview", "layout-dashboard", "overview", ("overview",)),
    ("Candidates", "users", "candidates:list", ("candidates:list", "candidates:import", "candidates:detail")),
    ("Briefings", "clipboard-list", "candidates:briefings", ("candidates:",)),
    (
        "Checks",
        "clipboard-check",
        "candidates:checks",
        ("candidates:checks", "candidates:check", "candidates:check-again"),
    ),
    (
        "Agents",
        "bot",
        "routing:agents",
        (
            "routing:agents",
            "routing:new-agent",
            "routing:agent",
            "routing:edit-agent",
            "routing:route-agent",
            "routing:archive-agent",
            "routing:bring-back-agent",
        ),
    ),
    ("Models", "cpu", "routing:models", ("routing:models", "routing:provider-models")),
    ("Metrics", "chart-column", "consumption", metrics_urls()),
    ("Credits", "coins", "credits", ("credits",)),
    (
        "Members",
        "users-round",
        "organizations:members",
        (
            "organizations:",
            "routing:api-tokens",
            "routing:make-api-token",
            "routing:edit-api-token",
            "routing:revoke-api-token",
        ),
    ),
    (
        "Settings",
        "settings",
        "settings",
        ("settings", "providers:", "routing:", "organizations:recency-window", "organizations:recency-sharing"),
    ),
)


class Page:
    """The organization a page is about, and the person looking at it."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    @cached_property
    def memberships(self) -> list[Membership]:
        """Those of the person in open organizations, by name."""
        read: list[Membership] | None = getattr(self.request, "memberships", None)
        if read is not None:
            return read
        user = getattr(self.request, "user", None)
        return memberships_of(user) if user is not None and user.is_authenticated else []

    @cached_property
    def membership(self) -> Membership | None:
        """Of the page's organization; elsewhere, of the one last visited, else of the first."""
        of_page: Membership | None = getattr(self.request, "membership", None)
        if of_page is not None:
            return of_page
        last = self.request.session.get(CURRENT_ORGANIZATION) if self.memberships else None
        for membership in self.memberships:
            if membership.organization.slug == last:
                return membership
        return self.memberships[0] if self.memberships else None

    @property
    def organization(self) -> Organization | None:
        return self.membership.organization if self.membership else None

    @cached_property
    def can(self) -> dict[str, bool]:
        """`can.manage_keys` and so on: one flag for every permission."""
        return {each.value: bool(self.membership and may(self.membership, each)) for each in Permission}

    @cached_property
    def credit_balance(self) -> ledger.Balance | None:
        if self.organization is None:
            return None
        with scope(self.organization, "the organization that the page is about"):
            return ledger.balance(organization=self.organization)

    @cached_property
    def nav_items(self) -> list[NavItem]:
        if self.organization is None:
            return []
        match = self.request.resolver_match
        here = match.view_name if match else ""
        current = _section_of(here)
        return [
            NavItem(
                label=label,
                icon=icon,
                url=reverse(url_name, args=[self.organization.slug]),
                current=label == current,
            )
            for label, icon, url_name, _ in SECTIONS
        ]


def _section_of(view_name: str) -> str:
    """The label of the section that holds a URL; an exact name wins over a namespace."""
    namespace = view_name.partition(":")[0] + ":"
    for wanted in (view_name, namespace):
        for label, _, _, inside in SECTIONS:
            if wanted in inside:
                return label
    return ""


def page(request: HttpRequest) -> dict[str, object]:
    """
    Context processor: `banner`, `signup_is_open`, `sends_no_mail`, and lazily `stop_of_work` and the public attributes
    of Page.

    Those are functions, which templates call: at most one query a page, none for what does not ask.
    """
    this = Page(request)

    def lazy(name: str) -> Callable[[], object]:
        return lambda: getattr(this, name)

    names = ("organization", "membership", "memberships", "can", "credit_balance", "nav_items")
    return {
        "banner": settings.KEYFARE_BANNER,
        "stop_of_work": alarm.stop_of_work,
        "signup_is_open": settings.KEYFARE_SIGNUP_OPEN,
        "sends_no_mail": not settings.MAIL_TRANSPORT,
        **{name: lazy(name) for name in names},
    }
