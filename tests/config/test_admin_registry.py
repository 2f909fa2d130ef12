from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib import admin

OURS = {"organizations", "usage", "billing", "providers", "routing", "candidates"}
MODELS = [model for model in apps.get_models() if model._meta.app_label in OURS]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_model_stands_in_the_admin_and_can_be_searched(as_staff, model):
    options = model._meta

    assert admin.site.is_registered(model)
    assert admin.site.get_model_admin(model).search_fields
    page = as_staff.get(f"/admin/{options.app_label}/{options.model_name}/", {"q": "x"})
    assert page.status_code == 200
