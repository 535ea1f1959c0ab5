"""`soundloom show`: describe an audio file, and print the metadata of a generated one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundloom.audio.clip import record_or_empty
from soundloom.audio.metadata import read_embedded_tags, read_record
from soundloom.cli.options.flags import flag
from soundloom.cli.options.output import JsonOptions
from soundloom.cli.options.shared import measure_flag
from soundloom.cli.provenance import manifest_facts, manifest_lines
from soundloom.cli.terminal.results import print_results
from soundloom.errors import AudioError, RequestError, printable
from soundloom.folders import expanded

if TYPE_CHECKING:
    from soundloom.audio.measure import Measurement

ONSETS_SHOWN = 8


@dataclass(frozen=True)
class Options(JsonOptions):
    """Describe an audio file: its format and length, and prompt, seed, model, and settings if soundloom generated it.

    soundloom show --measure loop.wav

    A C2PA manifest is verified: who signed the file, whether you trust them, and whether it was changed. If the
    manifest is not valid, the exit code is 1.
    """

    file: str = flag(metavar="FILE", help="any audio file")
    measure: bool = measure_flag(
        default=False,
        action="store_true",
        help="also measure tempo, key, pitch, loudness, true peak, and onsets; null or unsure if uncertain",
    )
    c2pa_trust: str | None = flag(
        "--c2pa-trust",
        metavar="FILE",
        help="PEM file with the roots of certificates to trust (default: that of the settings, else none)",
    )


def run(options: Options) -> int:
    path = Path(options.file)
    if not path.is_file():
        raise AudioError(f"there is no file {printable(path)}")
    if options.c2pa_trust is not None and not expanded(options.c2pa_trust).is_file():
        raise RequestError(f"--c2pa-trust: there is no file {printable(options.c2pa_trust)}", "give a PEM file")
    record = record_or_empty(lambda: read_record(path))
    try:
        audio = _audio_facts(path)
    except AudioError:
        if not record or options.measure:
            raise
        audio = {}  # such as latents with a sidecar
    measured = _measured(path) if options.measure else None
    manifest = manifest_facts(path, expanded(options.c2pa_trust) if options.c2pa_trust is not None else None)
    code = int(manifest is not None and manifest["valid"] is False)
    if options.json:
        facts = {"audio": audio, "c2pa": manifest} | ({} if measured is None else {"measured": measured.to_json()})
        print_results({**record, **facts})
        return code
    lines = _audio_lines(audio) if audio else []
    if manifest is not None:
        lines += manifest_lines(manifest)
    if measured is not None:
        lines += ["measured:", *(f"  {line}" for line in _measured_lines(measured))]
    print_results([*lines, *(_lines(record) if record else ["metadata of soundloom: none"])])
    return code


def _audio_facts(path: Path) -> dict[str, Any]:
    """Return format, length, sample rate, channels and size of an audio file, and the tags of other programs."""
    from soundloom.audio.read import UNKNOWN_LENGTH, open_audio_file
    from soundloom.audio.streamed_clip import AudioFile

    with open_audio_file(path) as (file, _):
        samples, rate = file.frames, file.samplerate
        facts = {"format": file.format, "subtype": file.subtype}
        channels = file.channels
    if samples >= UNKNOWN_LENGTH:
        samples = AudioFile.open(path).samples
    facts |= {"seconds": samples / rate, "samples": samples, "sample_rate": rate, "channels": channels}
    tags = record_or_empty(lambda: _tags(path))
    return {**facts, "bytes": path.stat().st_size} | ({"tags": tags} if tags else {})


def _tags(path: Path) -> dict[str, Any]:
    """Return the tags of a file that another program made, as text by name."""
    found = read_embedded_tags(path)
    if "prompt" in found or any("soundloom" in name for name in found):
        return {}
    return {name: ", ".join(texts) for name, texts in found.items()}


def _measured(path: Path) -> Measurement:
    from soundloom.audio.streamed_clip import StreamedClip

    return StreamedClip.open(path).measure()


def _audio_lines(facts: dict[str, Any]) -> list[str]:
    lines = [
        f"format: {facts['format']}, {facts['subtype']}",
        f"length: {facts['seconds']:.3f} s ({facts['samples']} samples)",
        f"sample rate: {facts['sample_rate']} Hz",
        f"channels: {facts['channels']}",
        f"size: {facts['bytes']} bytes",
    ]
    return lines + (["tags:", *_lines(facts["tags"], "  ")] if "tags" in facts else [])


def _measured_lines(found: Measurement) -> list[str]:
    def sure(value: object, unit: str, confidence: float) -> str:
        return f"{value}{unit} (confidence {confidence:.2f})"

    times = ", ".join(f"{onset:.2f}" for onset in found.onsets[:ONSETS_SHOWN])
    more = ", …" if len(found.onsets) > ONSETS_SHOWN else ""
    return [
        f"tempo: {'unsure' if found.tempo is None else sure(f'{found.tempo:.1f}', ' BPM', found.tempo_confidence)}",
        f"key: {'unsure' if found.key is None else sure(found.key, '', found.key_confidence)}",
        f"pitch: {'unsure' if found.pitch is None else sure(f'{found.pitch:.1f}', ' Hz', found.pitch_confidence)}",
        f"loudness: {found.loudness:.1f} LUFS",
        f"true peak: {found.true_peak:.1f} dBTP",
        f"onsets: {len(found.onsets)}" + (f", at {times}{more} s" if times else ""),
        f"sound: {found.sound_seconds:.2f} s from the first to the last",
    ]


def _lines(record: dict[str, Any], indent: str = "") -> list[str]:
    lines: list[str] = []
    for name, value in record.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        elif value != {}:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            lines.append(f"{indent}{name}: {text}")
    return lines
