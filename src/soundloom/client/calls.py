"""The calls of both clients: what each asks the server, as generators without input or output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from soundloom.client.address import find_token, server_url
from soundloom.client.jobs import Request, Watch, run_requests
from soundloom.client.protocol import Call, Steps, ask
from soundloom.client.shapes import System
from soundloom.client.takes import Source, open_source
from soundloom.config.catalogue import find_entry
from soundloom.config.stable_audio.request import Region
from soundloom.errors import RequestError, shown
from soundloom.pipeline.musicgen.requests import MusicKwargs, edit_requests, music_requests
from soundloom.pipeline.stable_audio.options import GenerateKwargs
from soundloom.pipeline.stable_audio.requests import (
    Rhythm,
    extend_request,
    generate_requests,
    inpaint_request,
    loop_request,
    vary_request,
)

Options = Mapping[str, Any]
EDITOR = "instruct-musicgen"


class ServedKwargs(GenerateKwargs, MusicKwargs, total=False):  # type: ignore[misc] # guidance of MusicGen is narrower
    """Options of `Client.generate`: those of `Model.generate`, or with a MusicGen model those of `MusicModel`."""


class Calls:
    """Calls to a server, with the model for those that name none."""

    def __init__(self, url: str, token: str | None, model: str | None) -> None:
        self.url = server_url(url)
        self.token = find_token(self.url, token)
        self._model = model

    def model(self, name: str | None) -> Steps[str]:
        """Return the name of the model of a call: the given one, that of the client, or that of the server."""
        if name is None and self._model is None:
            self._model = (yield from self.system())["model"]
        found = self._model if name is None else name
        if not isinstance(found, str) or not found:
            raise RequestError(f"a model is named by text, found {shown(found)}", "client.models() lists the models")
        return found

    def system(self) -> Steps[System]:
        found: System = (yield from ask(Call("GET", "/v1/system"))).json()
        return found

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Steps[Any]:
        """Return what the server tells; parameters that are None are left out."""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        return (yield from ask(Call("GET", path, given))).json()

    def run(self, model: str, requests: Sequence[Request], options: Options) -> Steps[None]:
        """Run requests, and yield their clips."""
        watch = Watch(options.get("progress"), options.get("cancel"))
        yield from run_requests(self.url, model, requests, watch)

    # The calls of a model

    def generate(self, prompt: str | Sequence[str], model: str | None, options: Options) -> Steps[None]:
        name = yield from self.model(model)
        entry = find_entry(name.partition("@")[0])
        requests: Sequence[Request]
        if entry is not None and entry.is_musicgen:
            requests = music_requests(prompt, options)
        else:
            requests = generate_requests(prompt, options)
        yield from self.run(name, requests, options)

    def vary(
        self,
        source: Source,
        prompt: str | None,
        model: str | None,
        options: Options,
        *,
        noise: float,
        regions: Sequence[Region],
    ) -> Steps[None]:
        name, clip = (yield from self.model(model)), (yield from open_source(self.url, source))
        request = vary_request(clip, prompt, name, options, noise=noise, regions=regions)
        yield from self.run(name, [request], options)

    def inpaint(
        self, source: Source, regions: Sequence[Region], prompt: str | None, model: str | None, options: Options
    ) -> Steps[None]:
        name, clip = (yield from self.model(model)), (yield from open_source(self.url, source))
        yield from self.run(name, [inpaint_request(clip, regions, prompt, name, options)], options)

    def extend(
        self, source: Source, seconds: float, prompt: str | None, model: str | None, options: Options, *, before: bool
    ) -> Steps[None]:
        name, clip = (yield from self.model(model)), (yield from open_source(self.url, source))
        yield from self.run(name, [extend_request(clip, seconds, prompt, name, options, before=before)], options)

    def loop(
        self, source: Source, prompt: str | None, model: str | None, options: Options, rhythm: Rhythm
    ) -> Steps[None]:
        name, clip = (yield from self.model(model)), (yield from open_source(self.url, source))
        yield from self.run(name, [loop_request(clip, prompt, name, options, **rhythm)], options)

    def edit(
        self, source: Source, instruction: str | Sequence[str], model: str | None, options: Options
    ) -> Steps[None]:
        clip = yield from open_source(self.url, source)
        yield from self.run(model or EDITOR, edit_requests(clip, instruction, options), options)
