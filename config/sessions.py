"""Sessions whose cookie was never one of ours cost no query."""

from __future__ import annotations

import re

from django.conf import settings
from django.contrib.sessions.backends.base import VALID_KEY_CHARS
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest

KEY = re.compile(rf"[{VALID_KEY_CHARS}]{{32}}")


class SessionsByForm(SessionMiddleware):
    def process_request(self, request: HttpRequest) -> None:
        key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
        request.session = self.SessionStore(key if KEY.fullmatch(key) else None)
