from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from organizations.audit_chain import NO_HASH, hash_of


def chain(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Number and chain the events that are there, in the order in which they were written."""
    AuditEvent = apps.get_model("organizations", "AuditEvent")
    AuditHead = apps.get_model("organizations", "AuditHead")
    for organization_id in AuditEvent.objects.order_by().values_list("organization_id", flat=True).distinct():
        seq, last_hash = 0, NO_HASH
        for event in AuditEvent.objects.filter(organization_id=organization_id).order_by("pk").iterator():
            event.seq, event.prev_hash = seq + 1, last_hash
            event.hash = hash_of(event)
            event.save(update_fields=["seq", "prev_hash", "hash"])
            seq, last_hash = event.seq, event.hash
        AuditHead.objects.create(organization_id=organization_id, seq=seq, hash=last_hash)


def unchain(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("organizations", "AuditHead").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("organizations", "0002_audit_chain")]

    operations = [migrations.RunPython(chain, unchain)]
