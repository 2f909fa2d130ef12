from __future__ import annotations

import re
import uuid
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from billing import ledger
from billing.models import CreditAccount, CreditHold, CreditLot, HoldAllocation, LedgerEntry
from organizations.models import User
from organizations.read_only_admin import ReadOnlyAdmin
from organizations.typed_numbers import WholeNumberField

ID = re.compile(r"\b([0-9a-f]{8})-[0-9a-f-]{27}\b")


class LedgerAdmin(ReadOnlyAdmin):
    """Shows rows that only billing/ledger.py writes."""

    search_fields: ClassVar[tuple[str, ...]] = ("organization__name", "organization__slug")
    list_select_related: ClassVar[tuple[str, ...]] = ("organization",)


class MoveCreditsForm(forms.Form):
    amount = WholeNumberField(
        min_value=-ledger.MAX_AMOUNT,
        max_value=ledger.MAX_AMOUNT,
        widget=UnfoldAdminTextInputWidget,
        help_text="Above 0 gives credits; below 0 (say −10) takes back credits that are not held.",
    )
    reason = forms.CharField(
        max_length=ledger.MAX_REASON,
        widget=UnfoldAdminTextInputWidget,
        help_text="The organization reads it on its credits page.",
    )
    # Made with the form, so that sending it twice moves the credits once.
    idempotency_key = forms.UUIDField(widget=forms.HiddenInput)

    def clean_amount(self) -> int:
        amount: int = self.cleaned_data["amount"]
        if amount == 0:
            raise forms.ValidationError("Enter a number other than 0.")
        return amount


@admin.register(CreditAccount)
class CreditAccountAdmin(LedgerAdmin):
    list_display = ("organization", "posted", "held", "available", "seq")
    actions_detail = ("move_credits",)

    def has_move_credits_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """No row here is changed by hand, so Django's own change permission means this."""
        return request.user.has_perm("billing.change_creditaccount")

    @action(description="Grant or adjust credits", url_path="move-credits", permissions=["move_credits"])
    def move_credits(self, request: HttpRequest, object_id: str) -> HttpResponse:
        account = get_object_or_404(CreditAccount.objects.select_related("organization"), pk=object_id)
        form = MoveCreditsForm(request.POST or None, initial={"idempotency_key": uuid.uuid4()})
        if form.is_valid() and self._move(form, account, cast(User, request.user)):
            balance = ledger.balance(organization=account.organization)
            messages.success(request, f"Credits booked. {balance.available} available now.")
            return redirect("admin:billing_creditaccount_change", account.pk)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": f"Grant or adjust credits: {account.organization}",
            "account": account,
            "form": form,
        }
        status = 422 if form.is_bound else 200
        return TemplateResponse(request, "billing/admin_move_credits.html", context, status=status)

    def _move(self, form: MoveCreditsForm, account: CreditAccount, actor: User) -> bool:
        arguments: dict[str, Any] = {
            "organization": account.organization,
            "amount": form.cleaned_data["amount"],
            "reason": form.cleaned_data["reason"],
            "idempotency_key": f"admin:{form.cleaned_data['idempotency_key']}",
            "actor": actor,
        }
        try:
            if arguments["amount"] > 0:
                ledger.grant_credits(**arguments)
            else:
                ledger.adjust_credits(**arguments)
        except ledger.NotEnoughCredits as error:
            form.add_error("amount", f"Only {ledger.counted(error.available)} can be taken back.")
        except (ValueError, ledger.IdempotencyConflict) as error:
            form.add_error(None, str(error))
        return form.is_valid()


@admin.register(CreditLot)
class CreditLotAdmin(LedgerAdmin):
    list_display = ("id", "organization", "amount", "remaining", "held", "reason", "created_at")
    search_fields = (*LedgerAdmin.search_fields, "reason")


@admin.register(CreditHold)
class CreditHoldAdmin(LedgerAdmin):
    list_display = ("id", "organization", "what_for", "amount", "captured", "state", "created_at")
    list_filter = (("state", ChoicesDropdownFilter),)
    search_fields = (*LedgerAdmin.search_fields, "purpose")
    found_by = ("id",)
    ordering = ("-created_at",)

    @display(description="What for", ordering="purpose")
    def what_for(self, hold: CreditHold) -> str:
        return _short(hold.purpose)


@admin.register(HoldAllocation)
class HoldAllocationAdmin(LedgerAdmin):
    list_display = ("hold_id", "organization", "lot_id", "position", "amount", "captured")
    list_select_related = ("organization", "hold", "lot")
    search_fields = (*LedgerAdmin.search_fields, "hold__purpose")
    found_by = ("hold",)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(LedgerAdmin):
    list_display = (
        "seq",
        "organization",
        "kind",
        "d_posted",
        "d_held",
        "posted_after",
        "held_after",
        "purpose",
        "actor",
        "created_at",
    )
    list_filter = (("kind", ChoicesDropdownFilter),)
    list_select_related = ("organization", "hold", "actor")
    search_fields = (*LedgerAdmin.search_fields, "reason", "hold__purpose")
    found_by = ("idempotency_key", "hold")
    ordering = ("-created_at",)

    @display(description="What for")
    def purpose(self, entry: LedgerEntry) -> str:
        return _short(entry.hold.purpose) if entry.hold else entry.reason


def _short(purpose: str) -> str:
    """With the first eight of an id, as pages write it; a search takes all of it."""
    return ID.sub(r"\1", purpose)
