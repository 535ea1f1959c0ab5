"""The client for asyncio: the same calls, to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Self, TypeVar, Unpack, cast, overload

from soundloom.audio.clip import Clip
from soundloom.client.address import DEFAULT_URL
from soundloom.client.calls import Calls, ServedKwargs
from soundloom.client.events import AsyncEventReader
from soundloom.client.jobs import cancel_job
from soundloom.client.protocol import Answer, Call, ConnectionLost, Finished, NextEvent, Pause, Steps, segment
from soundloom.client.shapes import Job, ServedModel, System, Take
from soundloom.client.takes import Source, TakeClip, fetch_take
from soundloom.client.transport import Transport
from soundloom.config.stable_audio.request import Region
from soundloom.config.stable_audio.rhythm import DEFAULT_METER
from soundloom.pipeline.musicgen.requests import MusicEditKwargs
from soundloom.pipeline.stable_audio.options import EditKwargs

Result = TypeVar("Result")


class AsyncClient:
    """A soundloom server, with the calls of a model to be awaited: see `Client`.

        async with soundloom.AsyncClient() as client:
            clips = await asyncio.gather(*(client.generate(text) for text in ("rain", "a kick drum loop")))

    Canceling a task that waits for a clip cancels the job on the server.
    """

    def __init__(self, url: str = DEFAULT_URL, token: str | None = None, *, model: str | None = None) -> None:
        """Prepare a client; it connects with the first call. Raises RequestError."""
        self._calls = Calls(url, token, model)
        self._transport = Transport(self._calls.url, self._calls.token)
        self._http = self._transport.open("AsyncClient")

    @property
    def url(self) -> str:
        """The address of the server."""
        return self._calls.url

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Generate and edit

    @overload
    # A str is also a sequence of them; the first signature wins for it.
    async def generate(  # type: ignore[overload-overlap]
        self, prompt: str, *, model: str | None = None, **options: Unpack[ServedKwargs]
    ) -> TakeClip: ...
    @overload
    async def generate(
        self, prompt: Sequence[str], *, model: str | None = None, **options: Unpack[ServedKwargs]
    ) -> list[TakeClip]: ...
    async def generate(
        self, prompt: str | Sequence[str], *, model: str | None = None, **options: Unpack[ServedKwargs]
    ) -> TakeClip | list[TakeClip]:
        """Generate a clip from a prompt, or a list of clips from a list of prompts; see `Model.generate`."""
        clips = await self._clips(self._calls.generate(prompt, model, options))
        return clips[0] if isinstance(prompt, str) else clips

    async def vary(
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
        return (await self._clips(self._calls.vary(source, prompt, model, options, noise=noise, regions=regions)))[0]

    async def inpaint(
        self,
        source: Source,
        regions: Sequence[Region],
        prompt: str | None = None,
        *,
        model: str | None = None,
        **options: Unpack[EditKwargs],
    ) -> TakeClip:
        """Regenerate regions of a source; see `Model.inpaint`."""
        return (await self._clips(self._calls.inpaint(source, regions, prompt, model, options)))[0]

    async def extend(
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
        return (await self._clips(self._calls.extend(source, seconds, prompt, model, options, before=before)))[0]

    async def loop(
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
        return (await self._clips(steps))[0]

    @overload
    async def edit(  # type: ignore[overload-overlap]
        self, source: Source, instruction: str, *, model: str | None = None, **options: Unpack[MusicEditKwargs]
    ) -> TakeClip: ...
    @overload
    async def edit(
        self,
        source: Source,
        instruction: Sequence[str],
        *,
        model: str | None = None,
        **options: Unpack[MusicEditKwargs],
    ) -> list[TakeClip]: ...
    async def edit(
        self,
        source: Source,
        instruction: str | Sequence[str],
        *,
        model: str | None = None,
        **options: Unpack[MusicEditKwargs],
    ) -> TakeClip | list[TakeClip]:
        """Edit music by an instruction, or once by each of several; see `MusicModel.edit`."""
        clips = await self._clips(self._calls.edit(source, instruction, model, options))
        return clips[0] if isinstance(instruction, str) else clips

    # The library and the queue

    async def takes(
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
        return cast(list[Take], (await self._result(self._calls.get("/v1/takes", search)))["takes"])

    async def take(self, id: str) -> TakeClip:
        """Return a take as a clip. Raises RequestError if there is none with this id."""
        return await self._result(fetch_take(self.url, id))

    async def models(self) -> list[ServedModel]:
        """List the models of the server."""
        return cast(list[ServedModel], (await self._result(self._calls.get("/v1/models")))["data"])

    async def loras(self) -> list[str]:
        """List the adapters of the server by the names that `loras` of a call takes."""
        return [str(one["name"]) for one in (await self._result(self._calls.get("/v1/loras")))["loras"]]

    async def jobs(self, state: Sequence[str] = (), *, limit: int = 200) -> list[Job]:
        """List jobs in the order of the queue, those that have ended first."""
        return cast(list[Job], await self._result(self._calls.get("/v1/jobs", {"state": list(state), "limit": limit})))

    async def cancel(self, job: str) -> Job:
        """Cancel a job; clips that are finished stay. Raises RequestError if it has ended."""
        return await self._result(cancel_job(segment("job", job)))

    async def system(self) -> System:
        """Return the devices of the server, the models in memory, and the length of the queue."""
        return await self._result(self._calls.system())

    # Do what the generators ask

    async def _clips(self, steps: Steps[None]) -> list[TakeClip]:
        found, _ = await self._drive(steps)
        return [cast(TakeClip, found[index]) for index in range(len(found))]

    async def _result(self, steps: Steps[Result]) -> Result:
        _, result = await self._drive(steps)
        return result

    async def _drive(self, steps: Steps[Result]) -> tuple[dict[int, Clip], Result]:
        clips: dict[int, Clip] = {}
        value: Any = None
        failure: BaseException | None = None
        events: AsyncEventReader | None = None
        try:
            while True:
                try:
                    step = steps.send(value) if failure is None else steps.throw(failure)
                except StopIteration as end:
                    return clips, cast(Result, end.value)
                value, failure = None, None
                try:
                    if isinstance(step, Finished):
                        clips[step.index] = step.clip
                    elif isinstance(step, Pause):
                        await asyncio.sleep(step.seconds)
                    elif isinstance(step, NextEvent):
                        events = events or AsyncEventReader(self._http)
                        value = await events.next(step.seconds)
                    else:
                        value = await self._send(step)
                except BaseException as error:  # such as that the task is canceled, which cancels the jobs
                    failure = error
        finally:
            if events is not None:
                await events.close()

    async def _send(self, call: Call) -> Answer | None:
        try:
            return self._transport.answer(await self._http.request(**self._transport.arguments(call)))
        except Exception as error:
            lost: ConnectionLost = self._transport.lost(error)
        raise lost
