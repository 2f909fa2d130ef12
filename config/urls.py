from __future__ import annotations

import allauth.urls
from django.contrib import admin
from django.urls import include, path

from config import anatomy, anomaly_views, export_views, forecast_page, metrics_views, overview, views
from config.api import api_urls
from config.asked_at_once import take_turns
from organizations import email_change_views, invitation_views

take_turns(allauth.urls.urlpatterns)

handler400 = "config.error_pages.bad_request"
handler404 = "config.error_pages.not_found"
handler500 = "config.error_pages.crashed"

urlpatterns = [
    path("", views.home, name="home"),
    path("settings", views.current_settings, name="current-settings"),
    path("settings/<slug:section>", views.current_settings, name="current-settings-section"),
    path("o/<slug:slug>/", overview.overview, name="overview"),
    path("o/<slug:slug>/failed-checks/", overview.failed_checks, name="failed-checks"),
    path("o/<slug:slug>/settings", views.settings_page, name="settings"),
    path("o/<slug:slug>/settings/<slug:section>", views.settings_section, name="settings-section"),
    path("o/<slug:slug>/credits/", views.credits_page, name="credits"),
    path("o/<slug:slug>/consumption/", metrics_views.consumption_page, name="consumption"),
    path("o/<slug:slug>/consumption/views/", metrics_views.save_view, name="save-view"),
    path("o/<slug:slug>/consumption/views/<int:view_id>/delete/", metrics_views.delete_view, name="delete-view"),
    path("o/<slug:slug>/consumption/calls/", metrics_views.calls_page, name="calls"),
    path("o/<slug:slug>/consumption/calls/<uuid:call_id>/", metrics_views.call_page, name="call"),
    path("o/<slug:slug>/consumption/runs/", metrics_views.runs_page, name="runs"),
    path("o/<slug:slug>/usage/", metrics_views.calls_of_before, name="calls-of-before"),
    path("o/<slug:slug>/usage/calls/<uuid:call_id>/", metrics_views.call_of_before, name="call-of-before"),
    path("o/<slug:slug>/consumption/anatomy/", anatomy.anatomy_page, name="anatomy"),
    path("o/<slug:slug>/consumption/export/", export_views.export_page, name="export"),
    path("o/<slug:slug>/consumption/export/file/", export_views.export_file, name="export-file"),
    path("o/<slug:slug>/consumption/forecast/", forecast_page.forecast_page, name="forecast"),
    path("o/<slug:slug>/consumption/anomalies/", anomaly_views.anomalies, name="anomalies"),
    path("o/<slug:slug>/consumption/anomalies/<int:anomaly_id>/expect", anomaly_views.expect, name="expect-anomaly"),
    path("o/<slug:slug>/consumption/anomalies/webhook", anomaly_views.save_webhook, name="anomaly-webhook"),
    path(
        "o/<slug:slug>/consumption/anomalies/webhook/remove",
        anomaly_views.remove_webhook,
        name="remove-anomaly-webhook",
    ),
    path(
        "o/<slug:slug>/consumption/anomalies/<int:anomaly_id>/raise",
        anomaly_views.no_longer_expect,
        name="raise-anomaly",
    ),
    path("o/<slug:slug>/guide/candidate-checks/", views.guide_page, {"name": "candidate-checks"}, name="guide-checks"),
    path("o/<slug:slug>/guide/api/", views.guide_page, {"name": "api"}, name="guide-api"),
    path("o/<slug:slug>/guide/exports/", views.guide_page, {"name": "exports"}, name="guide-exports"),
    path("o/<slug:slug>/guide/byok/", views.guide_page, {"name": "byok"}, name="guide-byok"),
    path("admin/", admin.site.urls),
    path("api/v1/", api_urls()),
    path("accounts/", include("allauth.urls")),
    path("invitations/accept/", invitation_views.accept, name="accept-invitation"),
    path("invitations/<str:token>/", invitation_views.follow_link, name="invitation"),
    path("email-change/", email_change_views.answer, name="answer-email-change"),
    path("email-change/<str:token>/", email_change_views.follow_link, name="email-change"),
    path("o/<slug:slug>/", include("organizations.urls")),
    path("o/<slug:slug>/", include("providers.urls")),
    path("o/<slug:slug>/", include("routing.urls")),
    path("o/<slug:slug>/", include("candidates.urls")),
]
