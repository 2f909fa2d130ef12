"""System checks: an installation with a missing, weak or well-known master key, or no such proxy, does not start."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

SHORTEST_MASTER_KEY = 32
FEWEST_DIFFERENT_CHARACTERS = 8
HOW = "`manage.py init` makes one; or set KEYFARE_MASTER_KEYS to 32 or more random characters and back it up."
HOW_DIGEST = (
    "`manage.py init` makes one; or set KEYFARE_DIGEST_KEY to 32 or more random characters and never change it."
)
HOW_PROXY = (
    "Write it as http://proxy.example.com:3128 or http://user:password@10.1.2.3:3128; https:// is not supported."
)
PROXY = re.compile(
    r"http://(?:[^\s/@:?#]+:[^\s/@:?#]*@)?(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
    r":(?P<port>[0-9]{1,5})/?",
    re.ASCII,
)
# What stands in documentation and templates where a key should be.
PLACEHOLDER = re.compile(
    r"change[-_ ]?(me|this)|replace[-_ ]?(me|this|with)|placeholder|example|your[-_ ]|password|insecure|default|"
    r"put[-_ ].*here|<|>|\.\.\.|…",
    re.IGNORECASE,
)


@register
def master_keys(**kwargs: Any) -> list[CheckMessage]:
    keys = settings.FERNET_KEYS
    if not keys:
        return [_error("KEYFARE_MASTER_KEYS is not set, so no provider key can be stored.", "E001")]
    if any(len(key.strip()) < SHORTEST_MASTER_KEY for key in keys):
        return [_error("A key of KEYFARE_MASTER_KEYS is shorter than 32 characters.", "E002")]
    if any(settings.SECRET_KEY in key or key in settings.SECRET_KEY for key in keys):
        return [_error("A key of KEYFARE_MASTER_KEYS equals the SECRET_KEY.", "E003")]
    if any(re.search(r"\s", key) for key in keys):
        return [_error("A key of KEYFARE_MASTER_KEYS has white space around it or inside.", "E004")]
    if any(_is_well_known(key) for key in keys):
        return [_error("A key of KEYFARE_MASTER_KEYS is a placeholder or a pattern, not random characters.", "E005")]
    return []


@register
def digest_key(**kwargs: Any) -> list[CheckMessage]:
    key = settings.KEYFARE_DIGEST_KEY
    if len(key.strip()) < SHORTEST_MASTER_KEY:
        what = "is shorter than 32 characters" if key else "is not set"
        return [_error(f"KEYFARE_DIGEST_KEY {what}.", "E006", HOW_DIGEST)]
    if key == settings.SECRET_KEY or key in settings.FERNET_KEYS:
        return [_error("KEYFARE_DIGEST_KEY equals another secret of this installation.", "E007", HOW_DIGEST)]
    if _is_well_known(key):
        message = "KEYFARE_DIGEST_KEY is a placeholder or a pattern, not random characters."
        return [_error(message, "E008", HOW_DIGEST)]
    return []


@register
def egress_proxy(**kwargs: Any) -> list[CheckMessage]:
    if not settings.KEYFARE_EGRESS_PROXY:
        return []
    parts = PROXY.fullmatch(settings.KEYFARE_EGRESS_PROXY)
    if parts and 1 <= int(parts["port"]) <= 65535:
        return []
    return [_error("KEYFARE_EGRESS_PROXY is no address of a proxy.", "E009", HOW_PROXY)]


def _is_well_known(key: str) -> bool:
    return bool(PLACEHOLDER.search(key)) or len(set(key)) < FEWEST_DIFFERENT_CHARACTERS


def _error(message: str, identity: str, hint: str = HOW) -> CheckMessage:
    return Error(message, hint=hint, id=f"keyfare.{identity}")
