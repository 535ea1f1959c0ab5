"""Streams of events: no event comes twice, whenever it is stored."""

from __future__ import annotations

import asyncio
import re

from soundloom.serving.http.events import _stream
from soundloom.serving.server import Server, ServerSettings
from soundloom.serving.storage.events import add_event


def test_an_event_that_is_stored_while_a_stream_resumes_comes_once(tmp_path):
    async def read():
        server = Server(ServerSettings(tmp_path, {}))
        call = server.dispatcher.call

        async def call_while_others_publish(function):
            event = await call(lambda connection: add_event(connection, "job", {"id": "a"}))
            found = await call(function)
            server.hub.progress("a", {"id": "a"}, owner=None)
            server.hub.publish(event)  # as whoever stored it does, after the stream has read the database
            return found

        server.dispatcher.call = call_while_others_publish
        stream = _stream(server, 0, None)
        texts = [await anext(stream), await anext(stream)]
        server.hub.publish(await call(lambda connection: add_event(connection, "job", {"id": "b"})))
        texts += [await anext(stream), await anext(stream)]
        await stream.aclose()
        server.database.close()
        return "".join(texts)

    text = asyncio.run(read())
    assert re.findall("^id: (.*)$", text, re.MULTILINE) == ["1", "2"]
    assert "event: progress" in text
