from __future__ import annotations

from django.urls import path

from candidates.views import advisor, briefing_model, briefings, candidates, checks, runs, trials

app_name = "candidates"
urlpatterns = [
    path("candidates/", candidates.candidate_list, name="list"),
    path("candidates/import/", candidates.import_candidates, name="import"),
    path("candidates/<int:candidate_id>/", candidates.candidate_detail, name="detail"),
    path("briefings/", briefings.briefing_list, name="briefings"),
    path("briefings/new/", briefings.new_briefing, name="briefing-new"),
    path("briefings/<int:briefing_id>/", briefings.briefing_page, name="briefing"),
    path("briefings/<int:briefing_id>/draft/", briefings.draft_again, name="briefing-draft"),
    path("briefings/<int:briefing_id>/version/", briefings.copy_briefing, name="briefing-version"),
    path("briefings/<int:briefing_id>/model/", briefing_model.briefing_model, name="briefing-model"),
    path("briefings/<int:briefing_id>/archive/", briefings.archive, name="briefing-archive"),
    path("briefings/<int:briefing_id>/bring-back/", briefings.bring_back, name="briefing-bring-back"),
    path("briefings/<int:briefing_id>/delete/", briefings.delete, name="briefing-delete"),
    path("briefings/<int:briefing_id>/quote/", runs.show_quote, name="quote"),
    path("briefings/<int:briefing_id>/run/", runs.run_checks, name="run"),
    path("briefings/<int:briefing_id>/progress/", runs.show_progress, name="progress"),
    path("briefings/<int:briefing_id>/trials/", trials.trials, name="trials"),
    path("trials/<uuid:trial_id>/", trials.trial_page, name="trial"),
    path("consumption/advisor/", advisor.advisor_page, name="advisor"),
    path("checks/", checks.check_list, name="checks"),
    path("checks/<uuid:check_id>/", checks.check_page, name="check"),
    path("checks/<uuid:check_id>/again/", checks.check_again, name="check-again"),
]
