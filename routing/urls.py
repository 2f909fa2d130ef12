from __future__ import annotations

from django.urls import path

from routing import views

app_name = "routing"
urlpatterns = [
    path("settings/routing/", views.table, name="table"),
    path("settings/routing/save/", views.save, name="save"),
    path("settings/routing/<slug:action>/model/", views.model_field, name="model-field"),
    path("settings/routing/<slug:action>/reset/", views.reset, name="reset"),
    path("settings/keys/<uuid:key_id>/use/", views.use_key, name="use-key"),
    path("settings/keys/<uuid:key_id>/remove/", views.remove_key, name="remove-key"),
]
