"""Run golden calls of the published MLX runtime: its npz files, schedule and command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from soundloom.checkpoints.stable_audio.components import Component, open_component, open_text_encoder_component
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.checkpoints.stable_audio.shapes import CONDITIONER_PREFIX, DIT_PREFIX, SAME_PREFIX
from soundloom.config.catalogue import require_entry
from soundloom.config.stable_audio.model import DEFAULT_SAMPLING_SHIFT, ShiftConfig
from soundloom.config.stable_audio.request import Compat, GenerationRequest, Guidance
from soundloom.diffusion.samplers import SAMPLERS, Times
from soundloom.diffusion.schedules import schedule
from soundloom.pipeline.progress import ProgressReporter
from soundloom.pipeline.stable_audio.chunks import decode_chunks, pad_or_trim
from soundloom.pipeline.stable_audio.executor import Executor
from soundloom.pipeline.stable_audio.plan import PlannedPass, plan_clip, plan_pass
from soundloom.text.tokenizer import Tokenizer
from tests.parity.case import Case
from tests.parity.generation import RecordedNoise

Outputs = dict[str, np.ndarray]
PRECISION = {"float32": "float32", "float16": "float16"}


def _part(component: Component, prefix: str) -> dict[str, Any]:
    return {n.removeprefix(prefix): t for n, t in component.tensors.items() if n.startswith(prefix)}


class MLXTransformerCase:
    """`mlx dit*`, `mlx SecondsTotalEmbedder` and `mlx apply_prompt_padding` on one npz file."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.engine = engine
        self.component = open_component(case.path.parent / case.data["weights_file"])
        conditioning = require_entry("small-music").parsed_config().model.conditioning
        width = self.component.config.cond_token_dim
        files = engine.module("stable_audio.conditioner")
        weights = _part(self.component, CONDITIONER_PREFIX)
        self.conditioner = engine.build(
            lambda: files.Conditioner(replace(conditioning, cond_dim=width)), weights, case.name
        )

    def forward(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        files, array = self.engine.module("stable_audio.dit"), self.engine.array
        dtype = PRECISION[call["args"]["dtype"]]
        weights = _part(self.component, DIT_PREFIX)
        dit = self.engine.build(lambda: files.DiT(self.component.config), weights, "dit", dtype)
        items = call["args"]["batch"]
        inputs = {name: value[:items] for name, value in inputs.items()}
        local = inputs.get("local_add_cond")
        if local is None:
            local = np.zeros((1, 1, self.component.config.local_add_cond_dim), np.float32)
        cond = dit.condition(
            array(inputs["cross_attn_cond_raw"]), array(inputs["global_cond_raw"]), array(local.swapaxes(1, 2))
        )
        return {"v": self.engine.numpy(dit(array(inputs["x"]), array(inputs["t"]), cond))}

    def features(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        dim = self.component.config.timestep_features_dim
        features = self.engine.module("blocks").fourier_features(self.engine.array(inputs["t"]), dim)
        return {"features": self.engine.numpy(features)}

    def seconds(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        return {"embeds": self.engine.numpy(self.conditioner.seconds_total(self.engine.array(inputs["seconds"])))}

    def padding(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        found = self.conditioner.prompt(*map(self.engine.array, (inputs["embeds"], inputs["mask"])))
        return {"embeds": self.engine.numpy(found)}


class MLXCodecCase:
    """`mlx encoder`, `mlx decoder` and related calls, on npz files of an encoder or decoder."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.case, self.engine = case, engine

    def _half(self, call: dict[str, Any]) -> tuple[Any, Any]:
        """Return the module of a call's file and its configuration."""
        path = self.case.path.parent / call["weights_file"]
        component = open_component(path)
        config = component.config
        name = path.parent.name if path.stem == "model" else path.stem
        constants = self.case.data["config"][name.rsplit("_", 1)[0]]
        if "SIN_START_BLOCK" in constants and component.kind == "same_decoder":
            config = replace(config, sinusoidal_blocks=(config.depth - constants["SIN_START_BLOCK"] + 1,))
        if call["args"].get("full_attention"):
            config = replace(config, sliding_window=(1000, 1000))
        same = require_entry("same-s").parsed_config().same
        bottleneck = replace(same.bottleneck.config, dim=config.latent_dim)
        half = component.kind.removeprefix("same_")
        whole = SimpleNamespace(
            encoder=SimpleNamespace(config=config),
            decoder=SimpleNamespace(config=config),
            bottleneck=SimpleNamespace(config=bottleneck),
            downsampling_ratio=config.stride,  # in patches here
        )
        files = self.engine.module("stable_audio.same")
        module = self.engine.build(lambda: files.SAME(whole, (half,)), _part(component, SAME_PREFIX), path.name)
        return module, whole

    def encode(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        same, _ = self._half(call)
        raw = same.encoder(self.engine.array(inputs["audio_patches"]))
        return {"latents": self.engine.numpy(same.bottleneck.encode(raw.swapaxes(1, 2)))}

    def decode(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        same, _ = self._half(call)
        return {"patches": self._decode(same, inputs["latents"])}

    def decode_chunked(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        same, config = self._half(call)
        sizes = {"chunk": call["args"]["chunk_size"], "overlap": call["args"]["overlap"]}
        plan = decode_chunks(inputs["latents"].shape[-1], config, "mlx", **sizes)
        return {"patches": plan.run(inputs["latents"], lambda piece: self._decode(same, piece))}

    def _decode(self, same: Any, latents: np.ndarray) -> np.ndarray:
        raw = same.bottleneck.decode(self.engine.array(latents), None).swapaxes(1, 2)
        return self.engine.numpy(same.decoder(raw))

    def unpatch(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        files = self.engine.module("stable_audio.same")
        return {"audio": self.engine.numpy(files.from_patches(self.engine.array(inputs["patches"]), 2))}


class MLXTextCase:
    """`mlx T5Gemma.*` calls, recorded in half precision and run in float32."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.engine = engine
        files = open_text_encoder_component(case.path.parent / case.data["weights_file"])
        self.tokenizer = Tokenizer(files.tokenizer)
        weights = {name.removeprefix("model.encoder."): t for name, t in files.tensors.items()}
        module = engine.module("stable_audio.t5gemma")
        self.encoder = engine.build(lambda: module.T5GemmaEncoder(files.config), weights, case.name)

    def tokenize(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        tokens = self.tokenizer(call["args"]["prompts"], call["args"]["max_len"])
        return {"input_ids": tokens.ids, "mask": tokens.mask}

    def encode(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        tokens = self.tokenizer(call["args"]["prompts"], call["args"]["max_len"])
        mask = tokens.mask.copy()
        mask[~mask.any(axis=1), 0] = True  # the runtime keeps the first position of an empty prompt
        return {"embeds": self.engine.numpy(self.encoder(self.engine.array(tokens.ids), self.engine.array(mask)))}


class MLXSamplingCase:
    """`mlx build_pingpong_schedule` and `mlx sample_flow_pingpong`."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.engine = engine

    def _times(self, args: dict[str, Any]) -> np.ndarray:
        shift = DEFAULT_SAMPLING_SHIFT if args["use_logsnr_shift"] else ShiftConfig(type="none")
        return schedule(args["steps"], level=args["sigma_max"], shift=shift, start="published")

    def schedule(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        return {"t": self._times(call["args"]).astype(np.float32)}

    def sample(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        array = self.engine.array
        a, b = array(inputs["a"]), array(inputs["b"])
        *_, x = SAMPLERS["pingpong"](
            lambda x, t: self.engine.tanh(x * a + b * t),
            array(inputs["x"]),
            Times(self._times(call["args"]), array),
            lambda step: array(inputs["noise"][step]),
        )
        found = self.engine.numpy(x)
        if call["args"]["paste_back"]:
            found = np.where(inputs["mask"] == 1, inputs["init_latents"], found)
        return {"x": found}


class MLXCommandCase:
    """`mlx command line`: the pipeline with `compat="mlx"` on a folder of npz files."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.case, self.adapter = case, engine
        folder = case.path.parent / Path(case.data["weights_files"]["dit"]).parent
        self.checkpoint = open_checkpoint(folder)
        assert self.checkpoint.text_encoder is not None
        self.tokenizer = Tokenizer(self.checkpoint.text_encoder.tokenizer)

    def run(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        args, config = call["args"], self.checkpoint.config
        guided = args.get("cfg", 1.0) != 1
        request = GenerationRequest(
            args["prompt"],
            negative_prompt=args.get("negative_prompt"),
            seconds=args["seconds"],
            steps=args["steps"],
            guidance=Guidance(args["cfg"], args.get("apg", 1.0)) if guided else None,
            compat=Compat.named("mlx"),
        )
        item = self._with_source(plan_pass(plan_clip(request, config, 30.0), config), args, inputs)
        reporter = ProgressReporter(SimpleNamespace(reset_peak=lambda: None, peak_memory=lambda: None))
        engine = self.adapter.engine(self.checkpoint, args["dit_dtype"])
        noise = RecordedNoise(self.case, call, inputs)
        (made,) = Executor(engine, config, self.tokenizer, reporter, noise=noise).run([item])
        return {"latents": made.latents[None], "audio": made.audio}

    def _with_source(self, item: PlannedPass, args: dict[str, Any], inputs: dict[str, Any]) -> PlannedPass:
        if "init_audio" not in inputs:
            return item
        rate = self.checkpoint.config.sample_rate
        regions: tuple[Any, ...] = ()
        if "inpaint_range" in args:
            start, end = map(float, args["inpaint_range"].split(","))
            regions = ((round(start * rate), round(end * rate)),)
        object.__setattr__(item.clip.request, "noise", args.get("init_noise_level", 1.0))
        audio = pad_or_trim(inputs["init_audio"], item.frames * self.checkpoint.config.same.downsampling_ratio)
        return replace(item, audio=audio, regions=regions)
