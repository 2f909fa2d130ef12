"""A mail server over a real socket, that takes mails or fails in the ways of mail servers."""

from __future__ import annotations

import email
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from email.message import EmailMessage


class SmtpServer(socketserver.ThreadingTCPServer):
    """
    `replies` answers a command ("EHLO", "RCPT", …; "." for the end of a mail) otherwise than with success;
    `{mail}` in an answer quotes what was received, "HANG UP" and "DRIP" do so. `mode` is "hang" (says nothing),
    "drip" (a byte now and then, without end) or "".
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.mode = ""
        self.replies: dict[str, str] = {}
        self.mails: list[tuple[str, EmailMessage]] = []
        self.connections = 0
        self.reached = threading.Event()
        self.over = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def receivers(self) -> list[str]:
        return sorted(address for address, _ in self.mails)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the play."""


class _Session(socketserver.StreamRequestHandler):
    server: SmtpServer

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        server = self.server
        server.connections += 1
        server.reached.set()
        if server.mode == "hang":
            server.over.wait(60)
            return
        while server.mode == "drip" and not server.over.wait(0.05):
            self.wfile.write(b"2")
        self.say(server.replies.get("CONNECT", "220 test.example ESMTP"))
        recipient = ""
        for raw in self.rfile:
            line = raw.decode().strip()
            verb = line.split(" ")[0].upper()
            if verb == "RCPT":
                recipient = line[line.index("<") + 1 : line.index(">")]
            reply = server.replies.get(f"RCPT {recipient}") if verb == "RCPT" else None
            reply = reply or server.replies.get(verb, "250 fine")
            if verb == "DATA" and reply.startswith("250"):
                self.say("354 go on")
                content = b""
                for part in self.rfile:
                    if part == b".\r\n":
                        break
                    content += part
                reply = server.replies.get(".", "250 taken")
                quoted = " ".join(content.decode().split())
                if reply.startswith("250"):
                    message = email.message_from_bytes(content, policy=policy.default)
                    server.mails.append((recipient, message))
                for start in range(0, len(quoted), 400) if "{mail}" in reply else ():
                    self.say(f"{reply[:3]}-{quoted[start : start + 400]}")
                reply = reply.replace("{mail}", "")
            while reply == "DRIP" and not server.over.wait(0.05):
                self.wfile.write(b"2")
            if reply == "HANG UP":
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.say(reply)
            if verb == "QUIT":
                return


@contextmanager
def running() -> Iterator[SmtpServer]:
    server = SmtpServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
