"""
Error reports, as mailed to ADMINS and shown under DEBUG, without anything that could be a key.

Django's own reports hold the variables of every frame, the fields that were posted and the settings; its
`sensitive_variables` helps with none of them under DEBUG. Here they hold the traceback with its lines of code, the
kind of request, and the names of what was posted. Whatever looks like a key, or equals a posted secret, is crossed
out of the rest: of the exception's message above all.
"""

from __future__ import annotations

from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString, mark_safe
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from config.redaction import CROSSED_OUT, posted, posted_secrets, redacted

SHOWN_OF_REQUEST = (
    "REQUEST_METHOD",
    "PATH_INFO",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "HTTP_HOST",
    "HTTP_HX_REQUEST",
    "HTTP_USER_AGENT",
    "REMOTE_ADDR",
)


class HideValues(SafeExceptionReporterFilter):
    """No variables, no posted values, no settings; with DEBUG on as well."""

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_safe_settings(self) -> dict[str, Any]:
        return {}

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        return dict.fromkeys(posted(request), CROSSED_OUT)

    def get_safe_request_meta(self, request: HttpRequest) -> dict[str, Any]:
        """Development servers put the whole environment of the process there."""
        meta = getattr(request, "META", {})
        return {name: meta[name] for name in SHOWN_OF_REQUEST if name in meta}

    def get_safe_cookies(self, request: HttpRequest) -> dict[str, Any]:
        return dict.fromkeys(getattr(request, "COOKIES", {}), CROSSED_OUT)

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> ItemsView[str, Any]:
        return {}.items()


class RedactedReport(ExceptionReporter):
    def get_traceback_data(self) -> dict[str, Any]:
        report: dict[str, Any] = super().get_traceback_data()
        report["unicode_hint"] = ""  # a piece of the text that could not be encoded
        if self.request is not None:
            report["request_GET_items"] = dict.fromkeys(self.request.GET, CROSSED_OUT).items()
            report["request_insecure_uri"] = self.request.path
        return report

    def get_traceback_html(self) -> SafeString:
        return mark_safe(redacted(super().get_traceback_html(), posted_secrets(self.request)))  # noqa: S308  # was escaped before

    def get_traceback_text(self) -> SafeString:
        return mark_safe(redacted(super().get_traceback_text(), posted_secrets(self.request)))  # noqa: S308  # plain text
