from __future__ import annotations

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter


class ErrorReportFilter(SafeExceptionReporterFilter):
    """Django's own lets go under DEBUG, where `@sensitive_variables` then hides nothing: a pasted key least of all."""

    def is_active(self, request: HttpRequest | None) -> bool:
        return True
