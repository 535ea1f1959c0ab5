"""`soundloom eval prepare`: make a set of sounds and a list of prompts from a published data set."""

from __future__ import annotations

from dataclasses import dataclass

from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.output import JsonOptions, QuietOptions
from soundloom.cli.options.shared import seconds_flag
from soundloom.cli.terminal.counting import counter
from soundloom.cli.terminal.results import print_results
from soundloom.errors import RequestError, printable, shown
from soundloom.folders import expanded

SHOWN = 5  # sounds that are left out


@dataclass(frozen=True)
class Options(JsonOptions, QuietOptions):
    """Write set.json and prompts.jsonl for a data set that you have fetched. Nothing is downloaded or copied.

    soundloom eval prepare songdescriber SOURCE OUT

    SOURCE is the folder of the data set, with its table and its sounds, or the table itself.
    """

    dataset: str = flag(metavar="DATASET", help="songdescriber, musiccaps, audiocaps or bbc")
    source: str = flag(metavar="SOURCE", help="the folder, or the table in it")
    out: str = flag(metavar="OUT", help="the folder to write to")
    subset: str | None = flag(
        "--subset",
        metavar="NAME",
        help="songdescriber: valid (the default) or all; musiccaps: all, eval or train; audiocaps: test, val or train",
    )
    without_singing: bool = switch("--no-singing", help="leave out captions with words of singing and speech")
    ids: str | None = flag("--ids", metavar="FILE", help="use only captions with these ids, one a line")
    release: str | None = flag("--release", metavar="VERSION", help="version of AudioCaps, if its table does not tell")
    size: int = flag("--size", default=2000, type=int, metavar="N", help="bbc: number of sounds")
    seconds: float | None = seconds_flag(help="use the first S seconds; bbc: the loudest")


def run(options: Options) -> None:
    from soundloom.evaluation.sets.layouts import LAYOUTS, Choice
    from soundloom.evaluation.sets.prepare import prepare

    if options.dataset not in LAYOUTS:
        raise RequestError(
            f"soundloom eval prepare does not know {shown(options.dataset)}", f"known: {', '.join(LAYOUTS)}"
        )
    if options.size < 1 or not (options.seconds is None or 0 < options.seconds < float("inf")):
        raise RequestError("--size must be 1 or more, and --seconds positive")
    choice = Choice(
        options.subset or "",
        options.without_singing,
        _ids(options.ids) if options.ids else None,
        options.release or "",
        options.size,
        options.seconds,
    )
    log = counter("looked for sounds", options.quiet)
    done = prepare(options.dataset, expanded(options.source), expanded(options.out), choice, log)
    facts = {**done.sounds.facts(), "prompts": len(done.prompts.prompts), "left_out": done.left_out}
    if options.json:
        print_results({"folder": str(done.folder), **facts, "notes": done.notes})
        return
    lengths = facts["seconds"]
    lines = [
        f"{printable(done.folder)}: {done.sounds.name}, {facts['count']} sounds, {facts['prompts']} prompts",
        f"version {done.sounds.version}; license: {done.sounds.license}",
        f"{lengths['min']:.1f} to {lengths['max']:.1f} s, median {lengths['median']:.1f} s",
        f"sha256 {facts['sha256'][:12]}",
        *(f"note: {note}" for note in done.notes),
    ]
    if done.left_out:
        lines.append(f"left out {len(done.left_out)} sounds, listed in set.json:")
        lines += [f"  {printable(name)}: {reason}" for name, reason in list(done.left_out.items())[:SHOWN]]
    print_results(lines)


def _ids(path: str) -> frozenset[str]:
    """Read ids, the first column of each line."""
    from soundloom.evaluation.sets.tables import read_table_text

    lines = read_table_text(expanded(path)).splitlines()
    return frozenset(line.split(",")[0].strip().strip('"') for line in lines if line.strip())
