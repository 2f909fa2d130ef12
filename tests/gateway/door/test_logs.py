"""What a server logs of the requests at its doors holds no token."""

from __future__ import annotations

import logging

import pytest

from gateway.door.application import Door, alone
from gateway.snapshots import open_snapshots
from tests.gateway.door.conftest import DoorBefore
from tests.served import served


@pytest.mark.parametrize("name", ["key", "KEY", "%6bey", "ke%79", "+key", "a=1&key"])
def test_no_spelling_of_a_key_in_a_query_is_logged(door: DoorBefore, caplog, name) -> None:
    caplog.set_level(logging.INFO, "uvicorn.access")
    with served(alone(Door(open_snapshots)), lifespan="on", access_log=True) as port:
        door.address = f"http://127.0.0.1:{port}"
        for path in ("/v1beta/models/google-agent:generateContent", "/v1/chat/completions", "/v1beta/nothing"):
            door.send("POST", f"{path}?{name}={door.token}&alt=json", {"contents": []}, authorization="")
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "alt=json" in logged
    assert door.token not in logged
