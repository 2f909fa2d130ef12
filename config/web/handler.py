"""Django as it is served: a request runs in one thread, from the first middleware to the last."""

from __future__ import annotations

import warnings
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.db import connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase

# Of WhiteNoise's files, which Django reads in threads: nothing to do about it.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")


class OneThreadHandler(ASGIHandler):
    """
    Django's own handler changes threads between middlewares and makes error pages in threads of the event loop, whose
    connections nobody gives back and whose scope (organizations/tenancy.py) is an earlier request's. All our
    middlewares and views are synchronous: here they run as they do under WSGI.
    """

    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        return await sync_to_async(self.get_response)(request)

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().handle(scope, receive, send)
        except BaseException:
            # Where sending the answer fails, Django ends the request without giving back its connection.
            await sync_to_async(connections.close_all)()
            raise
