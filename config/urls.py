from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.urls")),
    path("o/<slug:slug>/", include("organizations.urls")),
    path("o/<slug:slug>/", include("usage.urls")),
    path("o/<slug:slug>/", include("billing.urls")),
    path("o/<slug:slug>/", include("providers.urls")),
    path("o/<slug:slug>/", include("routing.urls")),
    path("o/<slug:slug>/", include("candidates.urls")),
]
