"""A client that waits for its clips."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from threading import Event
from typing import Any, Self, TypeVar, Unpack, cast, overload

from soundloom.audio.clip import Clip
from soundloom.client.address import DEFAULT_URL
from soundloom.client.calls import Calls, ServedKwargs
from soundloom.client.events import EventReader
from soundloom.client.jobs import Request, cancel_job
from soundloom.client.protocol import Answer, Call, ConnectionLost, Finished, NextEvent, Pause, Steps, segment
from soundloom.client.shapes import Job, ServedModel, System, Take
from soundloom.client.takes import Source, TakeClip, fetch_take
from soundloom.client.transport import Transport
from soundloom.config.stable_audio.request import Region
from soundloom.config.stable_audio.rhythm import DEFAULT_METER
from soundloom.pipeline.musicgen.requests import MusicEditKwargs
from soundloom.pipeline.progress import ProgressCallback
from soundloom.pipeline.stable_audio.options import EditKwargs

Result = TypeVar("Result")


class Client:
    """A soundloom server, with the calls of a model: see `Model` and `MusicModel` for their options.

        with soundloom.Client("http://workstation:8157", token="…") as client:
            client.generate("rain", seconds=4, seed=7).save("rain.wav")

    Sources of edits are clips, which are uploaded, paths of files, or ids of takes in the server's library. A result
    has its id there as `take`. `model` is the model of calls that name none, by default that of the server. Without a
    token, SOUNDLOOM_TOKEN is used, or for a server on this machine the token in the data folder.

    Lost connections are tried again without doing anything twice. Errors of the server have the class that a model
    would raise; a server that is not there or refuses the token is a ServerError.
    """

    def __init__(self, url: str = DEFAULT_URL, token: str | None = None, *, model: str | None = None) -> None:
        """Prepare a client; it connects with the first call. Raises RequestError."""
        self._calls = Calls(url, token, model)
        self._transport = Transport(self._calls.url, self._calls.token)
        self._http = self._transport.open("Client")

    @property
    def url(self) -> str:
        """The address of the server."""
        return self._calls.url

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Generate and edit

    @overload
    # A str is also a sequence of them; the first signature wins for it.
    def generate(  # type: ignore[overload-overlap]
        self, prompt: str, *, model: str | None = None, **options: Unpack[ServedKwargs]
    ) -> TakeClip: ...
    @overload
    def generate(
        self, prompt: Sequence[str], *, model: str | None = None, **options: Unpack[ServedKwargs]
    ) -> list[TakeClip]: ...
    def generate(
        self, prompt: str | Sequence[str], *, model: str | None = None, **options: Unpack[ServedKwargs]
    ) -> TakeClip | list[TakeClip]:
        """Generate a clip from a prompt, or a list of clips from a list of prompts; see `Model.generate`."""
        clips = self._clips(self._calls.generate(prompt, model, options))
        return clips[0] if isinstance(prompt, str) else clips

    def vary(
        self,
        source: Source,
        prompt: str | None = None,
        *,
        noise: float = 0.6,
        regions: Sequence[Region] = (),
        model: str | None = None,
        **options: Unpack[EditKwargs],
    ) -> TakeClip:
        """Generate a variation of a source; see `Model.vary`."""
        return self._clips(self._calls.vary(source, prompt, model, options, noise=noise, regions=regions))[0]

    def inpaint(
        self,
        source: Source,
        regions: Sequence[Region],
        prompt: str | None = None,
        *,
        model: str | None = None,
        **options: Unpack[EditKwargs],
    ) -> TakeClip:
        """Regenerate regions of a source; see `Model.inpaint`."""
        return self._clips(self._calls.inpaint(source, regions, prompt, model, options))[0]

    def extend(
        self,
        source: Source,
        seconds: float,
        prompt: str | None = None,
        *,
        before: bool = False,
        model: str | None = None,
        **options: Unpack[EditKwargs],
    ) -> TakeClip:
        """Extend a source by `seconds`; see `Model.extend`."""
        return self._clips(self._calls.extend(source, seconds, prompt, model, options, before=before))[0]

    def loop(
        self,
        source: Source,
        prompt: str | None = None,
        *,
        bars: float | None = None,
        bpm: float | None = None,
        meter: str = DEFAULT_METER,
        seam: float = 0.5,
        model: str | None = None,
        **options: Unpack[EditKwargs],
    ) -> TakeClip:
        """Make a source repeat without a break; see `Model.loop`."""
        steps = self._calls.loop(
            source, prompt, model, options, {"bars": bars, "bpm": bpm, "meter": meter, "seam": seam}
        )
        return self._clips(steps)[0]

    @overload
    def edit(  # type: ignore[overload-overlap]
        self, source: Source, instruction: str, *, model: str | None = None, **options: Unpack[MusicEditKwargs]
    ) -> TakeClip: ...
    @overload
    def edit(
        self,
        source: Source,
        instruction: Sequence[str],
        *,
        model: str | None = None,
        **options: Unpack[MusicEditKwargs],
    ) -> list[TakeClip]: ...
    def edit(
        self,
        source: Source,
        instruction: str | Sequence[str],
        *,
        model: str | None = None,
        **options: Unpack[MusicEditKwargs],
    ) -> TakeClip | list[TakeClip]:
        """Edit music by an instruction, or once by each of several; see `MusicModel.edit`."""
        clips = self._clips(self._calls.edit(source, instruction, model, options))
        return clips[0] if isinstance(instruction, str) else clips

    def iter(
        self,
        requests: Sequence[Request],
        *,
        model: str | None = None,
        progress: ProgressCallback | None = None,
        cancel: Event | None = None,
    ) -> Iterator[tuple[int, Clip]]:
        """Run requests, and yield the index of each and its clip as soon as it is finished; see `Model.iter`."""
        yield from self._drive(self._iter_steps(requests, model, {"progress": progress, "cancel": cancel}))

    def _iter_steps(self, requests: Sequence[Request], model: str | None, options: dict[str, Any]) -> Steps[None]:
        name = yield from self._calls.model(model)
        yield from self._calls.run(name, requests, options)

    # The library and the queue

    def takes(
        self,
        text: str = "",
        *,
        tag: Sequence[str] = (),
        kind: Sequence[str] = (),
        favorite: bool | None = None,
        deleted: bool = False,
        parent: str | None = None,
        order: str = "newest",
        limit: int = 100,
        offset: int = 0,
    ) -> list[Take]:
        """List takes; `text` finds words of titles, prompts, tags and notes."""
        search: dict[str, Any] = {
            "text": text,
            "tag": list(tag),
            "kind": list(kind),
            "favorite": favorite,
            "deleted": deleted,
        }
        search |= {"parent": parent, "order": order, "limit": limit, "offset": offset}
        return cast(list[Take], self._result(self._calls.get("/v1/takes", search))["takes"])

    def take(self, id: str) -> TakeClip:
        """Return a take as a clip. Raises RequestError if there is none with this id."""
        return self._result(fetch_take(self.url, id))

    def models(self) -> list[ServedModel]:
        """List the models of the server."""
        return cast(list[ServedModel], self._result(self._calls.get("/v1/models"))["data"])

    def loras(self) -> list[str]:
        """List the adapters of the server by the names that `loras` of a call takes."""
        return [str(one["name"]) for one in self._result(self._calls.get("/v1/loras"))["loras"]]

    def jobs(self, state: Sequence[str] = (), *, limit: int = 200) -> list[Job]:
        """List jobs in the order of the queue, those that have ended first."""
        return cast(list[Job], self._result(self._calls.get("/v1/jobs", {"state": list(state), "limit": limit})))

    def cancel(self, job: str) -> Job:
        """Cancel a job; clips that are finished stay. Raises RequestError if it has ended."""
        return self._result(cancel_job(segment("job", job)))

    def system(self) -> System:
        """Return the devices of the server, the models in memory, and the length of the queue."""
        return self._result(self._calls.system())

    # Do what the generators ask

    def _clips(self, steps: Steps[None]) -> list[TakeClip]:
        found = dict(self._drive(steps))
        return [cast(TakeClip, found[index]) for index in range(len(found))]

    def _result(self, steps: Steps[Result]) -> Result:
        drive = self._drive(steps)
        while True:
            try:
                next(drive)
            except StopIteration as end:
                return cast(Result, end.value)

    def _drive(self, steps: Steps[Result]) -> Generator[tuple[int, Clip], None, Result]:
        value: Any = None
        failure: BaseException | None = None
        events: EventReader | None = None
        try:
            while True:
                try:
                    step = steps.send(value) if failure is None else steps.throw(failure)
                except StopIteration as end:
                    return cast(Result, end.value)
                value, failure = None, None
                try:
                    if isinstance(step, Finished):
                        yield step.index, step.clip
                    elif isinstance(step, Pause):
                        time.sleep(step.seconds)
                    elif isinstance(step, NextEvent):
                        events = events or EventReader(self._http)
                        value = events.next(step.seconds)
                    else:
                        value = self._send(step)
                except BaseException as error:  # which the generator may answer with calls, such as to cancel
                    failure = error
        finally:
            if events is not None:
                events.close()

    def _send(self, call: Call) -> Answer | None:
        try:
            return self._transport.answer(self._http.request(**self._transport.arguments(call)))
        except Exception as error:
            lost: ConnectionLost = self._transport.lost(error)
        raise lost
