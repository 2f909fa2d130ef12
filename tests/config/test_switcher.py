from __future__ import annotations

import re

from django.utils import timezone

from organizations.models import Membership

Role = Membership.Role


def switcher(client, path: str = "/o/acme/") -> str:
    found = re.search(r'<details class="menu switcher">.*?</details>', client.get(path).content.decode(), re.DOTALL)
    return found[0] if found else ""


def test_who_belongs_to_several_organizations_switches_by_plain_links(as_alice, alice, acme, globex):
    Membership.objects.create(organization=globex, user=alice, role=Role.MEMBER)

    menu = switcher(as_alice)

    assert "<summary>" in menu  # opened by keyboard, without scripts
    assert re.findall(r'href="([^"]+)"', menu) == ["/o/acme/", "/o/globex/"]
    assert re.findall(r'href="([^"]+)" aria-current="true"', menu) == ["/o/acme/"]
    assert 'aria-current="true"' in switcher(as_alice, "/o/globex/").partition("/o/globex/")[2]


def test_the_organization_last_visited_is_where_the_next_visit_starts(as_alice, alice, globex):
    Membership.objects.create(organization=globex, user=alice, role=Role.MEMBER)

    as_alice.get("/o/globex/")

    assert as_alice.get("/").url == "/o/globex/"


def test_there_is_nothing_to_switch_with_one_organization(as_alice, globex):
    assert switcher(as_alice) == ""
    assert "Globex" not in as_alice.get("/o/acme/").content.decode()


def test_closed_organizations_are_not_offered(as_alice, alice, globex):
    Membership.objects.create(organization=globex, user=alice, role=Role.MEMBER)
    globex.closed_at = timezone.now()
    globex.save()

    assert switcher(as_alice) == ""
    assert as_alice.get("/o/globex/").status_code == 404
