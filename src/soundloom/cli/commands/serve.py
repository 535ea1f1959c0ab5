"""`soundloom serve`: serve the models to programs and browsers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from soundloom.cli.options.flags import flag, integer, switch
from soundloom.cli.options.model import EngineOptions, ThreadOptions
from soundloom.cli.options.serving import ServedModelOptions
from soundloom.cli.options.shared import compat_flag, inference_precision_flag, name_flag, offline_flag
from soundloom.errors import RequestError, shown
from soundloom.folders import data_folder, expanded, output_folder

if TYPE_CHECKING:
    from soundloom.serving.worker.settings import WorkerSettings

NEEDED = ("fastapi", "uvicorn", "multipart")
LIBRARY = "library"  # folder in the data folder
FOREVER = -1.0
NOWHERE = "none"
MAX_WORKERS = 100  # on a Ray cluster
MAX_GIB = 2.0**30
GARY_PORT = 8006  # where gary's clients look


@dataclass(frozen=True)
class ServerOptions(ServedModelOptions, EngineOptions, ThreadOptions):
    """Options."""

    host: str = flag("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on; others need a token")
    port: int = flag("--port", default=8157, type=int, metavar="N", help="port to listen on; 0: any free one")
    devices: Sequence[str] = flag(
        "--devices",
        default=(),
        type=lambda text: tuple(text.split(",")),
        metavar="NAMES",
        help="devices that work at the same time, such as cuda:0,cuda:1 (default: the fastest one)",
    )
    ray: int | None = flag(
        "--ray",
        type=int,
        metavar="N",
        help="use N workers of the Ray cluster in RAY_ADDRESS, by default on this machine, which share the data folder",
    )
    precision: str | None = inference_precision_flag(help="precision of the transformer (default: auto)")
    offline: bool = offline_flag(default=False)
    compat: str | None = compat_flag(
        default=None, metavar="gary[:PORT]", help="also serve audio workstations, as gary on port 8006, without a token"
    )
    output: str | None = flag(
        "--output",
        metavar="FOLDER",
        help="where finished clips appear as named files; none: nowhere (default: `soundloom` of the music folder)",
    )
    name: str = name_flag(
        default="{prompt}-{seed}", metavar="PATTERN", help="the names of files there; the title of a clip comes first"
    )
    disk_limit: float | None = flag(
        "--disk-limit",
        type=float,
        metavar="GIB",
        help="refuse jobs beyond this size of the library (default: the disk)",
    )
    rebuild: bool = switch("--rebuild", help="add clips that the library does not know, from the records in its files")
    lora_uploads: bool = switch("--lora-uploads", help="accept adapters (LoRA) from the studio, as safetensors")
    keep_alive: float = flag(
        "--keep-alive", default=900.0, type=float, metavar="S", help="free idle models after this time; -1: never"
    )
    users: str | None = flag(
        "--users",
        default=None,
        metavar="FILE",
        help="further users: lines NAME TOKEN; each has own jobs and takes (default: none)",
    )
    drain: float = flag("--drain", default=10.0, type=float, metavar="S", help="time for running clips at a stop")
    allow_host: Sequence[str] = flag(
        "--allow-host", default=(), action="append", metavar="NAME:PORT", help="another name of this server; repeatable"
    )
    allow_origin: Sequence[str] = flag(
        "--allow-origin", default=(), action="append", metavar="URL", help="a page that may use it; repeatable"
    )


@dataclass(frozen=True)
class Options(ServerOptions):
    """Serve the models of this machine to programs and browsers, with a queue and a library of what was made.

    soundloom serve

    The server answers to this machine only, and prints a link that opens it in a browser. Programs send the token in
    the file `library/token` of the data folder, or the one in SOUNDLOOM_TOKEN.
    """


def run(options: Options) -> None:
    start(options, show)


def start(options: ServerOptions, show: Callable[[str, str, str], None]) -> None:
    """Serve until a signal; `show` gets the addresses as in `soundloom.serving.run.serve`. Raises RequestError."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise RequestError(f"the server needs packages that are not installed: {', '.join(missing)}", INSTALL)
    if not 0 <= integer(str(options.port)) <= 65_535:
        raise RequestError(f"--port must be between 0 and 65535, found {options.port}")
    if not options.drain >= 0 or not (options.keep_alive >= 0 or options.keep_alive == FOREVER):
        raise RequestError("--drain and --keep-alive are seconds, 0 or more", "--keep-alive -1 never frees models")
    if options.disk_limit is not None and not 0 < options.disk_limit < MAX_GIB:
        raise RequestError(f"--disk-limit is a number of GiB above 0, found {options.disk_limit:g}")
    gary = None if options.compat is None else _gary_port(options.compat)
    from soundloom.serving.output import require_pattern
    from soundloom.serving.run import Address, serve
    from soundloom.serving.server import OBJECTS, ServerSettings

    folder = (data_folder() / LIBRARY).absolute()
    served = options.served_models()
    workers = _workers(options, str(folder / OBJECTS), served.sources)
    keep_alive = None if options.keep_alive == FOREVER else options.keep_alive
    settings = ServerSettings(
        *(folder, workers, served.model, served.sources),
        allowed=served.allowed,
        aliases=served.aliases,
        keep_alive=keep_alive,
        drain=options.drain,
        output=_output(options.output, folder),
        names=require_pattern(options.name),
        disk_limit=None if options.disk_limit is None else round(options.disk_limit * 2**30),
        lora_uploads=options.lora_uploads,
        rebuild=options.rebuild,
    )
    names, origins = tuple(options.allow_host), tuple(options.allow_origin)
    address = Address(options.host, options.port, names, origins, Path(options.users) if options.users else None, gary)
    serve(settings, address, os.environ.get("SOUNDLOOM_TOKEN"), show)


INSTALL = "pip install 'soundloom[serve]'"


def _workers(options: ServerOptions, objects: str, sources: Mapping[str, str]) -> dict[str, WorkerSettings]:
    """Return the settings of the workers by their names. Raises RequestError."""
    from soundloom.serving.worker.settings import WorkerSettings

    devices: dict[str, str | None] = {device or "default": device or None for device in options.devices or ("",)}
    if options.ray is not None:
        if not 1 <= options.ray <= MAX_WORKERS or len(devices) > 1:
            raise RequestError(
                f"--ray is a number of workers from 1 to {MAX_WORKERS}, all on one kind of device",
                "--ray 2 --devices cuda",
            )
        from soundloom.serving.worker.ray import connect

        connect(objects)
        devices = dict.fromkeys((f"ray:{number}" for number in range(options.ray)), *devices.values())
    precision, on_ray = options.precision or "auto", options.ray is not None
    return {
        name: WorkerSettings(
            *(objects, options.engine, device, precision, options.threads, options.offline, sources), on_ray=on_ray
        )
        for name, device in devices.items()
    }


def _output(chosen: str | None, library: Path) -> Path | None:
    """Return the output folder, or None for --output none. Raises RequestError."""
    if chosen == NOWHERE or (chosen is None and os.environ.get("SOUNDLOOM_OUTPUT") == NOWHERE):
        return None
    if chosen == "":
        raise RequestError("--output needs a folder", "--output none makes no files")
    try:
        folder = (expanded(chosen) if chosen else output_folder()).resolve()
    except RequestError:
        if chosen:
            raise
        return None  # an account without a home folder
    if folder.is_relative_to(library.resolve()):
        raise RequestError(f"--output {shown(str(folder))} is inside the library", "choose a folder of your own")
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"--output {shown(str(folder))} is a file", "name a folder")
    return folder


def _gary_port(text: str) -> int:
    """Return the port of --compat. Raises RequestError."""
    name, colon, port = text.partition(":")
    if name != "gary" or (colon and not (port.isascii() and port.isdecimal() and len(port) < 6)):
        raise RequestError(f"--compat must be gary or gary:PORT, found {shown(text)}")
    if colon and int(port) > 65_535:
        raise RequestError(f"the port of --compat must be between 0 and 65535, found {port}")
    return int(port) if colon else GARY_PORT


def show(url: str, link: str, gary: str) -> None:
    """Print where the server is."""
    sys.stderr.write(f"soundloom is at {url}\nOpen it in a browser by this link, which works once:\n  {link}\n")
    if gary:
        sys.stderr.write(f"gary's clients find it at {gary}, without a token\n")
    sys.stderr.flush()
