from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate, pre_migrate


class GatewayConfig(AppConfig):
    name = "gateway"

    def ready(self) -> None:
        pre_migrate.connect(_let_tables_be_made_anew, sender=self)
        post_migrate.connect(_tell_of_changes, sender=self)


def _let_tables_be_made_anew(*, using: str, plan: list[Any], **kwargs: Any) -> None:
    from gateway.change_triggers import remove

    if plan and connections[using].vendor == "sqlite":
        remove(connections[using])


def _tell_of_changes(*, using: str, **kwargs: Any) -> None:
    """Unless the migrations ended at an earlier version."""
    from gateway.change_triggers import MARKS, are_at_work, install

    connection = connections[using]
    has_marks = MARKS in connection.introspection.table_names()
    if has_marks and (connection.vendor == "sqlite" or not are_at_work(connection)):
        install(connection)
