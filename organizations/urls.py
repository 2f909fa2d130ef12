from __future__ import annotations

from django.urls import path

from organizations import invitation_views, views

app_name = "organizations"
urlpatterns = [
    path("members/", views.members, name="members"),
    path("members/invite/", invitation_views.invite, name="invite"),
    path("invitations/<int:invitation_id>/send-again/", invitation_views.send_again, name="send-invitation-again"),
    path("invitations/<int:invitation_id>/withdraw/", invitation_views.withdraw, name="withdraw-invitation"),
    path("members/<int:membership_id>/role/", views.change_role, name="change-role"),
    path("members/<int:membership_id>/remove/", views.remove_member, name="remove-member"),
    path("members/leave/", views.leave, name="leave"),
    path("members/usd/", views.save_members_see_usd, name="members-see-usd"),
    path("audit/", views.audit_log, name="audit"),
    path("settings/recency-window/", views.save_recency_window, name="recency-window"),
    path("settings/recency-sharing/", views.save_recency_sharing, name="recency-sharing"),
]
