"""What a call carries along its way: all that sending and settling it needs, and no row of the database."""

from __future__ import annotations

from dataclasses import dataclass

from providers.adapters.quirks import Quirk
from providers.custody.sealing import SealedKey
from providers.keys.destinations import Destination
from usage.facts import Admission


@dataclass(frozen=True, slots=True)
class Ticket:
    """An admitted call. The key is sealed, and opened only where a header is built."""

    call: Admission
    sealed_key: SealedKey
    key_organization_id: int  # whose key it is: the organization's that asks, or the platform's
    secret_version: int
    destination: Destination
    quirks: tuple[Quirk, ...]  # later ones replace earlier ones of the same field
