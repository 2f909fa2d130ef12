"""What processes of the worker send each other arrives whole, once, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import get_context

import pytest
from django.core.signing import BadSignature

from config.worker.messages import LARGEST_BYTES, TOO_LARGE, MessageQueue


def test_messages_arrive_in_their_order_and_each_once():
    queue = MessageQueue()
    for number in range(3):
        queue.put({"ack_id": number})

    assert not queue.empty()
    assert [queue.get()["ack_id"] for _ in range(3)] == [0, 1, 2]
    assert queue.empty()


def test_a_result_that_is_too_large_is_left_out_and_the_rest_arrives():
    queue = MessageQueue()

    queue.put({"ack_id": 1, "success": False, "result": "x" * LARGEST_BYTES})

    assert queue.get() == {"ack_id": 1, "success": False, "result": TOO_LARGE}


def test_what_was_not_signed_is_not_read():
    queue = MessageQueue()
    queue._writer.send(b"gASVBgAAAAAAAABdlC4=")

    with pytest.raises(BadSignature):
        queue.get()


def test_readers_that_are_killed_while_they_wait_leave_the_queue_to_the_others():
    queue = MessageQueue()
    readers = [get_context("fork").Process(target=queue.get) for _ in range(5)]
    for reader in readers:
        reader.start()
    time.sleep(0.2)  # until some of them read; the promise holds whether they do or not
    for reader in readers:
        assert reader.pid
        os.kill(reader.pid, signal.SIGKILL)
        reader.join()

    queue.put("STOP")

    assert queue.get() == "STOP"
