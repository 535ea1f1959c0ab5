"""How the client goes on when the server cannot take a request at once."""

from __future__ import annotations

import json

import pytest

from soundloom.client.protocol import ATTEMPTS, Answer, Call, Pause, ask
from soundloom.errors import ServerError

FULL = Answer(429, {"retry-after": "2"}, json.dumps({"type": "queue-full-error", "detail": "200 jobs wait"}).encode())


def test_a_full_queue_is_asked_again_and_said_once(caplog):
    call, steps = Call("POST", "/v1/jobs"), ask(Call("POST", "/v1/jobs"))
    assert next(steps) == call
    for _ in range(2):
        assert steps.send(FULL).seconds >= 2  # as the server says
        assert next(steps) == call
    with pytest.raises(StopIteration) as found:
        steps.send(Answer(202, {}, b"{}"))
    assert found.value.value.status == 202
    assert [record.message for record in caplog.records] == [
        "the queue of the server is full; trying again for a while"
    ]


def test_a_queue_that_stays_full_is_an_error():
    steps = ask(Call("POST", "/v1/jobs"))
    next(steps)
    with pytest.raises(ServerError, match="200 jobs wait"):
        for _ in range(ATTEMPTS):
            assert isinstance(steps.send(FULL), Pause)
            next(steps)
