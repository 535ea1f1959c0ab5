"""`soundloom eval cache`: measure or clear the cache of embeddings."""

from __future__ import annotations

from dataclasses import dataclass

from soundloom.cli.options.flags import flag
from soundloom.cli.options.output import JsonOptions
from soundloom.cli.terminal.results import print_results
from soundloom.errors import RequestError, shown


@dataclass(frozen=True)
class Options(JsonOptions):
    """Show the size of the cache of embeddings, or clear it.

    Embeddings are kept by the content of sounds in soundloom's cache folder, which SOUNDLOOM_CACHE overrides.
    """

    what: str = flag(nargs="?", default="size", metavar="size|clear", help="show the size (the default), or clear it")


def run(options: Options) -> None:
    if options.what not in ("size", "clear"):
        raise RequestError(f"soundloom eval cache cannot {shown(options.what)}", "write `size` or `clear`")
    from soundloom.evaluation.cache import cache_size, clear_cache

    found = clear_cache() if options.what == "clear" else cache_size()
    damaged = [str(path) for path in found.damaged]
    if options.json:
        counts = {"files": found.files, "entries": found.entries, "bytes": found.bytes}
        print_results({"folder": str(found.folder), "cleared": options.what == "clear", **counts, "damaged": damaged})
        return
    what = f"{found.entries} embeddings in {found.files} files, {found.bytes / 1e6:.1f} MB"
    done = "removed " if options.what == "clear" else ""
    print_results([f"{found.folder}: {done}{what}", *(f"damaged: {path}" for path in damaged)])
