"""The staff admin as a whole: its sidebar, its dashboard, and the models of installed apps in its look."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

from allauth.account.admin import EmailAddressAdmin as AllauthEmailAddressAdmin
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Count, Model, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.templatetags.static import static
from django.urls import reverse, reverse_lazy
from django_htmx.http import HttpResponseClientRedirect
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminEmailInputWidget

from candidates.models import CandidateCheck
from config import admin_confirmation, admin_mfa, admin_tasks, onboarding
from config.admin_mail import mail_figure
from config.worker import figures as work
from organizations import audit, clock, people
from organizations.admin import OrganizationAdmin
from organizations.forms import OrganizationAdminForm
from organizations.models import AuditEvent, Organization, User
from organizations.second_factors import remove_second_factor
from organizations.shown_lookups import ShownLookups
from providers.models import ProviderKey
from usage import amounts, gaps
from usage.days import midnight_before
from usage.models import Mode, UsageEvent

LATEST_EVENTS = 12

__all__ = ["admin_tasks"]  # registers its models

admin_mfa.protect(admin.site)
admin_confirmation.protect(admin.site)


def own_password_page(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
    """Staff change their password where everybody does, and hear of it by mail."""
    return redirect("account_change_password")


admin.site.password_change = own_password_page  # type: ignore[method-assign]


class OpenOrganizationForm(OrganizationAdminForm):
    owner_email = forms.EmailField(
        label="Owner",
        widget=UnfoldAdminEmailInputWidget,
        help_text="E-mail of a person who has an account.",
    )

    class Meta(OrganizationAdminForm.Meta):
        fields: tuple[str, ...] = ("name", "slug")

    actor: User  # set by the admin

    def clean_owner_email(self) -> str:
        email = str(self.cleaned_data["owner_email"]).lower()
        owner = User.objects.filter(email=email, is_active=True).first()
        if owner is None:
            raise forms.ValidationError("Nobody with that e-mail has an account. Add the user first.")
        if not onboarding.may_open_for(self.actor, owner):
            raise forms.ValidationError("Nobody of the staff makes themselves an owner. Name who is going to own it.")
        return email


@admin.register(Organization)
class InstallationOrganizationAdmin(OrganizationAdmin):
    """Opens an organization with its owner, credit account and trial credits, and closes it for good."""

    actions_detail = ("close",)

    def has_close_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        open_one = Organization.objects.customers().filter(pk=cast(str, object_id), closed_at=None)
        return request.user.has_perm("organizations.change_organization") and open_one.exists()

    @action(  # type: ignore[untyped-decorator]
        description="Close organization",
        url_path="close",
        permissions=["close"],
        icon="block",
        dialog={
            "title": "Close this organization for good?",
            "description": (
                "Its members can no longer open it, its provider keys become unreadable at once, and nobody can bring "
                "them back. Ledger, usage and audit log stay."
            ),
            "form_class": BaseDialogForm,
            "form_submit_text": "Close organization",
        },
    )
    def close(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        organization = get_object_or_404(Organization.objects.customers(), pk=object_id)
        actor = request.user if isinstance(request.user, User) else None
        onboarding.close_organization(organization=organization, actor=actor, now=clock.now())
        messages.success(request, f"{organization.name} is closed.")
        return HttpResponseClientRedirect(reverse("admin:organizations_organization_change", args=[object_id]))

    def get_form(self, request: HttpRequest, obj: Model | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = OpenOrganizationForm
        form = super().get_form(request, obj, change, **kwargs)  # a class made for this request
        form.actor = request.user
        return form

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return self.fields if obj else ("name", "slug", "owner_email")

    def get_inlines(self, request: HttpRequest, obj: Model | None = None) -> tuple[type, ...]:
        return self.inlines if obj else ()

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        opened = onboarding.open_organization(
            name=obj.name,
            slug=obj.slug,
            owner=User.objects.get(email=form.cleaned_data["owner_email"]),
            actor=request.user if isinstance(request.user, User) else None,
        )
        obj.pk = opened.pk
        obj.refresh_from_db()


for installed in (EmailAddress, Authenticator):
    admin.site.unregister(installed)


@admin.register(EmailAddress)
class EmailAddressAdmin(ShownLookups, AllauthEmailAddressAdmin, ModelAdmin):  # type: ignore[misc]
    """Looked at: people add addresses themselves, and staff ask for another one on the page of the user."""

    list_select_related = ("user",)
    actions = ("confirm",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_confirm_permission(self, request: HttpRequest) -> bool:
        """A confirmed address takes over what was offered to it, so only who may everything says so by hand."""
        return bool(request.user.is_active and request.user.is_superuser)

    @action(description="Mark selected addresses as confirmed", permissions=["confirm"])  # type: ignore[untyped-decorator]
    def confirm(self, request: HttpRequest, addresses: QuerySet[EmailAddress]) -> None:
        confirmed = 0
        with transaction.atomic(), audit.events_last():
            for address in addresses.filter(verified=False).select_related("user"):
                if address.set_verified():
                    confirmed += 1
                    actor = cast(User, request.user)
                    people.record_about(
                        address.user, actor=actor, action="account.email_confirmed", email=address.email
                    )
        messages.success(request, f"{confirmed} marked as confirmed.")


@admin.register(Authenticator)
class AuthenticatorAdmin(ShownLookups, ModelAdmin):  # type: ignore[misc]
    """Staff remove the second step of people who lost theirs; the secrets in `data` are never shown."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("user__email",)
    exclude = ("data",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Authenticator | None = None) -> bool:
        """Django asks this of each of several that are deleted at once, too."""
        if obj is not None and not people.may_manage(cast(User, request.user), obj.user):
            return False
        return bool(super().has_delete_permission(request, obj))

    def delete_model(self, request: HttpRequest, obj: Authenticator) -> None:
        remove_second_factor(factor=obj, actor=cast(User, request.user))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Authenticator]) -> None:
        with transaction.atomic(), audit.events_last():
            for factor in queryset.select_related("user"):
                self.delete_model(request, factor)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: models by what staff come to do. Models that are not registered (yet) are left out."""
    registered = {model._meta.label_lower for model in admin.site._registry}
    groups: list[dict[str, Any]] = []
    for title, items in SIDEBAR:
        links = [
            {
                "title": label,
                "icon": icon,
                "link": reverse_lazy(f"admin:{model.replace('.', '_')}_changelist"),
                "permission": _may_view(model),
            }
            for label, icon, model in items
            if model in registered
        ]
        groups.append({"title": title, "separator": True, "items": links})
    dashboard_link = {"title": "Dashboard", "icon": "dashboard", "link": reverse_lazy("admin:index")}
    return [{"items": [dashboard_link]}, *groups]


def _may_view(model: str) -> Any:
    app, _, name = model.partition(".")
    return lambda request: request.user.has_perm(f"{app}.view_{name}")


# Label, icon (Material Symbols, bundled by Unfold), model.
SIDEBAR: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "Customers",
        (
            ("Organizations", "apartment", "organizations.organization"),
            ("Members", "badge", "organizations.membership"),
            ("Invitations", "forward_to_inbox", "organizations.invitation"),
            ("API tokens", "vpn_key", "organizations.apitoken"),
            ("Users", "person", "organizations.user"),
            ("E-mail addresses", "mail", "account.emailaddress"),
            ("Changes of e-mail", "alternate_email", "organizations.emailchange"),
            ("Second factors", "passkey", "mfa.authenticator"),
            ("Mails", "outbox", "organizations.outgoingmail"),
            ("Mail server", "dns", "organizations.mailserver"),
            ("Audit log", "history", "organizations.auditevent"),
            ("Audit log heads", "link", "organizations.audithead"),
            ("Requests done once", "repeat_one", "organizations.donerequest"),
        ),
    ),
    (
        "Credits",
        (
            ("Accounts", "account_balance_wallet", "billing.creditaccount"),
            ("Ledger entries", "receipt_long", "billing.ledgerentry"),
            ("Lots", "redeem", "billing.creditlot"),
            ("Holds", "hourglass_top", "billing.credithold"),
            ("Allocations of holds", "call_split", "billing.holdallocation"),
        ),
    ),
    (
        "Keys and routing",
        (
            ("Provider keys", "key", "providers.providerkey"),
            ("Validations", "fact_check", "providers.keyvalidation"),
            ("Available models", "neurology", "providers.availablemodel"),
            ("Refused fields", "rule", "providers.modelquirk"),
            ("Organization keys", "encrypted", "providers.organizationkey"),
            ("Private endpoints", "lan", "providers.privateendpoint"),
            ("Managed defaults", "tune", "routing.manageddefault"),
            ("Routing rules", "alt_route", "routing.routingrule"),
        ),
    ),
    (
        "Usage",
        (
            ("Calls", "monitoring", "usage.usageevent"),
            ("Calls in flight", "flight_takeoff", "usage.inflightcall"),
            ("Daily figures", "calendar_month", "usage.usagedaily"),
            ("Runs", "replay", "usage.usagerun"),
            ("State of the rollup", "update", "usage.rollupstate"),
        ),
    ),
    (
        "Candidate checks",
        (
            ("Checks", "task_alt", "candidates.candidatecheck"),
            ("Verdicts", "rule", "candidates.requirementverdict"),
            ("Briefings", "description", "candidates.briefing"),
            ("Requirements", "checklist", "candidates.requirement"),
            ("Candidates", "group", "candidates.candidate"),
            ("Profiles", "contact_page", "candidates.profile"),
            ("Words of people", "search", "candidates.candidateword"),
            ("Sightings", "visibility", "candidates.profilesighting"),
        ),
    ),
    (
        "Background tasks",
        (
            ("Schedules", "schedule", "django_q.schedule"),
            ("Waiting", "pending", "django_q.ormq"),
            ("Done", "check_circle", "django_q.success"),
            ("Failed", "error", "django_q.failure"),
        ),
    ),
)


def icon_url(request: HttpRequest) -> str:
    return static("keyfare/icon.svg")


def script_url(request: HttpRequest) -> str:
    return static("keyfare/admin.js")


def style_url(request: HttpRequest) -> str:
    return static("keyfare/admin.css")


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's DASHBOARD_CALLBACK: the figures of templates/admin/index.html that one may see. Days are UTC."""
    today = midnight_before(clock.now())
    calls = UsageEvent.objects.filter(occurred_at__gte=today)
    managed = calls.filter(mode=Mode.MANAGED).aggregate(
        calls=Count("pk"),
        cost=Sum("cost_nanousd"),
        unpriced=Count("pk", filter=gaps.UNPRICED),
        unanswered=Count("pk", filter=gaps.UNKNOWN),
    )
    outcomes = calls.aggregate(
        calls=Count("pk"),
        failed=Count("pk", filter=Q(status=UsageEvent.Status.FAILED)),
        unanswered=Count("pk", filter=gaps.UNKNOWN),
    )
    since = urlencode({"occurred_at__gte": today.isoformat(" ")})
    calls_today = f"{reverse('admin:usage_usageevent_changelist')}?{since}"
    usable = (ProviderKey.Status.CONNECTED, ProviderKey.Status.LIMITED)
    keys = ProviderKey.objects.filter(organization__is_platform=False, replaces=None)
    checks = CandidateCheck.objects.filter(accepted_at__gte=today)
    figures: list[dict[str, Any]] = [
        {
            "label": "Organizations",
            "value": Organization.objects.customers().filter(closed_at=None).count(),
            "note": "open",
            "link": reverse_lazy("admin:organizations_organization_changelist"),
            "of": "organizations.organization",
        },
        {
            "label": "Keys connected",
            "value": keys.filter(status__in=usable).count(),
            "note": f"of {keys.count()} keys of customers",
            "link": reverse_lazy("admin:providers_providerkey_changelist"),
            "of": "providers.providerkey",
        },
        {
            "label": "Checks today",
            "value": checks.count(),
            "note": f"{checks.filter(status=CandidateCheck.Status.FAILED).count()} failed",
            "link": reverse_lazy("admin:candidates_candidatecheck_changelist"),
            "of": "candidates.candidatecheck",
        },
        {
            "label": "Model calls today",
            "value": outcomes["calls"],
            "note": f"{outcomes['failed']} failed, {outcomes['unanswered']} without an answer",
            "link": calls_today,
            "of": "usage.usageevent",
        },
        {
            "label": "Managed cost today",
            "value": _managed_usd(managed),
            "note": _managed_note(managed),
            "link": f"{calls_today}&mode__exact={Mode.MANAGED}",
            "of": "usage.usageevent",
        },
        *_managed_of_unknown_cost(managed, calls_today),
        *work.figures(today=today),
        mail_figure(),
        *work.clock_figures(),
    ]
    context["figures"] = [figure for figure in figures if _may_view(figure["of"])(request)]
    if not _may_view("organizations.auditevent")(request):
        return context
    events = AuditEvent.objects.select_related("organization").order_by("-created_at", "-pk")
    context["audit_table"] = {
        "headers": ["Time (UTC)", "Organization", "Who", "What", "Of what"],
        "rows": [
            [
                f"{event.created_at:%Y-%m-%d %H:%M}",
                event.organization.name,
                event.actor_label,
                event.title,
                event.target,
            ]
            for event in events[:LATEST_EVENTS]
        ],
    }
    return context


def _managed_usd(managed: dict[str, Any]) -> str:
    is_incomplete = bool(managed["unpriced"] or managed["unanswered"])
    if is_incomplete and not managed["cost"]:
        return amounts.NOT_KNOWN
    return amounts.at_least(amounts.dollars(managed["cost"] or 0), if_incomplete=is_incomplete)


def _managed_note(managed: dict[str, Any]) -> str:
    """Which calls the sum is of."""
    missing = managed["unpriced"] + managed["unanswered"]
    covered = f"{managed['calls'] - missing:,} of " if missing else ""
    return f"estimated, of {covered}{managed['calls']:,} Managed call{'s' if managed['calls'] != 1 else ''}"


def _managed_of_unknown_cost(managed: dict[str, Any], calls_today: str) -> list[dict[str, Any]]:
    missing = managed["unpriced"] + managed["unanswered"]
    if not missing:
        return []
    return [
        {
            "label": "Managed calls of unknown cost",
            "value": missing,
            "note": amounts.not_covered(unpriced=managed["unpriced"], unanswered=managed["unanswered"]),
            "link": f"{calls_today}&mode__exact={Mode.MANAGED}&price=not_known",
            "of": "usage.usageevent",
        }
    ]
