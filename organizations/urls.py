from __future__ import annotations

from django.urls import path

from organizations import views

app_name = "organizations"
urlpatterns = [
    path("members/", views.members, name="members"),
    path("members/add/", views.add_member, name="add-member"),
    path("members/<int:membership_id>/role/", views.change_role, name="change-role"),
    path("members/<int:membership_id>/remove/", views.remove_member, name="remove-member"),
    path("audit/", views.audit_log, name="audit"),
    path("settings/recency-window/", views.save_recency_window, name="recency-window"),
]
