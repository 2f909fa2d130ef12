"""
Sealing small texts at rest under the master keys, each purpose under keys of its own.

Fernet tokens: the first master key seals, all open. What is sealed for one purpose never opens for another.
"""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.views.decorators.debug import sensitive_variables


def fernets(purpose: bytes) -> list[Fernet]:
    """One for each master key, in their order."""
    return [Fernet(_derived(key, purpose)) for key in settings.FERNET_KEYS]


def every_fernet(purpose: bytes) -> MultiFernet:
    """Seals under the first master key, opens under all of them."""
    return MultiFernet(fernets(purpose))


@sensitive_variables()
def _derived(master_key: str, purpose: bytes) -> bytes:
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose)
    return base64.urlsafe_b64encode(derivation.derive(master_key.encode()))
