"""
Custody of provider keys.

Two tiers: master keys (`FERNET_KEYS`, from the environment, never in the database) wrap one random data key per
organization; that data key seals the organization's provider keys with AES-256-GCM. The associated data binds a
sealed key to its organization, row, key version, provider and destination origin, so that a row copied to another
organization, a ciphertext swapped between rows or a changed origin does not open.

`Secret` is the only carrier of plaintext. It is opened by `Secret.reveal()`, called where a request header is
built (`providers/adapters`) and here, nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import struct
from dataclasses import dataclass, field
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.fernet import InvalidToken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import transaction

from organizations.models import Organization
from providers.models import OrganizationKey, ProviderKey

FORMAT = 1
NONCE_BYTES = 12
SHORTEST_KEY_WITH_HINT = 20
FINGERPRINT_BYTES = 16


class SealBroken(Exception):
    """A stored key cannot be opened: moved, altered, or its master or organization key is gone."""

    def __init__(self) -> None:
        super().__init__("The stored key cannot be opened any more. Paste it again.")


class Secret:
    """A plaintext key. Prints as ****, cannot be pickled, copied into JSON or compared by accident."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __bool__(self) -> bool:
        return bool(self._value)

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(****)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret cannot be pickled.")

    @property
    def last4(self) -> str:
        """The last four characters, or "" of a key so short that they would tell too much."""
        return self._value[-4:] if len(self._value) >= SHORTEST_KEY_WITH_HINT else ""


@dataclass(frozen=True, slots=True)
class SealedKey:
    """All that is needed to open a key without the database, at the moment its header is built."""

    ciphertext: bytes
    associated_data: bytes
    data_key: bytes = field(repr=False)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A sealed key with its data key cannot be pickled.")

    def open(self) -> Secret:
        """Raises SealBroken."""
        nonce, sealed = self.ciphertext[5 : 5 + NONCE_BYTES], self.ciphertext[5 + NONCE_BYTES :]
        try:
            return Secret(AESGCM(self.data_key).decrypt(nonce, sealed, self.associated_data).decode())
        except (InvalidTag, ValueError):
            raise SealBroken from None


def fingerprint(organization: Organization, secret: Secret) -> str:
    """
    The same for the same secret in the same organization, as long as its data key is not rotated; 128 bits in hex.

    Keyed by what is derived from the data key, so that neither the database alone nor another organization's keys
    tell which secret it is. `seal` stores it; who seals under a new data key stores a new one. Raises SealBroken.
    """
    return _fingerprint(_unwrap(_current_organization_key(organization)), secret)


def seal(key: ProviderKey, secret: Secret) -> None:
    """
    Put `secret` into `key` (ciphertext, key_version, last4, fingerprint), sealed for key's own origin; does not save.
    """
    organization_key = _current_organization_key(key.organization)
    key.key_version = organization_key.version
    key.last4 = secret.last4
    nonce = os.urandom(NONCE_BYTES)
    data_key = _unwrap(organization_key)
    key.fingerprint = _fingerprint(data_key, secret)
    sealed = AESGCM(data_key).encrypt(nonce, secret.reveal().encode(), _associated_data(key))
    key.ciphertext = struct.pack(">BI", FORMAT, key.key_version) + nonce + sealed


def move_secret(source: ProviderKey, target: ProviderKey) -> None:
    """
    Seal the secret of `source` into `target` anew; saves neither. Raises SealBroken.

    A seal binds the row, so a ciphertext cannot just be copied from one to the other.
    """
    seal(target, sealed_key(source).open())


def sealed_key(key: ProviderKey) -> SealedKey:
    """What opens `key` later, away from the database. Raises SealBroken if the organization's key is gone."""
    ciphertext = bytes(key.ciphertext)
    if len(ciphertext) <= 5 + NONCE_BYTES or struct.unpack(">BI", ciphertext[:5]) != (
        FORMAT,
        key.key_version,
    ):
        raise SealBroken
    try:
        organization_key = OrganizationKey.objects.for_organization(key.organization).get(version=key.key_version)
    except (OrganizationKey.DoesNotExist, InvalidToken):
        raise SealBroken from None
    return SealedKey(ciphertext, _associated_data(key), _unwrap(organization_key))


def _associated_data(key: ProviderKey) -> bytes:
    parts = ("keyfare/provider-key/1", key.organization_id, key.id, key.key_version, key.provider, key.origin)
    return b"".join(struct.pack(">I", len(raw)) + raw for raw in (str(part).encode() for part in parts))


def _fingerprint(data_key: bytes, secret: Secret) -> str:
    derived = hmac.digest(data_key, b"keyfare/fingerprint/1", hashlib.sha256)
    return hmac.digest(derived, secret.reveal().encode(), hashlib.sha256)[:FINGERPRINT_BYTES].hex()


def _current_organization_key(organization: Organization) -> OrganizationKey:
    """The newest data key of `organization`; the first one is made on first use."""
    keys = OrganizationKey.objects.for_organization(organization).order_by("-version")
    try:
        current = keys.first()
        if current is None:
            with transaction.atomic():
                # Two people saving the organization's first key at once must end with one data key.
                Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
                current = keys.first() or OrganizationKey.objects.create(
                    organization=organization,
                    version=1,
                    wrapped=f"{organization.pk}:1:{base64.b64encode(AESGCM.generate_key(256)).decode()}",
                )
    except InvalidToken:
        raise SealBroken from None
    return current


def _unwrap(organization_key: OrganizationKey) -> bytes:
    """Fernet binds no identity, so it stands inside: a wrapped key copied to another organization is refused."""
    organization_id, version, data_key = organization_key.wrapped.split(":", 2)
    if (int(organization_id), int(version)) != (organization_key.organization_id, organization_key.version):
        raise SealBroken
    return base64.b64decode(data_key)
