"""`soundloom models`: list, download, describe, and verify models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from soundloom.checkpoints.hub.cache import sources_needed
from soundloom.checkpoints.hub.fetch import files_needed
from soundloom.checkpoints.installed import installed_layouts
from soundloom.checkpoints.musicgen.fetch import is_music, open_music
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint
from soundloom.checkpoints.stable_audio.open import Checkpoint, open_checkpoint
from soundloom.checkpoints.verify import verify
from soundloom.cli.loading import confirmation, named_entry
from soundloom.cli.options.flags import flag
from soundloom.cli.options.model import DownloadOptions
from soundloom.cli.options.output import JsonOptions
from soundloom.cli.terminal.results import print_results
from soundloom.config.catalogue import CATALOGUE, require_entry
from soundloom.config.entries import ModelEntry, RemoteFile, Source, license_notice
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.errors import RequestError


@dataclass(frozen=True)
class Options(DownloadOptions, JsonOptions):
    """List models, or act on one of them: `pull` downloads it, `show` describes it, and `verify` checks its files.

    `verify` reads all weights. It reports the sha256 of every file, unexpected tensors, and non-finite values.

    NAME may include a layout (published, bf16-mirror, or npz), as in small-music@npz.
    """

    action: str = flag(default="list", nargs="?", metavar="list|pull|show|verify", help="what to do (default: list)")
    name: str | None = flag(
        nargs="?", metavar="NAME", help="a name from the list; for show and verify, also a folder or file"
    )


def run(options: Options) -> int:
    if options.action == "list":
        return _list(options)
    actions = {"pull": _pull, "show": _show, "verify": _verify}
    if options.action not in actions:
        raise RequestError(f"there is no action {options.action!r}", "actions: list, pull, show, verify")
    if options.name is None:
        raise RequestError(f"models {options.action} needs a name", f"soundloom models {options.action} small-music")
    return actions[options.action](options, options.name)


# list


def _list(options: Options) -> int:
    entries = [_facts(entry) for entry in CATALOGUE.values()]
    if options.json:
        print_results({"models": entries})
        return 0
    rows = [
        ("name", "makes", "download", "installed", "commercial use"),
        *(_row(entry) for entry in CATALOGUE.values()),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    print_results([*lines, "", "`soundloom models show NAME` lists files, aliases, and license terms"])
    return 0


def _row(entry: ModelEntry) -> tuple[str, ...]:
    """Return the columns of a model in the list."""
    lengths = f"up to {entry.max_seconds:g} s"
    makes = {"generator": lengths, "music": "music", "editor": "edits"}.get(entry.kind, entry.kind)
    installed = "yes" if entry.public and installed_layouts(entry) else "no"
    return entry.name, makes, _download(entry), installed, entry.commercial


def _download(entry: ModelEntry) -> str:
    """Return the size of the download as text."""
    if not entry.public:
        return "not available"
    if not entry.sources:
        return "included"
    return f"{size / 1e9:.1f} GB" if (size := _bytes(entry)) else "unknown"


def _facts(entry: ModelEntry) -> dict[str, Any]:
    limit = [f"up to {entry.max_seconds:g} s"] if entry.max_seconds else []
    also = [f"also {', '.join(entry.aliases)}"] if entry.aliases else []
    return {
        "name": entry.name,
        "aliases": list(entry.aliases),
        "kind": entry.kind,
        "bytes": _bytes(entry),
        "installed": installed_layouts(entry) if entry.public else [],
        "layouts": [source.layout for source in entry.sources],
        "licenses": [license.id for license in entry.licenses],
        "commercial_use": entry.commercial,
        "outputs": [f"{license.name}: {license.outputs} ({license.url})" for license in entry.licenses],
        "max_seconds": entry.max_seconds or None,
        "notes": "; ".join([*([entry.notes] if entry.notes else []), *limit, *also]),
    }


def _bytes(entry: ModelEntry) -> int | None:
    """Return the size of the published download, or None if that of the weights is unknown."""
    weights = next(
        (file for source in entry.sources[:1] for file in source.files if not file.path.endswith(".json")), None
    )
    if weights is None or not (weights.size or weights.approximate_size):
        return None
    return sum(file.size or file.approximate_size or 0 for _, file in files_needed(entry))


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


# pull, show, verify


def _open(options: Options, name: str) -> Checkpoint | MusicGenCheckpoint:
    open_it = open_music if is_music(name) else open_checkpoint
    return open_it(
        name,
        revision=options.revision,
        offline=options.offline,
        accept_license=options.accept_license,
        confirm=confirmation(),
    )


def _pull(options: Options, name: str) -> int:
    require_entry(name.partition("@")[0])
    checkpoint = _open(options, name)
    paths = [str(path) for path in checkpoint.files]
    print_results({"name": checkpoint.name, "files": paths} if options.json else paths)
    return 0


def _show(options: Options, name: str) -> int:
    entry = named_entry(name)
    facts = _entry_facts(entry) if entry else _checkpoint_facts(_open(options, name))
    if options.json:
        print_results(facts)
    else:
        print_results(
            [line for key, value in facts.items() if value not in (None, "", []) for line in _lines(key, value)]
        )
    return 0


def _lines(key: str, value: Any) -> list[str]:
    if isinstance(value, list):
        return [f"{key}:", *(f"  {item}" for item in value)]
    return [f"{key}: {value}"]


def _entry_facts(entry: ModelEntry) -> dict[str, Any]:
    facts = _facts(entry)
    facts["files"] = [
        f"{source.layout}: {_place(part, file)}"
        for source in entry.sources
        for part in sources_needed(entry, source.layout)
        for file in part.files
    ]
    if entry.kind == "generator":
        facts["autoencoder"] = entry.autoencoder or "its own"
        facts["defaults"] = _defaults(entry)
    facts["terms"] = license_notice(entry).splitlines() if entry.sources else facts["licenses"]
    return facts


def _defaults(entry: ModelEntry) -> str:
    config = entry.parsed_config()
    assert isinstance(config, ModelConfig)
    defaults = config.sampling_defaults
    return f"{entry.default_seconds:g} s, {defaults.steps} steps of {defaults.sampler}, guidance {defaults.guidance:g}"


def _place(source: Source, file: RemoteFile) -> str:
    path = "/".join(part for part in (source.repo, source.subfolder, file.path) if part)
    return f"{path} ({_size(file.size)})" if file.size else path


def _checkpoint_facts(checkpoint: Checkpoint | MusicGenCheckpoint) -> dict[str, Any]:
    text = checkpoint.text_encoder
    return {
        "name": checkpoint.name,
        "layout": checkpoint.layout,
        "hash": checkpoint.fingerprint,
        "license": checkpoint.license,
        "tensors": len(checkpoint.tensors) + (len(text.tensors) if text else 0),
        "text encoder": "yes" if text or isinstance(checkpoint, MusicGenCheckpoint) else "no",
        "files": [str(path) for path in checkpoint.files],
    }


def _verify(options: Options, name: str) -> int:
    report = verify(_open(replace(options, offline=True), name))
    if options.json:
        files = [{"path": str(file.path), "bytes": file.size, "sha256": file.sha256} for file in report.files]
        print_results({**vars(report), "files": files, "ok": report.ok})
    else:
        print_results(
            [
                *(f"{file.sha256}  {file.path} ({_size(file.size)})" for file in report.files),
                f"{report.name}: {report.tensors} tensors, {report.parameters:,} values",
                *(f"no sha256 is recorded for {path}; corruption may go undetected" for path in report.unrecorded),
                *(report.faults or ["all names, shapes, and values are correct"]),
            ]
        )
    return 0 if report.ok else 1
