"""Code as users write it, with everything that README.md and docs/python.md promise. Type checkers read it."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import assert_type

import numpy as np

import soundloom
from soundloom import (
    Clip,
    Compat,
    GenerationRequest,
    Guidance,
    Model,
    MusicModel,
    Progress,
    ShiftConfig,
    SoundloomError,
)
from soundloom.audio.c2pa.sign import C2paOptions
from soundloom.audio.c2pa.verify import Verification, verify
from soundloom.errors import RequestError


def open_models(folder: Path) -> list[Model]:
    model = soundloom.load("mini")
    assert_type(model, Model)
    assert_type(soundloom.load(), Model)
    quick = soundloom.load(folder, engine="torch", device="cpu", precision="float32", keep_loaded=True)
    fetched = soundloom.load("small-music", revision="main", offline=True, accept_license=True)
    print(model.name, model.sample_rate, model.config, soundloom.__version__)
    return [model, quick, fetched]


def listen(progress: Progress) -> None:
    print(progress.stage, progress.step, progress.steps, progress.seconds, progress.finished, progress.host_bytes)


def generate(model: Model) -> list[Clip]:
    clip = model.generate("kick drum loop, 120 BPM", seconds=4, seed=7)
    assert_type(clip, Clip)
    several = model.generate(["rain", "a bell"], seconds=[8, None], seed=[1, None], negative_prompt=["", None])
    assert_type(several, list[Clip])
    detailed = model.generate(
        "rain",
        steps=4,
        sampler="euler",
        guidance=Guidance(2.0, apg=0.5, interval=(0.1, 0.9), rescale=0.1, norm_threshold=1),
        negative_prompt="drums",
        shift=ShiftConfig(type="flux"),
        duration_padding=3,
        compat=Compat(padding="mask"),
        progress=listen,
        cancel=Event(),
    )
    blended = model.generate("(warm:1.3) piano", prompt_b="rain", mix=[(0, 0), (2, 1)])
    several += model.generate(["rain", "a bell"], prompt_b=["wind", None], mix=0.4)
    written = soundloom.prompt_template("music", genre="house", bpm=124)
    several.append(model.generate(f"{written}, {soundloom.random_prompt('medium', seed=7)}"))
    return [
        clip,
        *several,
        blended,
        detailed,
        model.generate("rain", guidance=2, compat="stable-audio-3", progress=print),
    ]


def cut_and_join(clip: Clip) -> Clip:
    part = clip[1.0:2.5]
    assert_type(part, Clip)
    assert_type(clip[-1:], Clip)
    both = clip + part
    assert_type(both, Clip)
    taken = Clip.from_array(np.zeros((100, 2), np.int16), 44100)
    print(clip.plot())
    return both + taken.to(rate=clip.sample_rate, channels=1)


def sign(clip: Clip, folder: Path) -> bool:
    clip.save(folder / "a.wav", c2pa=True)
    signed = clip.save("b.flac", disclosure=False, c2pa=C2paOptions(cert="chain.pem", key=folder / "key.pem"))
    found = verify(signed, trust="roots.pem")
    assert_type(found, Verification | None)
    return found is not None and found.valid and not found.tampered


def edit(model: Model, clip: Clip) -> Iterator[Clip]:
    yield model.vary(clip, "a wooden box", noise=0.6)
    yield model.vary("in.wav")
    yield model.vary(Path("in.wav"), regions=[soundloom.bars(3, 4, bpm=120)], seed=1, crossfade=0.02)
    yield model.inpaint(clip, [(1.0, 1.5), (3, 3.4)], "snare roll", negative_prompt="voice")
    yield model.inpaint("in.wav", regions=((0, 1),), steps=2, prompt_b="rain", mix=0.3)
    yield model.extend(clip, seconds=12)
    yield model.extend("in.wav", 2.5, "rain", before=True, progress=listen)


def edit_music(clip: Clip) -> Iterator[Clip]:
    editor = soundloom.load("instruct-musicgen", accept_license=True)
    assert_type(editor, MusicModel)
    assert_type(soundloom.load("instruct-musicgen@int4"), MusicModel)
    yield editor.edit(clip, "Only drums", seed=7, temperature=0.9, top_k=100, top_p=0.5, guidance=4)
    yield from editor.edit("song.wav", ["No bass", "Add guitar"], window=5, raw=True)
    yield soundloom.load("musicgen-small").generate("a slow piano melody", seconds=20)
    codes = editor.encode(Path("song.wav"))
    yield editor.decode(codes)


def latents(model: Model, clip: Clip) -> Clip:
    encoded = model.encode(clip)
    assert np.array_equal(encoded, model.encode("in.wav"))
    assert sum(piece.shape[1] for piece in model.decode_stream(encoded)) > 0
    return model.decode(encoded, samples=clip.samples)


def repeat(model: Model, clip: Clip) -> Clip:
    request = GenerationRequest.from_record(clip.record["request"])
    (again,) = model.run([request], progress=listen)
    assert_type(again, Clip)
    return again


def files(clip: Clip) -> bytes:
    path = clip.save("kick.wav", subtype="PCM_16", rate=48000, peak="clip", sidecar=True, overwrite=False)
    assert_type(path, Path)
    clip.save(Path("kick.mp3"), loudness=-16, true_peak=-2)
    finished = clip.trimmed(-50, margin=0.02).faded(0.01, fade_out=0.05)
    assert_type(finished, Clip)
    finished.save("kick.wav", normalize="-1dbtp")
    buffer = BytesIO()
    clip.save(buffer, format="wav", rate=22050)
    with Path("kick.flac").open("wb") as file:
        clip.save(file)
    with Path("kick.flac").open("rb") as file:
        back = Clip.load(file)
    assert_type(back, Clip)
    assert Clip.load("kick.wav").channels == Clip.load(path).channels == 2
    stereo = Clip(np.zeros((2, 44100)), 44100)
    print(repr(stereo), stereo.seconds, stereo.sample_rate, stereo.audio.shape, stereo.source_format)
    return clip.to_bytes("ogg") + clip.to_bytes(loudness=-16)


def failures(model: Model) -> None:
    try:
        model.generate("rain", seconds=-1)
    except RequestError as error:
        print(error.hint)
    except SoundloomError as error:
        print(error, error.exit_code)


def mistakes(model: Model, clip: Clip) -> None:
    """Calls that type checkers reject: they report an ignore comment that is not needed."""
    print(soundloom.laod)  # type: ignore[attr-defined]
    soundloom.load("mini", dtype="float16")  # type: ignore[call-overload]
    model.generate("rain", cfg=3)  # type: ignore[call-overload]
    model.generate("rain", seconds="4")  # type: ignore[arg-type]
    model.vary(3)  # type: ignore[arg-type]
    model.edit(clip, "Only drums")  # type: ignore[attr-defined]
    clip.save(BytesIO(), sidecar=True)  # type: ignore[call-overload]
