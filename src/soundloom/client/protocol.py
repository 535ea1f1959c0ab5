"""Conversations with a server as generators that do no input or output themselves.

They yield what is to be done next, and get the answers sent; so the client and the asynchronous client share them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from soundloom.audio.clip import Clip
from soundloom.errors import DownloadError, RequestError, ServerError, SoundloomError, WriteError, shown
from soundloom.serving.problems import problem_type

log = logging.getLogger(__name__)
ATTEMPTS = 7  # of a call whose connection is lost
FIRST_PAUSE, MAX_PAUSE = 0.1, 5.0  # seconds between attempts, doubled each time
CALL_SECONDS = 60.0  # without any answer


@dataclass(frozen=True)
class Call:
    """A request to the server. `file` is a name and the content of an upload."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    file: tuple[str, bytes] | None = None


@dataclass(frozen=True)
class Answer:
    """What the server answers."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """Return the content. Raises ServerError if it is no JSON."""
        try:
            return json.loads(self.content)
        except ValueError as error:
            raise ServerError(
                f"the server answered {self.status} without JSON; it may be another program", "check address and port"
            ) from error


@dataclass(frozen=True)
class Pause:
    """Wait, in seconds."""

    seconds: float


@dataclass(frozen=True)
class Finished:
    """A clip of a call is finished; `index` is that of its request."""

    index: int
    clip: Clip


@dataclass(frozen=True)
class NextEvent:
    """Wait for the next event of the server, at most so many seconds; the answer is a ServerEvent or None."""

    seconds: float


Step = Call | Pause | Finished | NextEvent
Result = TypeVar("Result")
Steps = Generator[Step, Any, Result]


class ConnectionLost(Exception):  # noqa: N818 (it says what happened)
    """There was no answer; `was_reached` tells whether the server answered before."""

    def __init__(self, url: str, reason: str, was_reached: bool) -> None:
        super().__init__(reason)
        self.url, self.was_reached = url, was_reached


def ask(call: Call, attempts: int = ATTEMPTS) -> Steps[Answer]:
    """Make a call that may be repeated, and return the answer. Raises SoundloomError for what the server refuses."""
    pause = FIRST_PAUSE
    for attempt in range(1, attempts + 1):
        try:
            answer: Answer = yield call
        except ConnectionLost as lost:
            if not lost.was_reached or attempt == attempts:
                raise ServerError(
                    f"the soundloom server at {lost.url} does not answer: {lost}",
                    "start it there with `soundloom serve`, or check address and port",
                ) from None
        else:
            if answer.status < 400:
                return answer
            problem = _problem_of(answer)
            if problem.get("type") not in ("conflict", "queue-full-error") or attempt == attempts:
                _raise(answer, problem)
            pause = max(pause, _seconds(answer.headers.get("retry-after", "")))
            if attempt == 1 and problem["type"] == "queue-full-error":
                log.warning("the queue of the server is full; trying again for a while")
        yield Pause(min(pause, MAX_PAUSE))
        pause *= 2
    raise AssertionError("unreachable")


def error_of(problem: Mapping[str, Any]) -> SoundloomError:
    """Return the error that a problem of a job describes, of the class that a model would raise."""
    kind = _CLASSES.get(str(problem.get("type")), ServerError)
    message = str(problem.get("message") or problem.get("detail") or "the server gives no reason")
    return kind(message, str(problem.get("hint") or ""))


def _raise(answer: Answer, problem: Mapping[str, Any]) -> NoReturn:
    if answer.status == 401:
        raise ServerError(
            "the server refuses the token" if problem else "the server refuses the client",
            "pass token=…, or set SOUNDLOOM_TOKEN to the token in `library/token` of the server's data folder",
        )
    if not problem:
        raise ServerError(
            f"the server answered {answer.status} without a reason; it may be another program", "check address and port"
        )
    raise error_of(problem)


def _problem_of(answer: Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("type"), str) else {}


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() else 0.0


def _all_classes(kind: type[SoundloomError]) -> list[type[SoundloomError]]:
    return [kind, *(one for child in kind.__subclasses__() for one in _all_classes(child))]


_CLASSES = {problem_type(kind): kind for kind in _all_classes(SoundloomError) if kind.__module__ == "soundloom.errors"}
_REFUSALS = ("not-found", "job-ended", "job-state", "model-state", "too-large", "not-allowed")
_CLASSES |= {"conflict": RequestError, **{f"{refusal}-error": RequestError for refusal in _REFUSALS}}
_CLASSES |= {"license-error": DownloadError, "disk-limit-error": WriteError}
_CLASSES.pop(problem_type(SoundloomError))  # the server's own words about itself


def segment(name: str, id: str) -> str:
    """Return an id for a path. Raises RequestError for text that is none."""
    if not isinstance(id, str) or not id.isalnum() or not id.isascii():
        raise RequestError(f"the id of a {name} has letters and digits only, found {shown(id)!r}")
    return id
