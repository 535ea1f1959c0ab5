"""A clip as HTML: what it is, a picture of the waveform and a player, with nothing to load from elsewhere.

The player gets MP3 at about 200 kbit/s. Of a long clip it gets the beginning only, and says so, which bounds the size
of notebooks: at most about 1.6 MB for each clip.
"""

from __future__ import annotations

import base64
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from soundloom.audio.channels import to_channels
from soundloom.audio.formats.containers import MP3_RATES
from soundloom.audio.formats.file_objects import writing_to
from soundloom.audio.notebook.waveform import envelope
from soundloom.audio.records import recorded_prompt
from soundloom.audio.write import write_audio
from soundloom.errors import SoundloomError, shown

if TYPE_CHECKING:
    from soundloom.audio.sound import Sound

PREVIEW_SECONDS = 30.0
PREVIEW_RATE = 44100  # for clips whose rate MP3 does not have
MAX_PROMPT = 300  # characters
LANES = 2  # channels in the picture
WIDTH, LANE_HEIGHT = 600, 60
COLOR = "#3b7dd8"  # readable on light and dark pages


def clip_html(sound: Sound) -> str:
    """Return a self-contained piece of HTML."""
    prompt = recorded_prompt(sound.record)
    if len(prompt) > MAX_PROMPT:
        prompt = f"{prompt[: MAX_PROMPT - 1]}…"
    channels = {1: "mono", 2: "stereo"}.get(sound.channels, f"{sound.channels} channels")
    facts = [f"{sound.seconds:.2f} s", channels, f"{sound.sample_rate} Hz"]
    for name in ("model", "seed"):
        if sound.record.get(name) is not None:
            facts.append(f"{name} {shown(sound.record[name])}")
    parts = [f"<div><b>{escape(prompt)}</b></div>"] if prompt else []
    parts += [f"<div>{escape(' · '.join(facts))}</div>", _picture(sound), _player(sound)]
    return f'<div class="soundloom-clip" style="max-width:{WIDTH}px">{"".join(parts)}</div>'


def _picture(sound: Sound) -> str:
    """Return the waveform of the first channels as SVG."""
    low, high = (np.clip(np.nan_to_num(side[:LANES]), -1, 1) for side in envelope(sound.stream(), WIDTH))
    height = LANE_HEIGHT * len(low)
    paths = "".join(_lane(*lane, index) for index, lane in enumerate(zip(low, high, strict=True)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="100%" role="img" '
        f'aria-label="waveform" style="display:block">{paths}</svg>'
    )


def _lane(low: np.ndarray, high: np.ndarray, index: int) -> str:
    """Return one channel: around its highs, and back around its lows."""
    x = (np.arange(len(low)) + 0.5) * WIDTH / len(low)
    middle, half = (index + 0.5) * LANE_HEIGHT, LANE_HEIGHT / 2 - 1
    top, bottom = middle - high * half - 0.25, middle - low * half + 0.25  # silence is a thin line
    points = [*zip(x, top, strict=True), *zip(x[::-1], bottom[::-1], strict=True)]
    return f'<path fill="{COLOR}" d="M{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}z"/>'


def _player(sound: Sound) -> str:
    """Return the player, and what it plays if that is not all."""
    if not sound.samples:
        return "<div>no samples</div>"
    length = min(sound.samples, round(PREVIEW_SECONDS * sound.sample_rate))
    try:
        data = base64.b64encode(_mp3(sound, length)).decode()
    except SoundloomError as error:  # such as values that are not finite
        return f"<div>{escape(str(error))}</div>"
    note = ""
    if length < sound.samples:
        note = f"<div>preview: the player has the first {length / sound.sample_rate:g} s</div>"
    return f'<audio controls preload="metadata" style="width:100%" src="data:audio/mpeg;base64,{data}"></audio>{note}'


def _mp3(sound: Sound, length: int) -> bytes:
    """Return the first samples as MP3 without tags; louder ones than full scale turned down."""
    part = sound.cut(0, length).with_record({})
    rate = sound.sample_rate if sound.sample_rate in MP3_RATES else PREVIEW_RATE
    audio = to_channels(part.stream(rate).array(), min(2, sound.channels))
    peak = float(np.abs(audio).max(initial=0.0))
    file = BytesIO()
    with writing_to(file, "mp3") as path:
        write_audio(path, audio / np.float32(peak) if peak > 1 else audio, rate)
    return file.getvalue()
