"""`soundloom convert`: convert a model to another layout."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from soundloom.checkpoints.stable_audio.bundle import BUNDLE_BITS, require_group_size
from soundloom.checkpoints.stable_audio.convert import convert, require_empty_or_same
from soundloom.checkpoints.stable_audio.save import LAYOUTS
from soundloom.cli.loading import open_named
from soundloom.cli.options.flags import flag
from soundloom.cli.options.model import GroupSizeOptions, LicenseOptions
from soundloom.cli.options.output import JsonOptions
from soundloom.cli.options.shared import layout_flag
from soundloom.cli.terminal.results import print_results


class _Layout(argparse.Action):
    """Store a layout. `--bits`, its old spelling, must not contradict `--layout`."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        stored = getattr(namespace, self.dest, values)
        if stored != values:
            raise argparse.ArgumentError(self, f"{values} contradicts {stored}")
        setattr(namespace, self.dest, values)


def _layout(text: str) -> str:
    """Return the layout that `--bits 4`, the old spelling of `--layout int4`, stands for."""
    return next((layout for layout, bits in BUNDLE_BITS.items() if text == str(bits)), text)


@dataclass(frozen=True)
class Options(GroupSizeOptions, LicenseOptions, JsonOptions):
    """Convert a model to another layout, and report what was rounded or omitted.

    A quantized model is dequantized unless the new layout is quantized too.
    """

    model: str = flag(metavar="IN", help="a name from `soundloom models`, such as small-music@npz, a folder, or a file")
    out: str = flag(metavar="OUT", help="a new or empty folder")
    layout: str = layout_flag(
        required=True,
        hidden=("--bits",),
        action=_Layout,
        type=_layout,
        choices=LAYOUTS,
        help=f"layout of OUT: {', '.join(LAYOUTS)}; see docs/formats.md",
    )


def run(options: Options) -> None:
    layout, folder = options.layout, Path(options.out)
    if layout in BUNDLE_BITS:
        require_group_size(options.group_size)
    require_empty_or_same(folder)
    checkpoint = open_named(options.model, accept_license=options.accept_license)
    reports = convert(checkpoint, folder, layout, options.group_size)
    if options.json:
        parts = [asdict(report) for report in reports]
        print_results({"folder": options.out, "from": checkpoint.layout, "to": layout, "parts": parts})
    else:
        print_results([f"{options.out}: {checkpoint.layout} to {layout}", *map(str, reports)])
