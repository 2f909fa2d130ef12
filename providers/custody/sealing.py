"""
Custody of provider keys.

Two tiers: master keys (`FERNET_KEYS`, from the environment, never in the database) wrap one random data key per
organization; that data key seals the organization's provider keys with AES-256-GCM. The associated data binds a
sealed key to its organization, row, key version, provider and destination origin, so that a row copied to another
organization, a ciphertext swapped between rows or a changed origin does not open.

`Secret` is the only carrier of plaintext (`providers.adapters.secret`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import struct
from dataclasses import dataclass, field
from typing import Any, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.fernet import InvalidToken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import transaction

from organizations.models import Organization
from providers.adapters.secret import Secret
from providers.models import UNREADABLE, OrganizationKey, ProviderKey

FORMAT = 1
NONCE_BYTES = 12
# Of ProviderKey: what a seal writes together.
SEALED_FIELDS = ("ciphertext", "key_version", "fingerprint", "unreadable_since")
FINGERPRINT_BYTES = 16


class SealBroken(Exception):
    """A stored key cannot be opened: moved, altered, or its master or organization key is gone."""

    def __init__(self) -> None:
        super().__init__(UNREADABLE.sentence)


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


# Wraps what `WrappedKey` has unwrapped, as long as this process lasts: several times as fast as the master keys do.
_OF_THIS_PROCESS = AESGCM(AESGCM.generate_key(256))


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """
    The same with the data key still wrapped under the master keys, as the database has it: what may stay in memory
    for long. `opened` unwraps it for one call; from the second one on under a key that this process alone knows.
    """

    ciphertext: bytes = field(repr=False)
    associated_data: bytes
    wrapped_data_key: bytes = field(repr=False)
    organization_id: int
    key_version: int
    _anew: list[tuple[bytes, bytes]] = field(default_factory=list, repr=False, compare=False)  # nonce and data key

    def __reduce__(self) -> NoReturn:
        raise TypeError("A sealed key with its data key cannot be pickled.")

    def opened(self) -> SealedKey:
        """Raises SealBroken."""
        if not self._anew:
            nonce = os.urandom(NONCE_BYTES)
            self._anew.append((nonce, _OF_THIS_PROCESS.encrypt(nonce, self._unwrapped(), None)))
        data_key = _OF_THIS_PROCESS.decrypt(*self._anew[0], None)
        return SealedKey(self.ciphertext, self.associated_data, data_key)

    def _unwrapped(self) -> bytes:
        of_master_keys: Any = OrganizationKey._meta.get_field("wrapped")
        try:
            wrapped = of_master_keys.fernet.decrypt(self.wrapped_data_key).decode()
        except (InvalidToken, ValueError):
            raise SealBroken from None
        return _data_key(wrapped, self.organization_id, self.key_version)


def fingerprint(organization: Organization, secret: Secret) -> str:
    """
    The same for the same secret in the same organization, as long as its data key is not rotated; 128 bits in hex.

    Keyed by what is derived from the data key, so that neither the database alone nor another organization's keys
    tell which secret it is. Every seal stores it anew. Raises SealBroken.
    """
    return _fingerprint(unwrap(current_organization_key(organization)), secret)


def seal(key: ProviderKey, secret: Secret) -> None:
    """
    Put `secret` into `key` (SEALED_FIELDS and last4), sealed for key's own origin; does not save.

    Called in the transaction that saves: until its end no rotation can delete the organization key it used.
    Raises SealBroken if no data key of the organization can be opened, or it was closed.
    """
    _seal_under(current_organization_key(key.organization), key, secret)
    key.last4 = secret.last4


def reseal(key: ProviderKey, organization_key: OrganizationKey) -> None:
    """Seal what `key` holds anew under `organization_key`: sets SEALED_FIELDS, does not save. Raises SealBroken."""
    _seal_under(organization_key, key, _sealed_key(key).open())


def move_secret(source: ProviderKey, target: ProviderKey) -> None:
    """
    Seal the secret of `source` into `target` anew; saves neither. Raises SealBroken.

    A seal binds the row, so a ciphertext cannot just be copied from one to the other.
    """
    seal(target, sealed_key(source).open())


def sealed_key(key: ProviderKey) -> SealedKey:
    """What opens `key` later, away from the database. Raises SealBroken if the organization's key is gone."""
    try:
        return _sealed_key(key)
    except SealBroken:
        # A rotation may have sealed the row anew, and deleted the older data key, since the row was read.
        fresh = ProviderKey.objects.filter(
            pk=key.pk, organization_id=key.organization_id, provider=key.provider, origin=key.origin
        ).first()
        if fresh is None or fresh.key_version == key.key_version:
            raise
        return _sealed_key(fresh)


def new_organization_key(organization: Organization, *, version: int) -> OrganizationKey:
    data_key = base64.b64encode(AESGCM.generate_key(256)).decode()
    return OrganizationKey.objects.create(
        organization=organization, version=version, wrapped=f"{organization.pk}:{version}:{data_key}"
    )


def unwrap(organization_key: OrganizationKey) -> bytes:
    """
    The data key. Raises SealBroken.

    Fernet binds no identity, so it stands inside: a wrapped key copied to another organization is refused.
    """
    return _data_key(organization_key.wrapped, organization_key.organization_id, organization_key.version)


def _data_key(wrapped: str, organization_id: int, version: int) -> bytes:
    try:
        stands_for, of_version, data_key = wrapped.split(":", 2)
        if (int(stands_for), int(of_version)) != (organization_id, version):
            raise SealBroken
        return base64.b64decode(data_key)
    except ValueError:
        raise SealBroken from None


def _seal_under(organization_key: OrganizationKey, key: ProviderKey, secret: Secret) -> None:
    key.key_version = organization_key.version
    data_key = unwrap(organization_key)
    key.fingerprint = _fingerprint(data_key, secret)
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(data_key).encrypt(nonce, secret.reveal().encode(), _associated_data(key))
    key.ciphertext = struct.pack(">BI", FORMAT, key.key_version) + nonce + sealed
    key.unreadable_since = None


def _fingerprint(data_key: bytes, secret: Secret) -> str:
    if not secret:  # of a server that expects no key; all of them would look like one
        return ""
    derived = hmac.digest(data_key, b"keyfare/fingerprint/1", hashlib.sha256)
    return hmac.digest(derived, secret.reveal().encode(), hashlib.sha256)[:FINGERPRINT_BYTES].hex()


def sealed_under(key: ProviderKey, organization_key: OrganizationKey) -> SealedKey:
    """What opens `key`, if `organization_key` is the one it was sealed under. Raises SealBroken."""
    ciphertext = _ciphertext(key)
    if (organization_key.organization_id, organization_key.version) != (key.organization_id, key.key_version):
        raise SealBroken
    return SealedKey(ciphertext, _associated_data(key), unwrap(organization_key))


def wrapped_under(key: ProviderKey, token: bytes) -> WrappedKey:
    """
    What opens `key` much later: `token` is the organization key of its version, wrapped (`with_token`). Raises
    SealBroken.
    """
    return WrappedKey(_ciphertext(key), _associated_data(key), token, key.organization_id, key.key_version)


def _ciphertext(key: ProviderKey) -> bytes:
    ciphertext = bytes(key.ciphertext)
    if len(ciphertext) <= 5 + NONCE_BYTES or struct.unpack(">BI", ciphertext[:5]) != (FORMAT, key.key_version):
        raise SealBroken
    return ciphertext


def _sealed_key(key: ProviderKey) -> SealedKey:
    try:
        organization_key = OrganizationKey.objects.get(organization_id=key.organization_id, version=key.key_version)
    except (OrganizationKey.DoesNotExist, InvalidToken):
        raise SealBroken from None
    return sealed_under(key, organization_key)


def _associated_data(key: ProviderKey) -> bytes:
    parts = ("keyfare/provider-key/1", key.organization_id, key.id, key.key_version, key.provider, key.origin)
    return b"".join(struct.pack(">I", len(raw)) + raw for raw in (str(part).encode() for part in parts))


def current_organization_key(organization: Organization) -> OrganizationKey:
    """The newest data key of `organization`, locked against rotation; the first one is made on first use."""
    with transaction.atomic():
        # Two people saving the organization's first key at once must end with one data key.
        locked = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        if locked.closed_at is not None:
            raise SealBroken
        try:
            current = OrganizationKey.objects.for_organization(organization).order_by("-version").first()
        except InvalidToken:
            raise SealBroken from None
        return current or new_organization_key(organization, version=1)
