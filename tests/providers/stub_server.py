"""A server of one's own on a real port, which answers what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, object]
Answering = Callable[[dict[str, object]], Answer]  # by what was asked
ANSWERED: Answer = (
    200,
    {
        "id": "chatcmpl-1",
        "model": "m",
        "choices": [{"message": {"role": "assistant", "content": "OK"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 2},
    },
)


@dataclass
class Stub:
    """`answers` by path; what has none is a 404 without a body. `seen` holds the paths and the bodies of requests."""

    address: str = ""
    answers: dict[str, Answer | Answering] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    @property
    def chats(self) -> list[dict[str, object]]:
        return [body for path, body in self.seen if path.endswith("/chat/completions")]


@contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            sent = self.rfile.read(length)
            asked = json.loads(sent) if sent else {}
            stub.seen.append((self.path, asked))
            answer = stub.answers.get(self.path, (404, b""))
            status, content = answer(asked) if callable(answer) else answer
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **stub.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
