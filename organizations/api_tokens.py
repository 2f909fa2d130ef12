"""
API tokens: how programs prove for which organization they act, and what they may.

A token reads `kf_<prefix>_<secret>`. The prefix is stored and shown, of the whole only the SHA-256 is: the secret
is 32 random bytes, so a fast hash is enough. It is shown once, when it is made. Whoever made it stays the measure:
the token may do what its scopes say and its creator may at that moment, and nothing once the creator has left.
Nothing is cached here, so a revoked token is refused from the next request on; what the gateway keeps in memory is
forgotten as soon as the database tells of a change (gateway/snapshots.py).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hmac import compare_digest

from django.db import transaction
from django.db.models import Q

from organizations import audit, clock
from organizations.edits import moment
from organizations.models import ApiToken, Membership, Organization, User
from organizations.permissions import API_SCOPES, Permission, may
from organizations.services import lock_members
from organizations.tenancy import EVERY, scope

BASE62 = string.digits + string.ascii_letters
PREFIX_CHARACTERS = 8
SECRET_BYTES = 32
SECRET_CHARACTERS = 43  # 62 ** 43 > 256 ** 32
FORM = re.compile(rf"kf_([0-9A-Za-z]{{{PREFIX_CHARACTERS}}})_[0-9A-Za-z]{{{SECRET_CHARACTERS}}}")
LAST_USED_EVERY = timedelta(minutes=1)
NO_DIGEST = "0" * 64  # of no token


class TokenNotMade(Exception):
    """A token that the rules forbid; str() is a sentence."""


class TokenNameTaken(TokenNotMade):
    def __init__(self, token: ApiToken) -> None:
        super().__init__(
            f"There is a token named “{token.name}” already: {token.created_by.email} made it at "
            f"{moment(token.created_at)}. Choose another name; or, if nobody kept that one, revoke it first."
        )


class ScopesRefused(TokenNotMade):
    def __init__(self) -> None:
        super().__init__("A token can do no more than you may yourself. Choose other scopes.")


class TokenRefused(Exception):
    """The token does not let its bearer do this; str() is a sentence. Told apart only to who knows all of it."""


class UnknownToken(TokenRefused):
    def __init__(self) -> None:
        super().__init__("This API token is not known. An owner or admin can make one under Members, API tokens.")


class TokenRevoked(TokenRefused):
    def __init__(self) -> None:
        super().__init__("This API token was revoked. An owner or admin can make a new one.")


class TokenExpired(TokenRefused):
    def __init__(self) -> None:
        super().__init__("This API token has expired. An owner or admin can give it more time, or make a new one.")


class TokenWithoutCreator(TokenRefused):
    def __init__(self) -> None:
        super().__init__("Whoever made this API token is no longer a member. An owner or admin can make a new one.")


class OrganizationClosed(TokenRefused):
    def __init__(self) -> None:
        super().__init__("The organization of this API token is closed.")


class ScopeMissing(TokenRefused):
    def __init__(self, permission: Permission) -> None:
        super().__init__(f"This needs the scope `{permission}`, which the API token or the role of its creator lacks.")


@dataclass(frozen=True)
class NewToken:
    """A token as it is shown once; `value` exists in this object and in that answer only."""

    token: ApiToken
    value: str = field(repr=False)


def make_token(
    *,
    organization: Organization,
    name: str,
    scopes: Collection[Permission],
    expires_at: datetime | None,
    actor: User,
) -> NewToken:
    """A new token for `scopes`, each of API_SCOPES. Raises TokenNameTaken, ScopesRefused."""
    prefix = "".join(secrets.choice(BASE62) for _ in range(PREFIX_CHARACTERS))
    value = f"kf_{prefix}_{_base62(secrets.token_bytes(SECRET_BYTES))}"
    with transaction.atomic():
        lock_members(organization)
        refuse_beyond(organization, actor, scopes)
        refuse_taken_name(organization, name)
        token = ApiToken.objects.create(
            organization=organization,
            name=name,
            prefix=prefix,
            digest=digest_of(value),
            scopes=sorted(each.value for each in scopes),
            created_by=actor,
            expires_at=expires_at,
        )
        audit.record(
            organization=organization,
            actor=actor,
            action="api_token.created",
            target=str(token),
            scopes=", ".join(token.scopes),
            expires=expires_at.date().isoformat() if expires_at else "never",
        )
    return NewToken(token, value)


def refuse_beyond(organization: Organization, actor: User, scopes: Collection[str]) -> None:
    """Nobody makes or edits a token that can do more than they may themselves. Raises ScopesRefused."""
    membership = Membership.objects.for_organization(organization).filter(user=actor).first()
    known = [s in API_SCOPES and membership is not None and may(membership, Permission(s)) for s in scopes]
    if not known or not all(known):
        raise ScopesRefused


def refuse_taken_name(organization: Organization, name: str, *, but: ApiToken | None = None) -> None:
    """Raises TokenNameTaken."""
    tokens = ApiToken.objects.for_organization(organization).filter(name=name, revoked_at=None)
    taken = tokens.select_related("created_by").first()
    if taken is not None and taken != but:
        raise TokenNameTaken(taken)


def revoke_token(*, token: ApiToken, actor: User | None, now: datetime) -> bool:
    """End a token for good, from its next request on. Returns whether it was not revoked before."""
    with transaction.atomic():
        mine = ApiToken.objects.for_organization(token.organization).filter(pk=token.pk, revoked_at=None)
        if not mine.update(revoked_at=now):
            return False
        audit.record(organization=token.organization, actor=actor, action="api_token.revoked", target=str(token))
    token.revoked_at = now
    return True


@scope(EVERY, "the token says which organization")
def use_token(*, value: str, permission: Permission, now: datetime | None = None) -> ApiToken:
    """
    The token whose whole text is `value`, if it lets its bearer do what `permission` names; notes that it was used.

    `now` is asked for if not given, of known tokens only. Raises TokenRefused. Who does not know all of a token learns
    nothing: UnknownToken, after the same work.
    """
    token = _find(value)
    if token is None:
        raise UnknownToken
    now = now or clock.now()
    refuse_ended(token, now)
    memberships = Membership.objects.for_organization(token.organization).filter(user=token.created_by)
    token.maker = memberships.first()
    refuse_unvouched(token, token.maker, permission)
    if token.last_used_at is None or token.last_used_at <= now - LAST_USED_EVERY:
        note_used(organization_ids={token.organization_id}, token_ids={token.pk}, now=now)
    return token


def refuse_ended(token: ApiToken, now: datetime) -> None:
    """Raises TokenRevoked, TokenExpired and OrganizationClosed."""
    if token.revoked_at is not None:
        raise TokenRevoked
    if token.expires_at is not None and token.expires_at <= now:
        raise TokenExpired
    if token.organization.closed_at is not None:
        raise OrganizationClosed


def refuse_unvouched(token: ApiToken, membership: Membership | None, permission: Permission) -> None:
    """`membership` is that of its creator. Raises TokenWithoutCreator and ScopeMissing."""
    if membership is None or not is_vouched_for(token, membership):
        raise TokenWithoutCreator
    if permission not in token.scopes or not may(membership, permission):
        raise ScopeMissing(permission)


def is_vouched_for(token: ApiToken, membership: Membership) -> bool:
    """Whether the creator is who they were: a token does not come back to life with a person who left and returned."""
    return token.created_by.is_active and membership.created_at <= token.created_at


def _find(value: str) -> ApiToken | None:
    match = FORM.fullmatch(value)
    if match is None:
        return None
    found = ApiToken.objects.select_related("organization", "created_by").filter(prefix=match[1]).first()
    is_it = compare_digest(digest_of(value), found.digest if found else NO_DIGEST)
    return found if is_it else None


def note_used(*, organization_ids: Collection[int], token_ids: Collection[int], now: datetime) -> None:
    """At most once a minute each: a busy token must not write with every request."""
    rows = ApiToken.objects.filter(organization__in=organization_ids, pk__in=token_ids)
    rows.filter(Q(last_used_at=None) | Q(last_used_at__lte=now - LAST_USED_EVERY)).update(last_used_at=now)


def digest_of(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def _base62(random: bytes) -> str:
    """Of fixed length, so that every token looks alike."""
    number, digits = int.from_bytes(random, "big"), []
    for _ in range(SECRET_CHARACTERS):
        number, digit = divmod(number, 62)
        digits.append(BASE62[digit])
    return "".join(reversed(digits))
