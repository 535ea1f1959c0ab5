"""The published layouts of data sets for the evaluation of text to audio.

Each reader turns the table of a data set into a catalog: which sounds, under which names users keep them, and which
prompts. Nothing is downloaded. Sources: Song Describer, zenodo.org/records/10072001; MusicCaps, arXiv 2301.11325;
AudioCaps, audiocaps.github.io; the catalog of sound-effects.bbcrewind.co.uk, and its captions in WavCaps,
arXiv 2303.17395.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from soundloom.datasets.examples import list_files
from soundloom.errors import CorruptFileError, RequestError, SoundloomError, printable, shown
from soundloom.evaluation.sets.prompts import Prompt
from soundloom.evaluation.sets.tables import MAX_TABLE_BYTES, Row, read_rows, read_table_text, require_columns
from soundloom.untrusted.json import decode_json

SINGING = re.compile(
    r"\b(speech|babble|hubbub|singing|choir|chant|mantra|rapping|humming|groan|grunt|vocal|vocalist|singer|voice|"
    r"acapella|man|men|woman|women|male|female|child|children|kid)s?\b",
    re.IGNORECASE,
)  # words that Stable Audio's lists of prompts without singing leave out, with their plurals
BBC_WORDS, BBC_SECONDS, BBC_COUNT = 3, 5.0, 2000  # our fixed subset; that of published figures is not known
CLIP_SECONDS = 10.0  # of MusicCaps and AudioCaps
AUDIOCAPS_ROWS = {"train": 49_838, "val": 2_475, "test": 4_875}  # captions in version 1


@dataclass(frozen=True)
class Choice:
    """Which part of a data set. `ids` are those of captions; `seconds` None is the length of the data set."""

    subset: str = ""
    without_singing: bool = False
    ids: frozenset[str] | None = None
    release: str = ""
    count: int = BBC_COUNT
    seconds: float | None = None


@dataclass(frozen=True)
class ListedSound:
    """A sound that a table lists; `names` are those that its file may have, without ending.

    `start` and `seconds` are its place in the recording that it was cut from, None if it is a whole file.
    """

    id: str
    caption: str
    names: tuple[str, ...]
    start: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Catalog:
    """The chosen part of a data set. With `loudest`, only the loudest part of each sound is used, of this length."""

    name: str
    version: str
    license: str
    sounds: tuple[ListedSound, ...]
    prompts: tuple[Prompt, ...]
    loudest: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """How a data set is read: its usual tables, their columns, the subsets (the first is the default)."""

    read: Callable[[list[Row], Path, Choice], Catalog]
    columns: tuple[tuple[str, ...], ...]  # of which a table has one group
    subsets: tuple[str, ...] = ("all",)
    tables: Callable[[str], tuple[str, ...]] = lambda subset: ()


def song_describer(rows: list[Row], path: Path, choice: Choice) -> Catalog:
    """Read song_describer.csv. Each track is one sound, each caption one prompt."""
    chosen = [row for row in rows if choice.subset == "all" or _is_true(row.text("is_valid_subset"))]
    chosen = _chosen(chosen, choice, "caption_id", "caption")
    sounds: dict[str, ListedSound] = {}
    for row in chosen:
        track, stem = row.need("track_id"), Path(row.text("path")).stem
        names = (f"{track}.2min", f"{stem}.2min", stem, track)
        sounds.setdefault(track, ListedSound(track, row.need("caption"), names))
    prompts = tuple(Prompt(row.need("caption_id"), row.need("caption"), choice.seconds) for row in chosen)
    return Catalog(
        _named("song-describer", choice),
        "1.0 (Zenodo 10072001)",
        "captions CC BY-SA 4.0; music under the Creative Commons license of each track (audio_licenses.txt)",
        tuple(sounds.values()),
        prompts,
        notes=_counted(len(rows), 1106, "captions of Song Describer"),
    )


def music_caps(rows: list[Row], path: Path, choice: Choice) -> Catalog:
    """Read musiccaps-public.csv: 10 s of a video each."""
    is_eval = {"eval": True, "train": False}.get(choice.subset)
    chosen = [row for row in rows if is_eval is None or _is_true(row.text("is_audioset_eval")) == is_eval]
    chosen = _chosen(chosen, choice, "ytid", "caption")
    return Catalog(
        _named("musiccaps", choice),
        "2023",
        "captions CC BY-SA 4.0; the sound belongs to its owners on YouTube",
        tuple(_video_clip(row, "ytid", "start_s", row.need("ytid")) for row in chosen),
        tuple(Prompt(row.need("ytid"), row.need("caption"), choice.seconds or CLIP_SECONDS) for row in chosen),
        notes=_counted(len(rows), 5521, "clips of MusicCaps"),
    )


def audio_caps(rows: list[Row], path: Path, choice: Choice) -> Catalog:
    """Read a split of AudioCaps. Each clip is one sound, each caption one prompt: five a clip outside of training."""
    release = choice.release or ("1.0" if len(rows) == AUDIOCAPS_ROWS.get(choice.subset) else "")
    if not release:
        expected = AUDIOCAPS_ROWS[choice.subset]
        raise RequestError(
            f"{printable(path)} has {len(rows)} captions, and version 1 of AudioCaps {expected}: which version is it?",
            "name it, for example --release 2.0",
        )
    chosen = _chosen(rows, choice, "audiocap_id", "caption")
    sounds: dict[str, ListedSound] = {}
    for row in chosen:
        clip = f"{row.need('youtube_id')}_{row.number('start_time') or 0:g}"
        sounds.setdefault(clip, _video_clip(row, "youtube_id", "start_time", clip))
    seconds = choice.seconds or CLIP_SECONDS
    return Catalog(
        _named("audiocaps", choice),
        release,
        "captions for academic use; the sound belongs to its owners on YouTube",
        tuple(sounds.values()),
        tuple(Prompt(row.need("audiocap_id"), row.need("caption"), seconds) for row in chosen),
    )


def bbc(rows: list[Row], path: Path, choice: Choice) -> Catalog:
    """Read the catalog of the BBC (location, description, secs), or that of WavCaps (id, caption, duration).

    The subset is fixed: sounds of 5 s or more with captions of 3 words or more, in the order of the SHA-256 of their
    ids, the first 2,000; of each the loudest 5 s.
    """
    is_wavcaps = bool(rows) and "caption" in rows[0].values
    seconds = choice.seconds or BBC_SECONDS
    found: dict[str, ListedSound] = {}
    for row in rows:
        name = row.need("id") if is_wavcaps else Path(row.need("location")).stem
        caption = row.text("caption", "description")
        length = row.number("duration" if is_wavcaps else "secs") or 0.0
        if len(caption.split()) >= BBC_WORDS and length >= seconds:
            found.setdefault(name, ListedSound(name, caption, (name,)))
    listed = [one for one in found.values() if choice.ids is None or one.id in choice.ids]
    if choice.without_singing:
        listed = [one for one in listed if not SINGING.search(one.caption)]
    sounds = tuple(sorted(listed, key=lambda one: hashlib.sha256(one.id.encode()).digest())[: choice.count])
    return Catalog(
        _named("bbc-sound-effects", choice),
        "WavCaps" if is_wavcaps else "BBC catalog",
        "RemArc: sound for personal, educational and research use, not to be redistributed; "
        + ("captions of WavCaps for academic use" if is_wavcaps else "catalog under the Open Government License"),
        sounds,
        tuple(Prompt(one.id, one.caption, seconds) for one in sounds),
        loudest=seconds,
        notes=() if len(sounds) == choice.count else (f"the catalog has {len(sounds)} sounds, not {choice.count}",),
    )


LAYOUTS = {
    "songdescriber": Layout(
        song_describer, (("caption_id", "track_id", "caption"),), ("valid", "all"), lambda _: ("song_describer.csv",)
    ),
    "musiccaps": Layout(
        music_caps,
        (("ytid", "start_s", "caption"),),
        ("all", "eval", "train"),
        lambda _: ("musiccaps-public.csv",),
    ),
    "audiocaps": Layout(
        audio_caps,
        (("audiocap_id", "youtube_id", "start_time", "caption"),),
        ("test", "val", "train"),
        lambda subset: (f"{subset}.csv", f"audiocaps_{subset}.csv"),
    ),
    "bbc": Layout(
        bbc,
        (("location", "description", "secs"), ("id", "caption", "duration")),
        tables=lambda _: ("bbc_final.json", "BBCSoundEffects.csv"),
    ),
}


def read_catalog(name: str, source: Path, choice: Choice) -> tuple[Catalog, Path]:
    """Read a data set of LAYOUTS from its table, or a folder that holds it; also return the folder with the sounds.

    Raises RequestError if there is no table, or several, and for an unknown subset; CorruptFileError for other tables.
    """
    layout = LAYOUTS[name]
    subset = choice.subset or layout.subsets[0]
    if subset not in layout.subsets:
        raise RequestError(f"{name} has no subset '{shown(subset)}'", f"subsets: {', '.join(layout.subsets)}")
    if not source.exists():
        raise RequestError(f"there is no {printable(source)}", "name the folder that you fetched the data set into")
    table = source if source.is_file() else _find_table(name, source, subset)
    rows = list(_read(table))
    if not any(set(group) <= rows[0].values.keys() for group in layout.columns if rows):
        require_columns(rows, table, *layout.columns[0])
        raise CorruptFileError(f"{printable(table)} has no rows")
    found = layout.read(rows, table, replace(choice, subset=subset))
    if not found.prompts:
        raise RequestError(f"no caption in {printable(table)} is chosen", "choose another subset, or other ids")
    return found, source if source.is_dir() else source.parent


def _find_table(name: str, folder: Path, subset: str) -> Path:
    """Return the table of a data set below a folder: by its usual name, else by its columns."""
    layout = LAYOUTS[name]
    tables = [path for path in list_files(folder) if path.suffix.lower() in (".csv", ".json")]
    usual = [path for wanted in layout.tables(subset) for path in tables if path.name.lower() == wanted.lower()]
    found = usual[:1] or [path for path in tables if path.suffix.lower() == ".csv" and _has_columns(path, layout)]
    if len(found) == 1:
        return found[0]
    expected = " or ".join(layout.tables(subset))
    if found:
        listed = ", ".join(printable(path.relative_to(folder)) for path in found[:5])
        raise RequestError(f"{printable(folder)} has several tables: {listed}", "name one of them as the source")
    raise RequestError(f"{printable(folder)} has no table of {name}", f"fetch {expected} into it")


def _has_columns(path: Path, layout: Layout) -> bool:
    try:
        row = next(iter(read_rows(path)), None)
    except SoundloomError:
        return False
    return row is not None and any(set(group) <= row.values.keys() for group in layout.columns)


def _read(path: Path) -> Iterator[Row]:
    """Yield the rows of a CSV file, or of the list `data` of a JSON file."""
    if path.suffix.lower() != ".json":
        yield from read_rows(path)
        return
    name = printable(path)
    try:
        data = decode_json(read_table_text(path), MAX_TABLE_BYTES)
    except ValueError as error:
        raise CorruptFileError(f"{name} is not JSON: {error}") from error
    rows = data.get("data") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CorruptFileError(f"{name} has no list 'data' of sounds, as bbc_final.json has")
    for number, row in enumerate(rows, 1):
        yield Row(row, f"item {number} of {name}")


def _chosen(rows: Iterable[Row], choice: Choice, key: str, caption: str) -> list[Row]:
    """Return the rows with one of the chosen ids, and without words of singing if that is asked."""
    return [
        row
        for row in rows
        if (choice.ids is None or row.need(key) in choice.ids)
        and not (choice.without_singing and SINGING.search(row.text(caption)))
    ]


def _video_clip(row: Row, key: str, at: str, name: str) -> ListedSound:
    """Return a clip of a video, under the names that common programs give it."""
    video, start = row.need(key), row.number(at) or 0.0
    first, last, milliseconds = f"{start:g}", f"{start + CLIP_SECONDS:g}", f"{1000 * start:.0f}"
    names = [f"{video}_{first}", f"{video}_{first}_{last}", f"[{video}]-[{first}-{last}]", f"{video}-{first}-{last}"]
    names += [f"{video}-{first}", f"{video}_{milliseconds}", f"{video}_{start:.3f}_{start + CLIP_SECONDS:.3f}"]
    names += [f"Y{other}" for other in names] + [video, f"Y{video}", *filter(None, [row.text("audiocap_id")])]
    return ListedSound(name, row.need("caption"), tuple(names), start, CLIP_SECONDS)


def _named(name: str, choice: Choice) -> str:
    """Return the name of a set with what was chosen."""
    parts = [choice.subset if choice.subset != "all" else "", "no-singing" if choice.without_singing else ""]
    return "-".join([name, *filter(None, parts), *(["ids"] if choice.ids is not None else [])])


def _is_true(text: str) -> bool:
    return text.lower() in ("true", "1")


def _counted(found: int, published: int, what: str) -> tuple[str, ...]:
    return () if found == published else (f"the table has {found} {what}, the published one {published}",)
