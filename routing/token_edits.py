"""
What can be changed of a token that clients hold already: its name, its end, and what it calls, how much and with what.

Whoever may make and revoke tokens may edit each of them, as far as they may do all that it may. It acts in the name of
its maker, so nobody else widens its scopes or puts another person in that place: those stay as they were made.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from django.db import transaction

from organizations.api_tokens import TokenNotMade, is_vouched_for, refuse_beyond, refuse_taken_name
from organizations.audit import events_last, record
from organizations.edits import check_seen
from organizations.models import ApiToken, Membership, User
from organizations.permissions import Permission
from organizations.services import lock_members
from providers.models import ProviderKey
from routing.call_access import Access, AccessRefused, check_access, store_access, told_of
from routing.models import Agent, CallAccess, DirectKey

SAME_END = timedelta(minutes=1)  # of two clicks on one button


class TokenNotEditable(TokenNotMade):
    pass


def edit_token(
    *,
    token: ApiToken,
    name: str,
    expires_at: datetime | None,
    access: Access | None,
    actor: User,
    now: datetime,
    seen: str | None = None,
) -> bool:
    """
    `access` is None for a token without the scope to call agents; its member is left as it was. Returns whether there
    was anything to change.

    Raises TokenNotEditable, ScopesRefused, TokenNameTaken, AccessRefused, and ChangedMeanwhile where the token is not
    what the page had `seen`.
    """
    organization = token.organization
    with transaction.atomic(), events_last():
        lock_members(organization)
        tokens = ApiToken.objects.for_organization(organization)
        stored = tokens.select_related("organization", "created_by").get(pk=token.pk)
        had = access_of(stored)
        refuse_fixed(stored, had)
        refuse_beyond(organization, actor, stored.scopes)
        if (access is not None) != (had is not None):
            raise AccessRefused("Its scopes stay, and so does whether it calls anything.", field="scopes")
        if expires_at and stored.expires_at and abs(expires_at - stored.expires_at) < SAME_END:
            expires_at = stored.expires_at
        access = replace(access, member=had.member) if access and had else None
        before = _told(stored.name, stored.expires_at, had)
        changed = {what: is_now for what, is_now in _told(name, expires_at, access).items() if is_now != before[what]}
        if not changed:
            return False
        check_seen(
            seen,
            token_parts(stored, had),
            what=f"the API token “{stored.name}”",
            organization=organization,
            actions=["api_token.edited"],
            target=str(stored),
            reader=actor,
        )
        if expires_at is not None and expires_at <= now:
            raise AccessRefused("It has expired. Choose until when it is to work again.", field="days")
        refuse_taken_name(organization, name, but=stored)
        if not tokens.filter(pk=stored.pk, revoked_at=None).update(name=name, expires_at=expires_at):
            raise _revoked(stored)
        if access and had:
            check_access(organization, access, may_be_of_nothing=had.is_of_nothing)
            _store(stored, access, had)
        stored.name = name
        record(
            organization=organization,
            actor=actor,
            action="api_token.edited",
            target=str(stored),
            **changed,
            **{f"{what}_before": before[what] for what in changed},
        )
    return True


def _store(token: ApiToken, access: Access, had: Access) -> None:
    """A token that is bound, or is not, stays so while it names the same: that its other agent is gone binds none."""
    is_bound = access.is_bound
    if _named(access) == _named(had):
        is_bound = CallAccess.objects.for_organization(token.organization).filter(token=token, is_bound=True).exists()
    store_access(token, access, is_bound=is_bound)


def _named(access: Access) -> tuple[object, ...]:
    return access.every_agent, {agent.pk for agent in access.agents}, {key.pk for key in access.direct_keys}


def refuse_fixed(token: ApiToken, access: Access | None) -> None:
    """Raises TokenNotEditable for one that is refused for good, whatever it would be made."""
    if token.revoked_at is not None:
        raise _revoked(token)
    people = [token.created_by_id, *([access.member.pk] if access else [])]
    rows = Membership.objects.for_organization(token.organization).filter(user__in=people, user__is_active=True)
    members = {each.user_id: each for each in rows}
    maker = members.get(token.created_by_id)
    if maker is None or not is_vouched_for(token, maker):
        raise TokenNotEditable(
            f"Whoever made “{token.name}” is no longer a member, so it is refused whatever it says. Make a new one."
        )
    if access and access.member.pk not in members:
        raise TokenNotEditable(
            f"{access.member.get_full_name()}, in whose name “{token.name}” calls, is no longer a member, so its calls "
            "are refused. Make a new one."
        )


def _revoked(token: ApiToken) -> TokenNotEditable:
    return TokenNotEditable(f"“{token.name}” was revoked, which cannot be taken back. Make a new one.")


def access_of(token: ApiToken) -> Access | None:
    """What a token calls; None for one without the scope to call agents."""
    if Permission.CALL_AGENTS not in token.scopes:
        return None
    organization = token.organization
    stored = CallAccess.objects.for_organization(organization).filter(token=token).select_related("member").first()
    if stored is None:
        return Access(member=token.created_by)
    agents = Agent.objects.for_organization(organization).filter(accesses=stored, archived_at=None)
    direct = DirectKey.objects.for_organization(organization).filter(access=stored).order_by("provider")
    keys: list[ProviderKey] = [each.key for each in direct.select_related("key")]
    return Access(
        member=stored.member,
        every_agent=stored.every_agent,
        agents=list(agents.order_by("name", "pk")),
        direct_keys=keys,
        allowed_models=stored.allowed_models,
        requests_a_minute=stored.requests_a_minute,
        tokens_a_minute=stored.tokens_a_minute,
        calls_at_once=stored.calls_at_once,
    )


def token_parts(token: ApiToken, access: Access | None) -> dict[str, object]:
    """What the form of a token shows."""
    return {"token": _told(token.name, token.expires_at, access)}


def _told(name: str, expires_at: datetime | None, access: Access | None) -> dict[str, str | int | None]:
    in_order = access and replace(
        access,
        agents=sorted(access.agents, key=lambda agent: agent.slug),
        direct_keys=sorted(access.direct_keys, key=lambda key: key.provider),
    )
    return {
        "name": name,
        "expires": f"{expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else "never",
        **(told_of(in_order) if in_order else {}),
    }
