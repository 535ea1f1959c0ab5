"""Wait for a server, and read its events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Return what a condition gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def events_in(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream: `id` if they have one, `event` and the parsed `data`."""
    event: dict[str, Any] = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if line:
            event[name] = value
            continue
        if "data" in event:
            yield event | {"data": json.loads(event["data"])}
        event = {}
