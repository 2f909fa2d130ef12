"""What the pages and e-mails say of a server that an organization runs itself, whose keys no page makes."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from providers.keys.notices import remind_key_rotation
from providers.models import ProviderKey
from tests.builders import connect_key

pytestmark = pytest.mark.usefixtures("simulated_providers")
SETTINGS = "/o/acme/settings"


def aged(key: ProviderKey) -> ProviderKey:
    ProviderKey.objects.filter(pk=key.pk).update(created_at=timezone.now() - timedelta(days=200))
    return key


def main_of(response) -> str:
    return response.content.decode().partition("<main")[2]


def test_nobody_is_reminded_to_replace_a_key_that_a_server_does_not_have(as_alice, acme):
    aged(connect_key(acme, "ollama"))

    assert "In use for 200 days" not in main_of(as_alice.get(SETTINGS))
    assert remind_key_rotation(now=timezone.now()) == 0


def test_the_key_of_a_server_is_asked_for_where_it_is_made_by_a_person(as_alice, acme):
    key = aged(connect_key(acme, "openai_compatible"))
    pages = [as_alice.get(SETTINGS), as_alice.get(f"{SETTINGS}/keys/{key.pk}/remove/")]
    reminded = remind_key_rotation(now=timezone.now())

    assert "Ask who runs the server for a new key" in main_of(pages[0])
    for page in pages:
        assert not re.search(r'href=""', main_of(page))
    assert reminded == 1
    assert "Ask who runs the server for a new one" in mail.outbox[0].body


def test_removing_a_server_says_that_the_server_itself_stays(as_alice, acme):
    server = connect_key(acme, "ollama")
    page = main_of(as_alice.get(f"{SETTINGS}/keys/{server.pk}/remove/"))

    assert "The server itself stays as it is." in page
    assert 'href=""' not in page


def test_a_server_that_answers_can_be_routed_to_and_the_page_says_so(as_alice, acme):
    connect_key(acme, "ollama")
    connect_key(acme, "openai_compatible")
    page = main_of(as_alice.get(SETTINGS))

    assert "The server answers. Actions can be routed to it." in page
    assert "The server accepts this key. Actions can be routed to it." in page
