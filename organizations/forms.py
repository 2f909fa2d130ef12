from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from allauth.account.models import EmailAddress
from django import forms
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminTextInputWidget

from organizations import services
from organizations.models import Membership, Organization, User

CHOOSE_SHARING = "Choose whether this organization takes part."


class InviteForm(forms.Form):
    email = forms.EmailField(label="E-mail", max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "off"}))
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


class RecencySharingForm(forms.Form):
    shares = forms.TypedChoiceField(
        coerce=lambda choice: bool(choice == "yes"),
        choices=[("yes", "Take part"), ("no", "Stop taking part")],
        error_messages={"required": CHOOSE_SHARING, "invalid_choice": CHOOSE_SHARING},
    )


class MembersSeeUsdForm(forms.Form):
    sees = forms.TypedChoiceField(
        coerce=lambda choice: bool(choice == "yes"),
        choices=[("yes", "Show USD to members"), ("no", "Show USD to owners and admins only")],
        error_messages={"required": "Choose who sees USD.", "invalid_choice": "Choose who sees USD."},
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

    actor: User | None = None  # set by the admin

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        user = cleaned.get("user") or (self.instance.user if self.instance.pk else None)
        if self.actor and user == self.actor and not self.actor.is_superuser:
            raise forms.ValidationError("Nobody of the staff gives themselves a place in an organization.")
        return cleaned

    def clean_user(self) -> User:
        user: User = self.cleaned_data["user"]
        if not user.is_active:
            raise forms.ValidationError(f"{user.email} cannot log in: the account is closed. Open it first.")
        return user

    def clean_role(self) -> str:
        role = str(self.cleaned_data["role"])
        is_new_owner = role == Membership.Role.OWNER and self.initial.get("role") != role
        if is_new_owner and self.actor and not self.actor.is_superuser:
            raise forms.ValidationError("Only an owner makes somebody an owner, or a superuser where there is none.")
        if self.instance.pk and role != Membership.Role.OWNER:
            stored = Membership.objects.select_related("organization").get(pk=self.instance.pk)
            if services.is_last_owner(stored):
                raise forms.ValidationError(str(services.LastOwner()))
        return role


class NewUserForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        model = User
        fields = ("email", "name")
        field_classes = {"email": forms.EmailField}
        widgets = {"email": UnfoldAdminEmailInputWidget, "name": UnfoldAdminTextInputWidget}
        help_texts = {"email": "A link to choose a password is sent there."}

    def clean_email(self) -> str:
        email = str(self.cleaned_data["email"]).lower()
        if EmailAddress.objects.filter(email__iexact=email).exists():
            raise forms.ValidationError("An account has that e-mail already.")
        return email


class UserAdminForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = User
        fields = ("email", "name", "is_active", "is_staff", "is_superuser", "user_permissions")

    def clean_is_active(self) -> bool:
        is_active = bool(self.cleaned_data["is_active"])
        if self.instance.is_active and not is_active and (organizations := services.last_owner_of(self.instance)):
            names = ", ".join(organization.name for organization in organizations)
            raise forms.ValidationError(f"This person is the last owner of {names}. Make somebody else an owner first.")
        return is_active
