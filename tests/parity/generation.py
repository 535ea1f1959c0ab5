"""Run golden calls of complete models: the pipeline with the behavior of the published package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from soundloom.audio.channels import to_stereo
from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.config.parse import parse
from soundloom.config.stable_audio.model import ModelConfig, ShiftConfig, parse_model_config
from soundloom.config.stable_audio.request import Compat, GenerationRequest, Guidance
from soundloom.pipeline.progress import ProgressReporter
from soundloom.pipeline.stable_audio.executor import Executor, PhiloxNoise
from soundloom.pipeline.stable_audio.plan import PlannedPass, plan_clip, plan_pass
from soundloom.text.tokenizer import Tokens
from tests.parity.case import Case
from tests.parity.models import GUIDANCE_NAMES

Outputs = dict[str, np.ndarray]


class RecordedNoise(PhiloxNoise):
    """The recorded noise of a case."""

    def __init__(self, case: Case, call: dict[str, Any], inputs: dict[str, Any]) -> None:
        self._start = inputs["noise.init"]
        self._steps = inputs.get("noise.steps")
        self._codec = case.noise(call.get("codec_noise"))

    def latents(self, batch: Any, step: int, channels: int) -> np.ndarray:
        return self._start if step == 0 else self._steps[step - 1]

    def codec(self, batch: Any) -> Any:
        return None if self._codec is None else lambda shape: next(self._codec)


class GenerateCase:
    """`generate` calls, with recorded prompt embeddings instead of a text encoder."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.case = case
        config = parse_model_config(case.data["config"])
        assert isinstance(config, ModelConfig)
        self.config = config
        checkpoint = Checkpoint(case.name, config, case.weights(), None, "published", "", Path(), "", ())
        self.engine = engine.engine(checkpoint)
        self.array = engine.array
        self.engine.encode_text = self._encode_text
        self.names: list[str] = []  # token ids are indices of prompt names

    def _encode_text(self, ids: np.ndarray, mask: np.ndarray) -> Any:
        length = ids.shape[1]  # the pipeline drops padding
        return self.array(np.stack([self._prompt(self.names[row[0]], "embeds")[:length] for row in ids]))

    def _tokenize(self, prompts: list[str], length: int) -> Tokens:
        names = [prompt or "empty" for prompt in prompts]
        mask = np.stack([self._prompt(name, "mask") for name in names]).astype(bool)
        ids = np.repeat(np.arange(len(self.names), len(self.names) + len(names))[:, None], length, axis=1)
        self.names += names
        return Tokens(ids, mask, tuple("" for _ in prompts))

    def _prompt(self, name: str, part: str) -> np.ndarray:
        return self.case.tensor(f"in.prompt.{name}.{part}")

    def generate(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        args, config = call["args"], self.config
        if "sample_size" in args:
            config = replace(config, sample_size=args["sample_size"])
        compat = Compat.named("stable-audio-3-cpu")
        prompts = args["prompt"]
        if args.get("conditioning_tensors"):
            # Without durations the package generates its full length, without padding, and warps by the latent length.
            compat = replace(compat, padding="exact")
            diffusion = replace(config.model.diffusion, use_effective_length_for_schedule=False)
            config = replace(config, model=replace(config.model, diffusion=diffusion))
            prompts = [entry["prompt"] for entry in args["conditioning_dicts"]]
            args = {**args, "duration": [entry["seconds_total"] for entry in args["conditioning_dicts"]]}
        count = args.get("batch_size", 1)
        items = [
            self._item(call, args, inputs, config, compat, _nth(prompts, i), _nth(args["duration"], i))
            for i in range(count)
        ]
        reporter = ProgressReporter(SimpleNamespace(reset_peak=lambda: None, peak_memory=lambda: None))
        noise = RecordedNoise(self.case, call, inputs)
        executor = Executor(self.engine, config, self._tokenize, reporter, keep_loaded=True, noise=noise)
        results = executor.run(items)
        return {
            "latents": np.stack([result.latents for result in results]),
            "audio": np.clip(np.stack([result.audio for result in results]), -1, 1),
        }

    def _item(
        self, call: Any, args: Any, inputs: Any, config: ModelConfig, compat: Compat, prompt: str, seconds: float
    ) -> PlannedPass:
        guidance = {GUIDANCE_NAMES[name]: _tuple(value) for name, value in args.items() if name in GUIDANCE_NAMES}
        request = GenerationRequest(
            prompt,
            negative_prompt=args.get("negative_prompt"),
            seconds=seconds,
            steps=args["steps"],
            sampler=args.get("sampler_type"),
            guidance=Guidance(**guidance) if guidance else None,
            shift=parse(ShiftConfig, args["dist_shift"]) if "dist_shift" in args else None,
            duration_padding=args.get("duration_padding_sec", 6.0),
            compat=compat,
        )
        item = plan_pass(plan_clip(request, config, 30.0), config)
        if args.get("conditioning_tensors"):
            frames = config.sample_size // config.same.downsampling_ratio
            item = replace(item, frames=frames, valid=frames, samples=config.sample_size)
        source = inputs.get("inpaint_audio", inputs.get("init_audio"))
        if source is None:
            return item
        level = args["init_noise_level"] if "init_audio" in inputs else 1.0
        object.__setattr__(request, "noise", level)
        audio = to_stereo(source)[0]
        return replace(item, audio=audio, regions=_regions(args, inputs, config.sample_rate))


def _regions(args: dict[str, Any], inputs: dict[str, Any], rate: int) -> tuple[tuple[int, int], ...]:
    """Return the spans of samples to generate, from seconds or from a mask of samples."""
    if "inpaint_mask" in inputs:
        generated = np.concatenate([[1], inputs["inpaint_mask"][0], [1]]) == 0
        edges = np.flatnonzero(np.diff(generated.astype(int)))
        return tuple(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
    starts, ends = args.get("inpaint_mask_start_seconds", []), args.get("inpaint_mask_end_seconds", [])
    if not isinstance(starts, list):
        starts, ends = [starts], [ends]
    return tuple((int(start * rate), int(end * rate)) for start, end in zip(starts, ends, strict=True))


def _nth(value: Any, i: int) -> Any:
    return value[i] if isinstance(value, list) else value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
