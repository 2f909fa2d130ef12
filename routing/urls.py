from __future__ import annotations

from django.urls import path

from routing import agent_views, api_token_views, model_pages, rule_views, views, what_if_page

app_name = "routing"
urlpatterns = [
    path("settings/routing/", views.table, name="table"),
    path("settings/routing/save/", views.save, name="save"),
    path("settings/routing/<slug:action>/model/", views.model_field, name="model-field"),
    path("settings/routing/<slug:action>/estimate/", what_if_page.estimate, name="estimate"),
    path("settings/routing/<slug:action>/reset/", views.reset, name="reset"),
    path("settings/routing/<slug:action>/rule/", rule_views.rule, name="rule"),
    path("settings/routing/<slug:action>/rule/save/", rule_views.save, name="save-rule"),
    path("settings/routing/<slug:action>/pause/", rule_views.pause, name="pause"),
    path("settings/routing/<slug:action>/resume/", rule_views.resume, name="resume"),
    path("settings/keys/<uuid:key_id>/use/", views.use_key, name="use-key"),
    path("settings/keys/<uuid:key_id>/remove/", views.remove_key, name="remove-key"),
    path("consumption/what-if/", what_if_page.what_if, name="what-if"),
    path("models/", model_pages.models, name="models"),
    path("models/told/", model_pages.read_notice, name="read-notice"),
    path("models/<slug:provider>/", model_pages.provider, name="provider-models"),
    path("agents/", agent_views.agents, name="agents"),
    path("agents/new/", agent_views.new, name="new-agent"),
    path("agents/<slug:agent>/", agent_views.agent, name="agent"),
    path("agents/<slug:agent>/edit/", agent_views.edit, name="edit-agent"),
    path("agents/<slug:agent>/route/", agent_views.route, name="route-agent"),
    path("agents/<slug:agent>/archive/", agent_views.archive, name="archive-agent"),
    path("agents/<slug:agent>/bring-back/", agent_views.bring_back, name="bring-back-agent"),
    path("api-tokens/", api_token_views.api_tokens, name="api-tokens"),
    path("api-tokens/new/", api_token_views.make, name="make-api-token"),
    path("api-tokens/<int:token_id>/edit/", api_token_views.edit, name="edit-api-token"),
    path("api-tokens/<int:token_id>/revoke/", api_token_views.revoke, name="revoke-api-token"),
]
