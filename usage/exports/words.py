"""
Names that the files show beside ids. They may change where they come from; a sealed month keeps those of its files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from organizations.models import ApiToken, Membership, Organization
from organizations.tenancy import scope
from usage import names


class Words:
    def __init__(self, *, account: tuple[str, str], tokens: Mapping[str, str], members: Mapping[str, str]) -> None:
        """`account` is slug and name of the organization; the others are by id. Of who is gone nothing is known."""
        self.account = account
        self._tokens = tokens
        self._members = members
        self._providers: Mapping[str, str] | None = None
        self._used: dict[str, dict[str, str]] = {"tokens": {}, "members": {}, "providers": {}}

    @classmethod
    def of_today(cls, organization: Organization) -> Words:
        with scope(organization, "names in an export of the organization"):
            tokens = ApiToken.objects.for_organization(organization).values_list("pk", "name")
            members = Membership.objects.for_organization(organization).values_list("user_id", "user__email")
            return cls(
                account=(organization.slug, organization.name),
                tokens={str(pk): name for pk, name in tokens},
                members={str(pk): email for pk, email in members},
            )

    @classmethod
    def of_seal(cls, pinned: Mapping[str, Any]) -> Words:
        slug, name = pinned["account"]
        words = cls(account=(slug, name), tokens=pinned["tokens"], members=pinned["members"])
        words._providers = pinned["providers"]
        return words

    def pin(self) -> dict[str, Any]:
        """What was asked for, to be kept."""
        return {"account": list(self.account), **self._used}

    def token(self, pk: int | None) -> str:
        return self._used_of("tokens", str(pk), self._tokens.get(str(pk), ""))

    def member(self, pk: int | None) -> str:
        return self._used_of("members", str(pk), self._members.get(str(pk), ""))

    def provider(self, slug: str) -> str:
        name = names.provider_name(slug) if self._providers is None else self._providers.get(slug, slug)
        return self._used_of("providers", slug, name)

    def _used_of(self, kind: str, key: str, name: str) -> str:
        if name:
            self._used[kind][key] = name
        return name
