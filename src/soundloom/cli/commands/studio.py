"""`soundloom studio`: serve, and open the studio in the browser."""

from __future__ import annotations

import os
import sys
import threading
import urllib.request
import webbrowser
from dataclasses import dataclass, replace

from soundloom.cli.commands import serve
from soundloom.cli.options.flags import switch
from soundloom.errors import RequestError

LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")
WAIT_SECONDS = 2.0
MARK = b"<title>soundloom</title>"  # in the page of a running server


@dataclass(frozen=True)
class Options(serve.ServerOptions):
    """Open the studio in the browser: make and edit audio with words, hear and compare takes.

    soundloom studio

    It runs the server, as `soundloom serve` does, until Ctrl-C. If a server runs already, its studio is opened.
    A server for this machine alone also accepts adapters (--lora-uploads).
    """

    no_browser: bool = switch("--no-browser", help="only print the link")


def run(options: Options) -> None:
    if options.host in LOCAL_HOSTS:  # whoever sees the page can copy files into the folder anyway
        options = replace(options, lora_uploads=True)
    try:
        serve.start(options, serve.show if options.no_browser else _open)
    except RequestError:
        url = f"http://{options.host}:{options.port}"
        if options.no_browser or not _is_studio(url):
            raise
        sys.stderr.write(f"a server runs already, at {url}; its studio is opened\n")
        _browse(url)


def _open(url: str, link: str, gary: str) -> None:
    serve.show(url, link, gary)
    if _has_screen():
        threading.Thread(target=_browse, args=(link,), daemon=True).start()  # some browsers return when they are closed
    else:
        sys.stderr.write("no browser can be opened here, for there is no screen; open the link in one\n")
        sys.stderr.flush()


def _has_screen() -> bool:
    """Return whether a browser has a window to open in; a browser of the terminal cannot show the studio."""
    if sys.platform in ("win32", "darwin") or os.environ.get("BROWSER"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _browse(url: str) -> None:
    try:
        opened = webbrowser.open(url)
    except webbrowser.Error:
        opened = False
    if not opened:
        sys.stderr.write("no browser was found; open the link yourself\n")
        sys.stderr.flush()


def _is_studio(url: str) -> bool:
    """Return whether a soundloom server answers at an address."""
    try:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(url, timeout=WAIT_SECONDS) as answer:
            return MARK in answer.read(10_000)
    except (OSError, ValueError):
        return False
