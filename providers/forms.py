"""
Forms into which a key is pasted.

The pasted text leaves the form as a `Secret` and is never rendered again: not into the field, not into a
sentence.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

from django import forms
from django.http import QueryDict

from organizations.models import Organization
from organizations.names import TOO_LONG, NameFormField
from providers.adapters.key_shapes import label_holds_key, model_holds_key, url_holds_key
from providers.adapters.secret import SHORTEST_KEY, Secret
from providers.catalog import PROVIDERS, KeyNeed, Provider, effective_base_url
from providers.keys.saving import keys_with_secret
from providers.models import ProviderKey

LONGEST_KEY = 512
LONGEST_COINCIDENCE = 16
HOLDS_A_KEY = (
    "This looks like a key, but what stands here is kept readable, so it was not taken. Paste keys into the key field "
    "only."
)
VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
# What comes along when a key is copied off a page, and cannot be seen: of no width, or a space.
UNSEEN_AT_THE_ENDS = string.whitespace + "\u00a0\u200b\u200c\u200d\u2060\ufeff"
ASSIGNMENT = re.compile(r"(export\s+)?[A-Z][A-Z0-9_]*_(KEY|TOKEN)\s*=.*", re.DOTALL)
# These administer an account and cannot call a model (read at the providers' key pages, November 2026).
ADMIN_KEY_PREFIXES = ("sk-admin", "sk-ant-admin")


def provider_that_looks_like(pasted: str) -> Provider | None:
    """
    The provider whose key prefix `pasted` begins with; a hint, as prefixes change without notice.

    A prefix that other providers' prefixes begin with too ("sk-") tells nothing.
    """
    for provider in PROVIDERS.values():
        if pasted.startswith(_distinctive_prefixes(provider)):
            return provider
    return None


def _distinctive_prefixes(provider: Provider) -> tuple[str, ...]:
    elsewhere = [prefix for other in PROVIDERS.values() if other.slug != provider.slug for prefix in other.key_prefixes]
    return tuple(prefix for prefix in provider.key_prefixes if not any(other.startswith(prefix) for other in elsewhere))


class OpenText(forms.BaseForm):
    """
    For forms whose `open_fields` are kept readable, in the audit log for good: what looks like a key is refused there,
    with a sentence that does not repeat it, and is not shown again.
    """

    open_fields: ClassVar[dict[str, Callable[[str], bool]]] = {}

    def full_clean(self) -> None:
        super().full_clean()
        if not self.is_bound:
            return
        for name, holds_key in self.open_fields.items():
            typed = str(self.data.get(self.add_prefix(name)) or "")
            if name in self.fields and typed and (holds_key(typed) or self.is_pasted_key(typed)):
                self.errors.pop(name, None)
                self.add_error(name, HOLDS_A_KEY)
                self.forget(name)

    def is_pasted_key(self, typed: str) -> bool:
        """Whether `typed` holds the very key that the form was given, or much of it."""
        return False

    def forget(self, name: str, instead: str = "") -> None:
        data = self.data.copy() if isinstance(self.data, QueryDict) else {**self.data}  # with all of what was ticked
        data[self.add_prefix(name)] = instead
        self.data = data


class ModelIdField(forms.CharField):
    """The id of a model, as somebody types it."""

    default_error_messages = {"max_length": TOO_LONG}

    def __init__(self, **options: Any) -> None:
        typed = forms.TextInput(attrs={"class": "mono", "autocomplete": "off", "spellcheck": "false"})
        super().__init__(**{"widget": typed, **options})

    def validate(self, value: str) -> None:
        super().validate(value)
        if not value.isprintable():
            raise forms.ValidationError("A model’s id has letters, digits and signs only. Copy it again.")


class ProofModelForm(OpenText, forms.Form):
    """The id of the model to prove a key with; empty takes back what was typed before."""

    open_fields = {"model": model_holds_key}

    model = ModelIdField(
        label="Model to prove the key with",
        required=False,
        max_length=ProviderKey._meta.get_field("proof_model").max_length,
        help_text="It is asked one short question where nothing else proves the key, and can be routed then.",
    )


class KeyForm(OpenText, forms.Form):
    """
    A key of one provider. `cleaned_data["key"]` is a Secret, empty for a server that expects none.

    A key that looks like another provider's, or that `organization` pasted before, is asked about, not refused.

    Whether an organization may use the base URL is for `providers.keys.destinations` to say, when the key is stored.
    """

    open_fields = {"base_url": url_holds_key, "label": label_holds_key}

    base_url = forms.CharField(
        label="Base URL",
        max_length=500,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "spellcheck": "false", "inputmode": "url", "class": "mono"}
        ),
        error_messages={"required": "Enter the base URL of the server."},
    )
    key = forms.CharField(
        label="Paste key",
        widget=forms.PasswordInput(
            attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off", "class": "mono"}
        ),
        error_messages={"required": "Paste the key here."},
    )
    anyway = forms.BooleanField(label="Save anyway", required=False)

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        provider: Provider,
        auto_id: str,
        initial: dict[str, str] | None = None,
        organization: Organization | None = None,
    ) -> None:
        # A server that the operator's environment names is the one to suggest.
        initial = {"base_url": effective_base_url(provider.slug), **(initial or {})}
        super().__init__(data, auto_id=auto_id, initial=initial, label_suffix="")
        self.provider = provider
        self.organization = organization
        self.looks_like: Provider | None = None
        if provider.takes_base_url:
            self.fields["base_url"].widget.attrs["placeholder"] = provider.base_url_hint
        else:
            del self.fields["base_url"]
        if provider.has_no_key:
            del self.fields["key"], self.fields["anyway"]
            return
        self.fields["key"].required = provider.key_need is KeyNeed.REQUIRED

    def full_clean(self) -> None:
        super().full_clean()
        typed = str(self.data.get("base_url") or "")
        if self.is_bound and (shown := without_secrets(typed)) != typed:
            self.forget("base_url", shown)

    def is_pasted_key(self, typed: str) -> bool:
        pasted = str(self.data.get("key") or "").strip(UNSEEN_AT_THE_ENDS)
        if shares_much(pasted, typed):
            return True
        if self.organization is None or len(typed) < SHORTEST_KEY or not VISIBLE_ASCII.fullmatch(typed):
            return False
        return bool(keys_with_secret(organization=self.organization, secret=Secret(typed)))

    def clean_key(self) -> Secret:
        pasted = str(self.cleaned_data["key"]).strip(UNSEEN_AT_THE_ENDS)
        if not pasted:
            if self.cleaned_data["key"] and self.fields["key"].required:
                raise forms.ValidationError(self.fields["key"].error_messages["required"])
            return Secret("")
        complaint = _complaint(pasted, shortest=1 if self.provider.takes_base_url else SHORTEST_KEY)
        if complaint:
            raise forms.ValidationError(complaint)
        guess = provider_that_looks_like(pasted)
        if guess and guess.slug != self.provider.slug:
            self.looks_like = guess
        return Secret(pasted)

    def clean(self) -> dict[str, Any]:
        if self.provider.has_no_key:
            self.cleaned_data["key"] = Secret("")
            return self.cleaned_data
        if not self.cleaned_data.get("anyway"):
            if self.looks_like:
                self.add_error("anyway", self.complaint_about_lookalike(self.looks_like))
                self.fields["anyway"].label = f"It is a key for {self.provider.name}: save it anyway"
            pasted = self.cleaned_data.get("key")
            if pasted and not pasted.is_short and self.organization:
                twins = keys_with_secret(organization=self.organization, secret=pasted)
                if twins:
                    self.add_error("anyway", _complaint_about_twin(twins[0]))
        return self.cleaned_data

    def complaint_about_lookalike(self, other: Provider) -> str:
        return f"This looks like a key from {other.name}. If it is one, save it on the {other.name} card."

    def focus_first_error(self) -> None:
        for name in self.errors:
            if name in self.fields:
                self.fields[name].widget.attrs["autofocus"] = True
                return


class AddKeyForm(KeyForm):
    label = NameFormField(
        label="Label",
        required=False,
        max_length=ProviderKey._meta.get_field("label").max_length,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text="Tells your keys of this provider apart.",
    )

    is_own_server = forms.BooleanField(label="It is our own server: its tokens cost us nothing", required=False)

    field_order = ["label", "base_url", "key", "is_own_server", "anyway"]

    def __init__(self, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        if not self.provider.may_be_own_server:
            del self.fields["is_own_server"]

    def clean_label(self) -> str:
        return str(self.cleaned_data["label"]) or "Default"


def free_label(taken: Collection[str]) -> str:
    """The label suggested for another key: "Default", then "Key 2", "Key 3"…"""
    number = 1
    label = "Default"
    while label in taken:
        number += 1
        label = f"Key {number}"
    return label


def _complaint_about_twin(twin: ProviderKey) -> str:
    name = f"{PROVIDERS[twin.provider].name} key “{twin.label}”"
    if twin.replaces_id:
        return f"This very key waits already to replace the {name}."
    return f"This very key is saved already, as the {name}. A key of its own for every use can be revoked alone."


def without_secrets(base_url: str) -> str:
    """A base URL to be corrected, without what often is a secret: user name and password, query and fragment."""
    return re.sub(r"^([^/]*//)?[^/]*@", r"\1", re.split(r"[?#]", base_url, maxsplit=1)[0])


def shares_much(key: str, text: str) -> bool:
    """Whether `text` holds `key`, or a run of it that is too long for a coincidence."""
    if len(key) < SHORTEST_KEY:
        return False
    length = min(len(key), LONGEST_COINCIDENCE)
    return any(key[start : start + length] in text for start in range(len(key) - length + 1))


def _complaint(pasted: str, *, shortest: int = SHORTEST_KEY) -> str | None:
    """What is wrong with what was pasted, as a sentence that says what to do and repeats none of it."""
    if ASSIGNMENT.fullmatch(pasted):
        return "Paste only the key: what comes after the equals sign, without quotation marks."
    if pasted[0] in "\"'`“”‘’" and pasted[-1] in "\"'`“”‘’":
        return "Paste only the key, without the quotation marks around it."
    if "..." in pasted or "…" in pasted or "••" in pasted or "***" in pasted:
        return "This is a shortened form of a key. Copy the whole key where it is made; it shows once."
    if re.search(r"\s", pasted):
        return "A key has no spaces or line breaks inside. Copy it again, and only the key."
    if not VISIBLE_ASCII.fullmatch(pasted):
        return "This has characters that no key has, such as accents or invisible signs. Copy the key again."
    if len(pasted) < shortest:
        return f"This is too short for a key: at least {shortest} characters. Copy the whole key."
    if len(pasted) > LONGEST_KEY:
        return f"This is too long for a key: at most {LONGEST_KEY} characters. Copy only the key."
    if pasted.startswith(ADMIN_KEY_PREFIXES):
        return "This is an admin key, which cannot call models. Make an ordinary API key and paste that."
    return None
