"""allauth's passkey forms, whose JSON may be anything: what Python's parser gives up on is an answer like any other."""

from __future__ import annotations

import json
from typing import Any

from allauth.mfa.webauthn import forms


class Decoder(json.JSONDecoder):
    """Django's JSONField knows one error; nesting too deep and numbers too long raise others, at a door for anybody."""

    def decode(self, s: str, *args: Any) -> Any:
        try:
            return super().decode(s, *args)
        except json.JSONDecodeError:
            raise
        except (RecursionError, ValueError):
            raise json.JSONDecodeError("Too deep, or a number too long", "", 0) from None


class ReadsAnyJson:
    fields: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["credential"].decoder = Decoder


class AddPasskeyForm(ReadsAnyJson, forms.AddWebAuthnForm):  # type: ignore[misc]  # published without types
    """Unless the person wants it otherwise, a new passkey logs in by itself: people expect that."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice = self.fields["passwordless"]
        choice.initial = True
        choice.label = "Log in with it, without my password"
        choice.help_text = (
            "Your device then asks for the fingerprint, face or PIN. Without the tick it is only a second step after "
            "the password: for a security key that has no PIN."
        )


class AuthenticatePasskeyForm(ReadsAnyJson, forms.AuthenticateWebAuthnForm):  # type: ignore[misc]
    pass


class LoginPasskeyForm(ReadsAnyJson, forms.LoginWebAuthnForm):  # type: ignore[misc]
    pass


class ReauthenticatePasskeyForm(ReadsAnyJson, forms.ReauthenticateWebAuthnForm):  # type: ignore[misc]
    pass
