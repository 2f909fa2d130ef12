from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "routing"
    verbose_name = "Providers and routing"

    def ready(self) -> None:
        from routing.actions import ACTIONS, DIRECT, DIRECT_NAME, TRIAL, TRIAL_NAME
        from usage.names import name_actions

        built_in = {action.slug: action.name for action in ACTIONS.values()}
        name_actions({**built_in, DIRECT: DIRECT_NAME, TRIAL: TRIAL_NAME})
