"""What `benchmarks.pages` fills its databases with is an installation like any other, and all its pages answer."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from benchmarks import pages_once, volume
from benchmarks.people import people_files
from candidates.profiles.files import parse_file
from candidates.profiles.importing import import_profiles
from organizations.models import Organization
from tests import serving_role

TINY = volume.Scale(own_calls=40, others=2, calls_of_others=20, people=30, checks=20, holds=40, audit_events=10)


@pytest.fixture
def filled(db, tmp_path):
    with serving_role.as_owner():
        volume.begin(TINY)
        for file in people_files(tmp_path, TINY.people):
            organization = Organization.objects.get(slug=volume.SLUG)
            import_profiles(organization=organization, rows=parse_file(file.read_bytes()), actor=None)
        volume.fill(TINY)
        call_command("roll_up_usage", verbosity=0)


def test_the_ledger_and_the_audit_log_of_the_volume_hold(filled, capsys):
    call_command("verify_ledger")
    call_command("verify_audit")


def test_every_page_that_is_measured_answers(filled):
    for client, addresses in pages_once.everybodys_pages():
        for address in addresses.values():
            assert pages_once.ask(client, address).status_code == 200, address
