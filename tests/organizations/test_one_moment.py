from __future__ import annotations

import threading

import pytest
from django.db import connection, transaction

from organizations.models import Organization
from organizations.one_moment import one_moment


def rename(name: str) -> None:
    """In another session."""

    def save() -> None:
        with transaction.atomic():
            Organization.objects.update(name=name)
        connection.close()

    thread = threading.Thread(target=save)
    thread.start()
    thread.join()


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_who_reads_and_nothing_changes_for_them(acme):
    with one_moment() as is_whole:
        assert is_whole
        assert Organization.objects.get().name == "Acme"
        rename("Renamed")
        assert Organization.objects.get().name == "Acme"

    assert Organization.objects.get().name == "Renamed"


@pytest.mark.django_db
def test_inside_another_transaction_it_promises_nothing(acme):
    with one_moment() as is_whole:
        assert not is_whole
