"""
Whether KEYFARE_DIGEST_KEY is the one that this database was filled under.

A wrong one breaks nothing that anybody would notice: people who were checked are just not known any more, and are
noted a second time. So the first start, or `manage.py init`, keeps a digest of a constant, and later ones compare.
A database from before takes the key it is started with for the right one.
"""

from __future__ import annotations

import hashlib
import hmac

from django.conf import settings
from django.db import transaction

from candidates.models import ProfileSighting
from config.models import Sentinel

NAME = "KEYFARE_DIGEST_KEY"
CONSTANT = b"keyfare/digest-key-sentinel/1"
WRONG_DIGEST_KEY = (
    "KEYFARE_DIGEST_KEY is another one than this database was filled under, so nobody who was checked would be known. "
    "Set it to the key that this installation had before (it is in the backup of its env file). If it is lost for "
    "good: `manage.py adopt_digest_key --yes` forgets which people were checked across organizations, and goes on "
    "with the new key."
)


def digest_key_fits() -> bool:
    """Compares, and keeps the digest if there is none yet."""
    kept, _ = Sentinel.objects.get_or_create(name=NAME, defaults={"digest": _digest()})
    return hmac.compare_digest(kept.digest, _digest())


def adopt_digest_key() -> int:
    """Take the key of the settings from now on. Returns how many sightings were forgotten: none can be matched."""
    with transaction.atomic():
        forgotten, _ = ProfileSighting.objects.all().delete()
        Sentinel.objects.update_or_create(name=NAME, defaults={"digest": _digest()})
    return forgotten


def _digest() -> str:
    return hmac.new(settings.KEYFARE_DIGEST_KEY.encode(), CONSTANT, hashlib.sha256).hexdigest()
