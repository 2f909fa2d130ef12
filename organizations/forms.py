from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from organizations import services
from organizations.models import Membership, Organization


class InviteForm(forms.Form):
    email = forms.EmailField(label="E-mail", widget=forms.EmailInput(attrs={"autocomplete": "off"}))
    role = forms.ChoiceField(choices=Membership.Role.choices, initial=Membership.Role.MEMBER)

    def __init__(self, *args: Any, roles: Sequence[Membership.Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = [(role.value, role.label) for role in roles]  # type: ignore[attr-defined]


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Membership.Role.choices)


class RecencyWindowForm(forms.Form):
    days = forms.TypedChoiceField(
        label="Recency window",
        coerce=int,
        choices=Organization.RecencyWindow.choices,
        widget=forms.RadioSelect,
        error_messages={"invalid_choice": "Choose 30, 60 or 90 days."},
    )


class OrganizationAdminForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        model = Organization
        fields: tuple[str, ...] = ("name", "slug", "recency_window_days")
        help_texts = {
            "slug": "Stands in every address of the organization. A new one breaks old links.",
        }


class MembershipAdminForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        model = Membership
        fields = ("user", "organization", "role")

    def clean_role(self) -> str:
        role = str(self.cleaned_data["role"])
        if self.instance.pk and role != Membership.Role.OWNER:
            stored = Membership.objects.select_related("organization").get(pk=self.instance.pk)
            if services.is_last_owner(stored):
                raise forms.ValidationError(str(services.LastOwner()))
        return role
