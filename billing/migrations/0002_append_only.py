from django.db import migrations

from organizations.append_only import protect


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]

    operations = [protect("billing_ledgerentry")]
