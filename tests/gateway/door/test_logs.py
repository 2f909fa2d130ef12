"""What a server logs of the requests at its doors holds no token."""

from __future__ import annotations

import logging

import pytest

from tests.gateway.door.conftest import DoorBefore, served_door


@pytest.mark.parametrize("name", ["key", "KEY", "%6bey", "ke%79", "+key", "a=1&key"])
def test_no_spelling_of_a_key_in_a_query_is_logged(door: DoorBefore, caplog, name) -> None:
    caplog.set_level(logging.INFO, "uvicorn.access")
    with served_door(access_log=True) as door.address:
        for path in ("/v1beta/models/google-agent:generateContent", "/v1/chat/completions", "/v1beta/nothing"):
            door.send("POST", f"{path}?{name}={door.token}&alt=json", {"contents": []}, authorization="")
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "alt=json" in logged
    assert door.token not in logged
