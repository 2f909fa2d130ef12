from django.apps import AppConfig
from django.db.models.signals import post_save


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        from allauth.account.signals import email_changed

        import config.lookups  # noqa: F401  # registers them
        from config.account_events import address_changed

        email_changed.connect(address_changed)
        self._guard_tasks()
        self._accept_codes_once()

    def _accept_codes_once(self) -> None:
        """At every door of allauth's that takes a code of an authenticator app."""
        from allauth.mfa.totp.internal import auth, flows

        from config.one_time_codes import OneTimeTOTP

        auth.TOTP = flows.TOTP = OneTimeTOTP

    def _guard_tasks(self) -> None:
        """Wherever tasks are queued, run or recorded: only ours, started by our clock, and no hook after them."""
        from django_q import cluster, signals
        from django_q.models import Task

        from config.own_tasks import refuse_foreign
        from config.schedules import start_due_jobs

        cluster.scheduler = start_due_jobs
        signals.pre_enqueue.connect(refuse_foreign)
        post_save.disconnect(signals.call_hook, sender=Task)
