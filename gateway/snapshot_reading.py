"""What a snapshot holds of one organization, read from the database: who calls with its tokens, and what they may."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from gateway.callers import Caller, CallerRefused, CallLimits
from gateway.changes import Told
from gateway.snapshot_routes import REMOVED, Routes, read_routes
from organizations import clock
from organizations.api_tokens import (
    OrganizationClosed,
    ScopeMissing,
    TokenExpired,
    TokenRefused,
    TokenRevoked,
    TokenWithoutCreator,
    UnknownToken,
    refuse_ended,
    refuse_unvouched,
)
from organizations.models import ApiToken, Membership, Organization
from organizations.one_moment import one_moment
from organizations.permissions import Permission, may
from organizations.tenancy import EVERY, scope
from routing.models import CallableAgent, CallAccess, DirectKey

PEOPLE = "organizations_user"


class TokenWithoutMember(TokenRefused):
    def __init__(self) -> None:
        super().__init__(
            "The member in whose name this API token calls is no longer one. An owner or admin can make a new one."
        )


class NothingToCall(TokenRefused):
    def __init__(self) -> None:
        super().__init__("This API token was made to call nothing. An owner or admin can make one that calls agents.")


# HTTP status and code: 401 of a token that is worth nothing any more, 403 of one that may not do this.
_REFUSALS: Mapping[type[TokenRefused], tuple[int, str]] = {
    UnknownToken: (401, "unknown_token"),
    TokenRevoked: (401, "revoked_token"),
    TokenExpired: (401, "expired_token"),
    TokenWithoutCreator: (401, "token_without_creator"),
    TokenWithoutMember: (401, "token_without_member"),
    OrganizationClosed: (403, "organization_closed"),
    ScopeMissing: (403, "scope_missing"),
    NothingToCall: (403, "nothing_to_call"),
}


@dataclass(slots=True)
class KnownToken:
    """
    A token by its digest: who calls with it until `expires_at`, in seconds since 1970, or why nobody does.

    `note_at` is when its use is to be noted again, by the monotonic clock.
    """

    token_id: int
    organization_id: int
    digest: str
    caller: Caller | None = None
    refused: TokenRefused | None = None
    expires_at: float = math.inf
    note_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class OrganizationSnapshot:
    """
    `tokens` are those that were not revoked, by prefix. It may differ by a change in one of `organizations`: its own,
    and the platform where that lends it a key; or of one of `people`.
    """

    organization_id: int
    tokens: Mapping[str, KnownToken] = field(default_factory=dict)
    organizations: frozenset[int] = frozenset()
    people: frozenset[int] = frozenset()

    def may_differ_by(self, told: Told) -> bool:
        if told.whose is None:
            return True
        return told.whose in (self.people if told.table == PEOPLE else self.organizations)


def refusal(said: TokenRefused) -> CallerRefused:
    status, code = _REFUSALS[type(said)]
    return CallerRefused(str(said), status=status, code=code)


@scope(EVERY, "the token says which organization")
def find_tokens(prefixes: Collection[str]) -> dict[str, KnownToken | int]:
    """
    Whose tokens these are, by prefix, as far as there are such: the organization's id, in whose snapshot it is found,
    or the token itself where it was revoked.
    """
    rows = ApiToken.objects.filter(prefix__in=prefixes).values_list(
        "prefix", "pk", "organization_id", "digest", "revoked_at"
    )
    return {
        prefix: KnownToken(pk, organization_id, digest, refused=TokenRevoked()) if revoked_at else organization_id
        for prefix, pk, organization_id, digest, revoked_at in rows
    }


def read_organization(organization_id: int) -> OrganizationSnapshot:
    """All of it as it stood at one moment."""
    with scope(organization_id, "the organization of a token"), one_moment():
        organization = Organization.objects.filter(pk=organization_id).first()
        if organization is None:
            return OrganizationSnapshot(organization_id, organizations=frozenset({organization_id}))
        accesses = {each.token_id: each for each in CallAccess.objects.for_organization(organization)}
        tokens = ApiToken.objects.for_organization(organization).filter(revoked_at=None).select_related("created_by")
        people = {token.created_by_id for token in tokens} | {each.member_id for each in accesses.values()}
        rights = _Rights(organization, accesses, people)
        return OrganizationSnapshot(
            organization_id,
            tokens={token.prefix: rights.of(token) for token in tokens},
            organizations=frozenset({organization_id, *rights.routes.lenders}),
            people=frozenset(people),
        )


class _Rights:
    """What the tokens of an organization may call."""

    def __init__(self, organization: Organization, accesses: Mapping[int, CallAccess], people: Collection[int]) -> None:
        self._organization, self._accesses, self._now = organization, accesses, clock.now()
        members = Membership.objects.for_organization(organization).filter(user__in=people).select_related("user")
        self._members = {each.user_id: each for each in members}
        self.routes: Routes = read_routes(organization)
        self._named, self._direct = defaultdict(list), defaultdict(list)
        named = CallableAgent.objects.for_organization(organization)
        for access_id, slug in named.values_list("access_id", "agent__slug"):
            self._named[access_id].append(slug)
        direct = DirectKey.objects.for_organization(organization)
        for access_id, provider, key_id in direct.values_list("access_id", "provider", "key_id"):
            self._direct[access_id].append((provider, key_id))

    def of(self, token: ApiToken) -> KnownToken:
        token.organization = self._organization
        known = KnownToken(token.pk, self._organization.pk, token.digest)
        if token.expires_at is not None:
            known.expires_at = token.expires_at.timestamp()
        try:
            known.caller = self._caller(token)
        except TokenRefused as refused:
            known.refused = refused.with_traceback(None)
        return known

    def _caller(self, token: ApiToken) -> Caller:
        """Raises TokenRefused."""
        refuse_ended(token, self._now)
        refuse_unvouched(token, self._members.get(token.created_by_id), Permission.CALL_AGENTS)
        access = self._accesses.get(token.pk)
        if access is None:
            raise NothingToCall
        member = self._members.get(access.member_id)
        if member is None or not member.user.is_active or not may(member, Permission.CALL_AGENTS):
            raise TokenWithoutMember
        named, agents = self._named[access.pk], self.routes.agents
        return Caller(
            token_id=token.pk,
            organization_id=self._organization.pk,
            organization_slug=self._organization.slug,
            member_id=access.member_id,
            may_view=Permission.VIEW in token.scopes and may(self._members[token.created_by_id], Permission.VIEW),
            sees_usd=self._organization.members_see_usd or member.role != Membership.Role.MEMBER,
            agents=agents if access.every_agent else {slug: agents[slug] for slug in named if slug in agents},
            direct={provider: self.routes.direct.get(key_id, REMOVED) for provider, key_id in self._direct[access.pk]},
            allowed_models=frozenset(access.allowed_models),
            limits=CallLimits(access.requests_a_minute, access.tokens_a_minute, access.calls_at_once),
            expires_at=token.expires_at,
            is_bound=access.is_bound,
        )
