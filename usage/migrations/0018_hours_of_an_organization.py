from django.db import migrations


class Migration(migrations.Migration):
    """PostgreSQL took the index for the hours of one organization, and read everybody's to find them."""

    dependencies = [("usage", "0017_anomalies_told_together")]
    operations = [migrations.RemoveIndex("usagehourly", "usage_hourly_by_age")]
