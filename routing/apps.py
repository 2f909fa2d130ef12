from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "routing"

    def ready(self) -> None:
        from routing.actions import ACTIONS
        from usage.names import name_actions

        name_actions({action.slug: action.name for action in ACTIONS.values()})
