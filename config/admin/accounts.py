"""E-mail addresses and second steps of people in the staff admin, where django-allauth keeps them."""

from __future__ import annotations

from typing import cast

from allauth.account.admin import EmailAddressAdmin as AllauthEmailAddressAdmin
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import action

from organizations import audit, people
from organizations.long_lists import LongList
from organizations.models import User
from organizations.read_only_admin import NeverWritten, ReadOnly
from organizations.second_factors import remove_second_factor

for installed in (EmailAddress, Authenticator):
    admin.site.unregister(installed)


@admin.register(EmailAddress)
class EmailAddressAdmin(ReadOnly, LongList, AllauthEmailAddressAdmin, ModelAdmin):  # type: ignore[misc]
    """Looked at: people add addresses themselves, and staff ask for another one on the page of the user."""

    list_select_related = ("user",)
    actions = ("confirm",)

    def has_confirm_permission(self, request: HttpRequest) -> bool:
        """A confirmed address takes over what was offered to it, so only who may everything says so by hand."""
        return bool(request.user.is_active and request.user.is_superuser)

    @action(description="Mark selected addresses as confirmed", permissions=["confirm"])
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
class AuthenticatorAdmin(NeverWritten, LongList, ModelAdmin):  # type: ignore[misc]
    """Staff remove the second step of people who lost theirs; the secrets in `data` are never shown."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("user__email",)
    exclude = ("data",)

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
