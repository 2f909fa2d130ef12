from django.apps import AppConfig


class CandidatesConfig(AppConfig):
    name = "candidates"
    verbose_name = "Checks"

    def ready(self) -> None:
        from candidates import briefing_models
        from routing.own_models import declare

        declare(briefing_models)
