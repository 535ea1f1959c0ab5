"""`soundloom convert`: a model from one layout to another."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from soundloom.checkpoints.stable_audio.bundle import BUNDLE_BITS, DEFAULT_GROUP_SIZE, require_group_size
from soundloom.checkpoints.stable_audio.convert import convert, require_room
from soundloom.checkpoints.stable_audio.save import LAYOUTS
from soundloom.cli.opening import open_named
from soundloom.cli.options.flags import flag, switch
from soundloom.cli.terminal.results import print_results
from soundloom.errors import RequestError


@dataclass(frozen=True)
class Options:
    """Write a model in another layout, without loss where the layout can hold it, and say what was rounded or left
    out. A packed model opens in every layout as the numbers that its codes stand for.
    """

    model: str = flag(metavar="IN", help="a name from `soundloom models`, such as small-music@npz, a folder or a file")
    out: str = flag(metavar="OUT", help="a new or empty folder")
    layout: str | None = flag("--layout", choices=LAYOUTS, help="docs/formats.md describes them")
    bits: int | None = flag("--bits", type=int, choices=tuple(BUNDLE_BITS.values()), help="the same as --layout int…")
    group: int = flag(
        "--group", default=DEFAULT_GROUP_SIZE, type=int, metavar="N", help="weights that share a scale (default: 64)"
    )
    accept_license: bool = switch(
        "--accept-license", "--accept-licence", help="accept the license of the weights that are downloaded"
    )
    json: bool = switch("--json", help="print one JSON object")


def run(options: Options) -> None:
    layout, folder = _layout(options), Path(options.out)
    if layout in BUNDLE_BITS:
        require_group_size(options.group)
    require_room(folder)
    checkpoint = open_named(options.model, accept_license=options.accept_license)
    reports = convert(checkpoint, folder, layout, options.group)
    if options.json:
        parts = [asdict(report) for report in reports]
        print_results({"folder": options.out, "from": checkpoint.layout, "to": layout, "parts": parts})
    else:
        print_results([f"{options.out}: {checkpoint.layout} to {layout}", *map(str, reports)])


def _layout(options: Options) -> str:
    by_bits = next((layout for layout, bits in BUNDLE_BITS.items() if bits == options.bits), None)
    layout = options.layout or by_bits
    if layout is None:
        raise RequestError("convert needs to know into what", f"give --layout {', '.join(LAYOUTS)}")
    if by_bits not in (None, layout):
        raise RequestError(f"--layout {layout} does not have --bits {options.bits}", f"{by_bits} has; leave one out")
    return layout
