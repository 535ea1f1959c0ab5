"""`soundloom eval fetch`: fetch the weights of an embedder."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.output import JsonOptions
from soundloom.cli.terminal.results import print_results
from soundloom.cli.terminal.streams import escaped
from soundloom.errors import RequestError


@dataclass(frozen=True)
class Options(JsonOptions):
    """Fetch the weights of an embedder once, check their sha256 and that it tells sounds apart; or list embedders.

    aisfx and musicnn come from the package index: their weights are read from the wheel, and nothing in it is installed
    or run. CLAP comes from the Hugging Face hub.
    """

    name: str | None = flag(nargs="?", metavar="NAME", help="an embedder of --list")
    list: bool = switch("--list", help="list all embedders, and which are here")
    wheel: str | None = flag("--wheel", metavar="FILE", help="a wheel that you downloaded by other means")


def run(options: Options) -> None:
    if options.list:
        _print_list(options.json)
        return
    if options.name is None:
        raise RequestError("soundloom eval fetch needs the name of an embedder", "soundloom eval fetch --list")
    from soundloom.evaluation.embedders.fetch import fetch_weights
    from soundloom.evaluation.embedders.load import check_name, load_embedder
    from soundloom.evaluation.embedders.sanity import require_sane

    check_name(options.name)
    fetched = fetch_weights(options.name, Path(options.wheel) if options.wheel else None, _note)
    embedder = load_embedder(options.name)
    separation = require_sane(embedder)
    facts = {
        "name": fetched.name,
        "path": str(fetched.path),
        "license": fetched.license,
        "sha256": fetched.sha256,
        "embedder": embedder.info.hash,
        "largest_cosine": separation.cosine,
    }
    lines = [
        f"{fetched.name}: {fetched.path}",
        f"license: {fetched.license}",
        f"sha256: {fetched.sha256}",
        f"unlike sounds: largest cosine {separation.cosine:.2f} ({' and '.join(separation.pair)})",
    ]
    print_results(facts if options.json else lines)


def _print_list(as_json: bool) -> None:
    from soundloom.evaluation.embedders.external import configured, is_configured
    from soundloom.evaluation.embedders.fetch import find_fetched
    from soundloom.evaluation.embedders.load import EMBEDDERS, PLUGINS
    from soundloom.evaluation.embedders.weights import HUB, PACKAGED

    def state(name: str) -> str:
        if name in PLUGINS or name not in EMBEDDERS:
            return "configured" if is_configured(name) else "not configured"
        if name not in PACKAGED and name not in HUB:
            return "no weights needed"
        return "here" if find_fetched(name) else "not fetched"

    own = {name: "in another process" for name in configured() if name not in EMBEDDERS}
    rows = [(name, state(name), summary) for name, summary in {**EMBEDDERS, **own}.items()]
    if as_json:
        print_results({"embedders": [dict(zip(("name", "state", "summary"), row, strict=True)) for row in rows]})
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print_results(
        ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    )


def _note(line: str) -> None:
    sys.stderr.write(escaped(f"{line}\n"))
