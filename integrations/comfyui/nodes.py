"""The nodes. Clips travel as AUDIO, and as CLIPS: their ids on the server, with the records of how they were made."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import folder_paths  # of ComfyUI

from .server import Server, ServerError
from .sound import to_audio, to_wav, with_comments

CATEGORY = "audio/soundloom"
MODEL, CLIPS = "SOUNDLOOM_MODEL", "SOUNDLOOM_CLIPS"
DEFAULT_MODEL = "model of the server"
NO_LORA = "none"
KINDS = ("inpaint", "vary", "extend", "loop")
FORMATS = ("wav", "flac", "mp3", "ogg")
MAX_SEED = 2**53 - 1  # the largest integer that browsers keep exact
MAX_SECONDS = 1200.0
SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff")
_REGION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*-\s*(\d+(?:\.\d*)?|\.\d+)\s*", re.ASCII)

PROMPT = ("STRING", {"multiline": True, "default": "", "dynamicPrompts": True})
SEED = ("INT", {"default": 0, "min": 0, "max": MAX_SEED, "control_after_generate": True})
STEPS = ("INT", {"default": 0, "min": 0, "max": 1000, "tooltip": "0: as many as the model needs."})
OPTIONS = (
    "STRING",
    {
        "multiline": True,
        "default": "",
        "tooltip": 'Further fields of the request as JSON, such as {"bars": 4, "bpm": 120, "loop": true}.',
    },
)


class SoundloomModel:
    """Choose one of the server's models."""

    CATEGORY, FUNCTION = CATEGORY, "choose"
    RETURN_TYPES, RETURN_NAMES = (MODEL,), ("model",)
    DESCRIPTION = "Choose a model of the soundloom server, and load it there before it is needed."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (the name is ComfyUI's)
        names = [DEFAULT_MODEL, *_server_names("/v1/models", "data", "id")]
        load = ("BOOLEAN", {"default": True, "tooltip": "Load it now, while other nodes run."})
        return {"required": {"name": (names,), "load": load}}

    @classmethod
    def VALIDATE_INPUTS(cls, name: str | None = None) -> bool:  # noqa: N802
        """Accept names that the menu lacks, since the server may have been off; it has the last word."""
        return True

    def choose(self, name: str, load: bool) -> tuple[dict[str, Any]]:
        chosen = None if name == DEFAULT_MODEL else name
        if load:
            server = Server()
            wanted = chosen or server.json("GET", "/v1/system")["model"]
            server.json("POST", f"/v1/models/{wanted}/load")
        return ({"name": chosen, "loras": []},)


class SoundloomLora:
    """Add an adapter to a model; several of these nodes in a row are a stack."""

    CATEGORY, FUNCTION = CATEGORY, "add"
    RETURN_TYPES, RETURN_NAMES = (MODEL,), ("model",)
    DESCRIPTION = "Add a LoRA adapter from the server's folder of adapters. Chain these nodes to use several."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        noise = {"min": 0.0, "max": 1.0, "step": 0.01}
        return {
            "required": {
                "model": (MODEL,),
                "lora": ([NO_LORA, *_server_names("/v1/loras", "loras", "name")],),
                "strength": ("FLOAT", {"default": 1.0, "min": -4.0, "max": 4.0, "step": 0.05}),
            },
            "optional": {
                "from_noise": ("FLOAT", {"default": 0.0, **noise, "tooltip": "The lowest noise level it acts at."}),
                "to_noise": ("FLOAT", {"default": 1.0, **noise, "tooltip": "The highest noise level it acts at."}),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, lora: str | None = None) -> bool:  # noqa: N802
        return True

    def add(
        self, model: Mapping[str, Any], lora: str, strength: float, from_noise: float = 0.0, to_noise: float = 1.0
    ) -> tuple[dict[str, Any]]:
        if lora == NO_LORA or strength == 0:
            return (dict(model),)
        use: dict[str, Any] = {"name": lora, "strength": strength}
        if (from_noise, to_noise) != (0.0, 1.0):
            use["sigma"] = [from_noise, to_noise]
        return ({**model, "loras": [*model["loras"], use]},)


class SoundloomGenerate:
    """Generate clips from text."""

    CATEGORY, FUNCTION = CATEGORY, "generate"
    RETURN_TYPES, RETURN_NAMES = ("AUDIO", CLIPS, "STRING"), ("audio", "clips", "record")
    DESCRIPTION = "Generate audio from text."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        seconds = {
            "default": 0.0,
            "min": 0.0,
            "max": MAX_SECONDS,
            "step": 0.1,
            "tooltip": "0: usual length.",
        }
        return {
            "required": {
                "model": (MODEL,),
                "prompt": PROMPT,
                "seconds": ("FLOAT", seconds),
                "seed": SEED,
                "count": ("INT", {"default": 1, "min": 1, "max": 100, "tooltip": "Clips with seeds in a row."}),
                "steps": STEPS,
            },
            "optional": {"negative_prompt": PROMPT, "options": OPTIONS},
        }

    def generate(
        self,
        model: Mapping[str, Any],
        prompt: str,
        seconds: float,
        seed: int,
        count: int,
        steps: int,
        negative_prompt: str = "",
        options: str = "",
    ) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
        request = _request(prompt, seed, steps, negative_prompt, options)
        if seconds:
            request["seconds"] = seconds
        server = Server()
        return _results(server, server.run({**_model_fields(model), "request": request, "count": count}, _watch()))


class SoundloomEdit:
    """Edit clips: regenerate regions, vary, continue, or make them loop."""

    CATEGORY, FUNCTION = CATEGORY, "edit"
    RETURN_TYPES, RETURN_NAMES = ("AUDIO", CLIPS, "STRING"), ("audio", "clips", "record")
    DESCRIPTION = "Regenerate regions of clips, vary or continue them, or make them loop. Connect audio or clips."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        regions = {"default": "1-1.5", "tooltip": "For inpaint: seconds of the clip, such as 1-1.5, 3-4.25."}
        noise = {"default": 0.6, "min": 0.01, "max": 1.0, "step": 0.01, "tooltip": "For vary: 1 keeps nothing."}
        seconds = {
            "default": 4.0,
            "min": 0.0,
            "max": MAX_SECONDS,
            "step": 0.1,
            "tooltip": "For extend: how much.",
        }
        return {
            "required": {
                "model": (MODEL,),
                "kind": (list(KINDS),),
                "prompt": PROMPT,
                "regions": ("STRING", regions),
                "noise": ("FLOAT", noise),
                "extend_by": ("FLOAT", seconds),
                "seed": SEED,
                "steps": STEPS,
            },
            "optional": {"audio": ("AUDIO",), "clips": (CLIPS,), "negative_prompt": PROMPT, "options": OPTIONS},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, kind: str | None = None, regions: str | None = None) -> bool | str:  # noqa: N802
        """Report regions that are typed wrong before anything runs. Either is None if another node gives it."""
        try:
            if kind == "inpaint" and regions is not None:
                parse_regions(regions)
        except ValueError as error:
            return str(error)
        return True

    def edit(
        self,
        model: Mapping[str, Any],
        kind: str,
        prompt: str,
        regions: str,
        noise: float,
        extend_by: float,
        seed: int,
        steps: int,
        audio: Mapping[str, Any] | None = None,
        clips: Sequence[Mapping[str, Any]] | None = None,
        negative_prompt: str = "",
        options: str = "",
    ) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
        if (audio is None) == (clips is None):
            raise ValueError("connect either audio or clips, not both" if clips else "connect audio or clips")
        server = Server()
        sources = clips or [_clip_of(server.upload(data, "audio from ComfyUI.wav")) for data in _wavs(audio)]
        request = _request(prompt, seed, steps, negative_prompt, options)
        if kind == "inpaint":
            request["regions"] = parse_regions(regions)
        elif kind == "vary":
            request["noise"] = noise
        made = []
        for number, source in enumerate(sources):
            watch = _watch(number, len(sources))
            own = {"seconds": source["seconds"] + extend_by} if kind == "extend" else {}
            body = {**_model_fields(model), "kind": kind, "request": {**request, **own}, "source": source["id"]}
            made += server.run(body, watch)
        return _results(server, made)


class SoundloomSave:
    """Save clips with the records of how they were made."""

    CATEGORY, FUNCTION, OUTPUT_NODE = CATEGORY, "save", True
    RETURN_TYPES = ()
    DESCRIPTION = "Save clips in ComfyUI's output folder with their records, and in FLAC with the workflow."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {
            "required": {
                "clips": (CLIPS,),
                "filename_prefix": ("STRING", {"default": "audio/soundloom"}),
                "format": (list(FORMATS), {"default": "flac"}),
            },
            "optional": {"audioUI": ("AUDIO_UI", {})},  # the player; ComfyUI's page needs it of nodes with sound
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    def save(
        self,
        clips: Sequence[Mapping[str, Any]],
        filename_prefix: str,
        format: str,
        audioUI: Any = None,
        prompt: Any = None,
        extra_pnginfo: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        server, results = Server(), []
        place = folder_paths.get_save_image_path(filename_prefix, folder_paths.get_output_directory())
        folder, name, number, subfolder, _ = place
        for clip in clips:
            data = server.audio(clip, format=format)
            if format == "flac":
                data = with_comments(data, _workflow(prompt, extra_pnginfo))
            file = f"{name.replace('%batch_num%', str(len(results)))}_{number:05}_.{format}"
            Path(folder, file).write_bytes(data)
            results.append({"filename": file, "subfolder": subfolder, "type": "output"})
            number += 1
        return {"ui": {"audio": results}}


class SoundloomLoad:
    """Load an audio file and the record of how it was made."""

    CATEGORY, FUNCTION = CATEGORY, "load"
    RETURN_TYPES = ("AUDIO", CLIPS, "STRING", "INT", "FLOAT", "STRING")
    RETURN_NAMES = ("audio", "clips", "prompt", "seed", "seconds", "record")
    DESCRIPTION = "Load an audio file from ComfyUI's input folder; if soundloom made it, with its prompt and seed."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        folder = Path(folder_paths.get_input_directory())
        files = (path for path in folder.iterdir() if path.suffix.lower() in SOUNDS) if folder.is_dir() else ()
        return {"required": {"audio": (sorted(path.name for path in files),)}}

    @classmethod
    def IS_CHANGED(cls, audio: str) -> str:  # noqa: N802
        return hashlib.sha256(Path(folder_paths.get_annotated_filepath(audio)).read_bytes()).hexdigest()

    @classmethod
    def VALIDATE_INPUTS(cls, audio: str) -> bool | str:  # noqa: N802
        return True if folder_paths.exists_annotated_filepath(audio) else f"there is no audio file {audio}"

    def load(self, audio: str) -> tuple[dict[str, Any], list[dict[str, Any]], str, int, float, str]:
        path, server = Path(folder_paths.get_annotated_filepath(audio)), Server()
        clip = _clip_of(server.upload(path.read_bytes(), path.name))
        record = clip["record"]
        request = record.get("request") or {}
        prompt = record.get("prompt") or request.get("prompt") or ""
        seed = record.get("seed")
        sound = to_audio([server.audio(clip, format="wav", subtype="float")])
        text = json.dumps(record, ensure_ascii=False, indent=2)
        return sound, [clip], prompt, seed if isinstance(seed, int) else 0, clip["seconds"], text


def parse_regions(text: str) -> list[list[float]]:
    """Return regions such as "1-1.5, 3-4" as pairs of seconds. Raises ValueError."""
    found = [_REGION.fullmatch(part) for part in text.split(",")]
    pairs = [[float(one[1]), float(one[2])] for one in found if one]
    if len(pairs) != len(found) or any(start >= end for start, end in pairs):
        raise ValueError(f"regions are seconds such as 1-1.5, 3-4.25; found {text!r}")
    return pairs


def _request(prompt: str, seed: int, steps: int, negative_prompt: str, options: str) -> dict[str, Any]:
    """Return a request; its further fields come last, so that they can replace all others. Raises ValueError."""
    request: dict[str, Any] = {"prompt": prompt, "seed": seed}
    if steps:
        request["steps"] = steps
    if negative_prompt:
        request["negative_prompt"] = negative_prompt
    if not options.strip():
        return request
    try:
        more = json.loads(options)
    except ValueError as error:
        raise ValueError(f"options are no JSON: {error}") from error
    if not isinstance(more, dict):
        raise ValueError('options are a JSON object such as {"bars": 4, "bpm": 120}')
    return request | more


def _workflow(prompt: Any, extra: Mapping[str, Any] | None) -> dict[str, str]:
    """Return what ComfyUI stores in files, so that dropping them on its page opens the workflow."""
    from comfy.cli_args import args

    if args.disable_metadata or prompt is None:
        return {}
    return {name: json.dumps(value) for name, value in {"prompt": prompt, **(extra or {})}.items()}


def _model_fields(model: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": model["name"], "loras": model["loras"]}


def _wavs(audio: Mapping[str, Any]) -> list[bytes]:
    return [to_wav(one, int(audio["sample_rate"])) for one in audio["waveform"]]


def _clip_of(upload: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": upload["id"], "is_take": False, "seconds": upload["seconds"], "record": upload["record"]}


def _results(server: Server, takes: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """Return what nodes that make clips put out."""
    clips = [
        {"id": take["id"], "is_take": True, "seconds": take["audio"]["seconds"], "record": take["record"]}
        for take in takes
    ]
    records = [clip["record"] for clip in clips]
    text = json.dumps(records if len(records) > 1 else records[0], ensure_ascii=False, indent=2)
    return to_audio([server.audio(clip, format="wav", subtype="float") for clip in clips]), clips, text


def _watch(number: int = 0, count: int = 1) -> Callable[[float], None]:
    """Return a function that shows progress in ComfyUI, and raises when its user cancels."""
    import comfy.model_management
    import comfy.utils

    bar = comfy.utils.ProgressBar(100 * count)

    def watch(fraction: float) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(round(100 * (number + fraction)))

    return watch


def _server_names(path: str, key: str, name: str) -> list[str]:
    try:
        return Server().names(path, key, name)
    except ServerError:
        return []


NODE_CLASS_MAPPINGS = {
    "SoundloomModel": SoundloomModel,
    "SoundloomLora": SoundloomLora,
    "SoundloomGenerate": SoundloomGenerate,
    "SoundloomEdit": SoundloomEdit,
    "SoundloomSave": SoundloomSave,
    "SoundloomLoad": SoundloomLoad,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "SoundloomModel": "soundloom: Choose model",
    "SoundloomLora": "soundloom: Add LoRA",
    "SoundloomGenerate": "soundloom: Generate",
    "SoundloomEdit": "soundloom: Edit regions",
    "SoundloomSave": "soundloom: Save with record",
    "SoundloomLoad": "soundloom: Load audio with record",
}
