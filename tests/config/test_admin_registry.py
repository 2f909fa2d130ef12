from __future__ import annotations

import uuid

import pytest
from django.apps import apps
from django.contrib import admin
from django.urls import reverse

OURS = {"organizations", "usage", "billing", "providers", "routing", "candidates"}
MODELS = [model for model in apps.get_models() if model._meta.app_label in OURS]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_model_stands_in_the_admin_and_can_be_searched(as_staff, model):
    options = model._meta

    assert admin.site.is_registered(model)
    assert admin.site.get_model_admin(model).search_fields
    page = as_staff.get(f"/admin/{options.app_label}/{options.model_name}/", {"q": "x"})
    assert page.status_code == 200


BY_ID = [
    pattern
    for model_admin in admin.site._registry.values()
    for pattern in model_admin.get_urls()
    if list(pattern.pattern.converters) == ["object_id"] and pattern.name
]


@pytest.mark.parametrize("pattern", BY_ID, ids=lambda pattern: pattern.name)
def test_an_address_of_nothing_is_no_server_error(as_staff, pattern):
    for pk in ("nonsense", "987654321", str(uuid.UUID(int=1)), "\0", "9" * 40):
        response = as_staff.get(reverse(f"admin:{pattern.name}", args=[pk]))

        assert response.status_code < 500, (pk, response.status_code)
