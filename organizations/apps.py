from django.apps import AppConfig


class OrganizationsConfig(AppConfig):
    name = "organizations"

    def ready(self) -> None:
        from django.db.backends.signals import connection_created

        from organizations import tenancy

        connection_created.connect(tenancy.on_connection)
