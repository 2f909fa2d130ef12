"""
What is asked for twice, by a double click or a retry, is done once: the second asker gets what the first one got.

Programs send an Idempotency-Key. A form carries a random token that is made with the page (`{% once %}`), so a page
posts the same thing once; posting something else from it, say after a step back, is another request.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction
from django.http import HttpRequest

from organizations.models import DoneRequest, Organization

FORM = "form"  # the purpose of what people post
FIELD = "once"
TOKEN = re.compile(r"[0-9a-f]{32}")


class KeyReused(Exception):
    """The key was used before, for something else."""

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used before with another body. Give every request a key of its own.")


@dataclass(frozen=True, slots=True)
class Once:
    """A request that is carried out once: what it is for, its key, and the SHA-256 of what it asks for."""

    purpose: str
    key: str
    body_digest: str


def once_of_form(request: HttpRequest) -> Once | None:
    """What a form asks for; None for one without a token, which asks for something new each time."""
    token = request.POST.get(FIELD, "")
    if not TOKEN.fullmatch(token):
        return None
    fields = sorted((name, values) for name, values in request.POST.lists() if name != "csrfmiddlewaretoken")
    digest = hashlib.sha256(json.dumps([request.path, fields]).encode()).hexdigest()
    return Once(FORM, key=f"{token}:{digest}", body_digest=digest)


def earlier_result(*, organization: Organization, once: Once) -> str | None:
    """What came of the request before. Raises KeyReused."""
    done = DoneRequest.objects.for_organization(organization).filter(purpose=once.purpose, key=once.key).first()
    if done is None:
        return None
    if done.body_digest != once.body_digest:
        raise KeyReused
    return done.result


def do_once(*, organization: Organization, once: Once | None, act: Callable[[], str]) -> str:
    """
    What `act` returns, or what it returned when it was carried out under `once` before. Raises KeyReused.

    One transaction, in which requests of the organization take turns; what `act` raises leaves the key unused.
    """
    with transaction.atomic():
        if once is None:
            return act()
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        earlier = earlier_result(organization=organization, once=once)
        if earlier is not None:
            return earlier
        result = act()
        DoneRequest.objects.create(
            organization=organization,
            purpose=once.purpose,
            key=once.key,
            body_digest=once.body_digest,
            result=result,
        )
        return result
