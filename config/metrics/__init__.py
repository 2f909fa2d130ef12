"""Figures for who operates the installation: `/metrics`, which is there where a token for it is set."""

from __future__ import annotations

from django.conf import settings

from gateway.door.application import Door
from gateway.door.asgi import Application


def with_metrics(application: Application, door: Door) -> Application:
    """Both answer under one address; without a token nothing more is loaded."""
    if not settings.KEYFARE_METRICS_TOKEN:
        return application
    from config.metrics.exposition import Metrics

    return Metrics(application, door, settings.KEYFARE_METRICS_TOKEN)
