from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0007_base_urls_and_private_endpoints")]

    operations = [
        migrations.RemoveConstraint(model_name="keyvalidation", name="one_queued_validation_a_key"),
        migrations.AddConstraint(
            model_name="keyvalidation",
            constraint=models.UniqueConstraint(
                fields=["organization", "key"], condition=models.Q(state="queued"), name="one_queued_validation_a_key"
            ),
        ),
    ]
