from __future__ import annotations

from django.urls import path

from providers import views

app_name = "providers"
urlpatterns = [
    path("settings/keys/rotate/", views.rotate_organization_key, name="rotate-organization-key"),
    path("settings/keys/<slug:provider>/save/", views.save, name="save"),
    path("settings/keys/<uuid:key_id>/replace/", views.replace, name="replace"),
    path("settings/keys/<uuid:key_id>/disable/", views.disable, name="disable"),
    path("settings/keys/<uuid:key_id>/enable/", views.enable, name="enable"),
    path("settings/keys/<uuid:key_id>/replacement/validate/", views.validate_replacement, name="validate-replacement"),
    path("settings/keys/<uuid:key_id>/replacement/discard/", views.discard_replacement, name="discard-replacement"),
    path("settings/keys/<uuid:key_id>/validate/", views.validate, name="validate"),
    path("settings/keys/<uuid:key_id>/proof/", views.prove, name="prove"),
    path("settings/keys/<uuid:key_id>/own-server/", views.own_server, name="own-server"),
    path("settings/keys/<uuid:key_id>/status/", views.status, name="status"),
    path("settings/keys/<uuid:key_id>/models/", views.models, name="models"),
    path("settings/keys/<uuid:key_id>/models/ask-anew/", views.forget_quirks, name="forget-quirks"),
]
