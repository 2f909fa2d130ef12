import resource

from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    name = "providers"
    verbose_name = "Providers and routing"

    def ready(self) -> None:
        from providers.catalog import PROVIDERS
        from providers.custody import system_checks  # noqa: F401  # registers the system checks
        from usage.names import name_providers

        name_providers({provider.slug: provider.name for provider in PROVIDERS.values()})

        # Whatever process this is may hold an opened key: if it crashes, its memory is not written to a file.
        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))
