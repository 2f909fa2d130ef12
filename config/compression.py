"""
Pages travel compressed.

Compressed beside what a client chose, a secret can be guessed from the length of many answers (BREACH). Django masks
the token of each form anew and pads each answer by a random length; the session's cookie, SameSite, comes with no
request that another site makes unseen. What all that would still have to protect stays uncompressed: the pages that
show the same seed or recovery codes again and again. The API answers to a token that no browser sends by itself.
"""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.urls import reverse


class CompressedPages(GZipMiddleware):
    """Below WhiteNoise, whose files are compressed when they are collected; above all that looks into a page."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        # What is streamed is there to be read at once.
        if response.streaming or request.path_info.startswith(reverse("mfa_index")):
            return response
        return super().process_response(request, response)
