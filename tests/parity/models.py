"""Run golden calls of single networks: transformer, autoencoder, text encoder, conditioner."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from soundloom.audio.channels import to_stereo
from soundloom.config.parse import parse
from soundloom.config.stable_audio.model import ConditioningConfig, DiTConfig
from soundloom.config.stable_audio.request import Guidance
from soundloom.config.stable_audio.same import SAMEConfig
from soundloom.config.stable_audio.text_encoder import parse_text_encoder_config
from soundloom.diffusion.guidance import guide, is_guided
from soundloom.pipeline.stable_audio.chunks import decode_chunks, encode_chunks
from tests.parity.case import Case

Outputs = dict[str, np.ndarray]
GUIDANCE_NAMES = {
    "cfg_scale": "scale",
    "apg_scale": "apg",
    "cfg_interval": "interval",
    "scale_phi": "rescale",
    "cfg_norm_threshold": "norm_threshold",
}


class DiTCase:
    """`dit.*` calls on the weights of one case."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.engine = engine
        self.files = engine.module("stable_audio.dit")
        weights = case.weights(case.data["weight_key_prefix"])
        # Recorded configurations omit this dimension.
        features = weights["to_timestep_embed.0.weight"].shape[1]
        config = replace(parse(DiTConfig, case.data["config"]), timestep_features_dim=features)
        self.dit = engine.build(lambda: self.files.DiT(config), weights, case.name)

    def features(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        dim = self.dit.config.timestep_features_dim
        features = self.engine.module("blocks").fourier_features(self.engine.array(inputs["t"]), dim)
        return {"features": self.engine.numpy(features)}

    def forward(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        """Run the forward pass, or both passes of guidance."""
        if "select_item" in call:
            item = slice(call["select_item"], call["select_item"] + 1)
            inputs = {name: value[item] for name, value in inputs.items()}
            for name in ("x", "local_add_cond"):
                inputs[name] = inputs[name][..., : call["crop_frames"]]
        arguments = {GUIDANCE_NAMES[name]: value for name, value in call.get("args", {}).items()}
        guidance = Guidance(**{name: tuple(v) if isinstance(v, list) else v for name, v in arguments.items()})
        v = self._velocity(inputs, inputs["cross_attn_cond"])
        times = self.engine.array(inputs["t"][:, None, None])
        if is_guided(times, guidance):
            uncond = self._velocity(inputs, _negative(inputs))
            valid = inputs.get("padding_mask")
            valid = None if valid is None else self.engine.array(valid[:, None, :].astype(np.float32))
            v = guide(self.engine.array(inputs["x"]), times, v, uncond, guidance, valid)
        return {"v": self.engine.numpy(v)}

    def _velocity(self, inputs: dict[str, Any], context: np.ndarray) -> Any:
        array = self.engine.array
        local_cond = inputs.get("local_add_cond")
        cond = self.dit.condition(
            array(context), array(inputs["global_embed"]), None if local_cond is None else array(local_cond)
        )
        padding = inputs.get("padding_mask")
        if padding is not None:
            # Cases were recorded without flash attention: see their `reference_quirk`.
            padding = self.engine.module("blocks").Padding(array(padding.astype(bool)), "zero-values")
        return self.dit(array(inputs["x"]), array(inputs["t"]), cond, padding)


def _negative(inputs: dict[str, Any]) -> np.ndarray:
    """Return the unguided context: zeros, or a negative prompt whose empty rows are zero."""
    negative = inputs.get("negative_cross_attn_cond")
    if negative is None:
        return np.zeros_like(inputs["cross_attn_cond"])
    mask = inputs.get("negative_cross_attn_mask")
    return negative if mask is None else np.where(mask.astype(bool)[..., None], negative, np.float32(0))


class SAMECase:
    """`ae.*` and `pretransform.*` calls on the weights of one case."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.case, self.engine = case, engine
        self.config = parse(SAMEConfig, case.data["config"])
        files = engine.module("stable_audio.same")
        self.same = engine.build(lambda: files.SAME(self.config), case.weights(), case.name)

    def encode(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        audio = inputs["audio"][..., : call.get("use_samples")]
        if not call.get("args", {}).get("chunked"):
            return {"latents": self._encode(audio, self.case.noise(call.get("noise")))}
        plan = encode_chunks(audio.shape[-1], self.config, "published", **_sizes(call))
        return {"latents": plan.run(audio, lambda chunk: self._encode(chunk))}

    def encode_list(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        longest = max(audio.shape[-1] for audio in inputs["audio_list"])
        samples = longest + -longest % self.config.downsampling_ratio
        stereo = [to_stereo(audio)[0] for audio in inputs["audio_list"]]
        batch = np.stack([np.pad(audio, ((0, 0), (0, samples - audio.shape[-1]))) for audio in stereo])
        return {"latents": self._encode(batch)}

    def decode(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        latents = inputs["latents"]
        if not call.get("args", {}).get("chunked"):
            return {"audio": self._decode(latents, self.case.noise(call.get("noise")))}
        plan = decode_chunks(latents.shape[-1], self.config, "published", **_sizes(call))
        return {"audio": plan.run(latents, self._decode)}

    def _encode(self, audio: np.ndarray, noise: Any = None) -> np.ndarray:
        return self.engine.numpy(self.same.encode(self.engine.array(audio), self._noise_fn(noise)))

    def _decode(self, latents: np.ndarray, noise: Any = None) -> np.ndarray:
        return self.engine.numpy(self.same.decode(self.engine.array(latents), self._noise_fn(noise)))

    def _noise_fn(self, noise: Any) -> Any:
        return None if noise is None else lambda shape: self.engine.array(next(noise))


def _sizes(call: dict[str, Any]) -> dict[str, int]:
    keys = (("chunk", "chunk_size"), ("overlap", "overlap"))
    return {name: call["args"][key] for name, key in keys if key in call["args"]}


class TextCase:
    """`t5gemma.*` and `conditioner*` calls on the weights of one case."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.case, self.engine = case, engine
        self.config = parse_text_encoder_config(case.data["config"])
        self.conditioning = parse(ConditioningConfig, case.data["config"]["conditioning"])

    def encode(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        files, dtype = self.engine.module("stable_audio.t5gemma"), call.get("args", {}).get("dtype", "float32")
        weights = self.case.weights(self.case.data["weight_key_prefix"])
        encoder = self.engine.build(lambda: files.T5GemmaEncoder(self.config), weights, self.case.name, dtype)
        found = encoder(self.engine.array(inputs["input_ids"]), self.engine.array(inputs["attention_mask"]))
        return {"last_hidden_state": self.engine.numpy(found)}

    def _conditioner(self, padding_mode: str = "learned") -> Any:
        prompt, seconds = self.conditioning.configs
        prompt = replace(prompt, config={**prompt.config, "padding_mode": padding_mode})
        config = replace(self.conditioning, configs=(prompt, seconds))
        weights = self.case.weights("conditioner.conditioners.")
        if padding_mode != "learned":
            weights = {name: value for name, value in weights.items() if "padding" not in name}
        files = self.engine.module("stable_audio.conditioner")
        return self.engine.build(lambda: files.Conditioner(config), weights, self.case.name)

    def padding(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        conditioner = self._conditioner(call["args"]["padding_mode"])
        found = conditioner.prompt(*map(self.engine.array, (inputs["embeddings"], inputs["attention_mask"])))
        return {"embeddings": self.engine.numpy(found)}

    def seconds(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        found = self.engine.numpy(self._conditioner().seconds_total(self.engine.array(inputs["floats"])))
        return {"embeds": found, "mask": np.ones(found.shape[:2])}

    def conditioning_inputs(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        text = self.encode({}, inputs)["last_hidden_state"]
        mask = inputs["attention_mask"]
        arrays = map(self.engine.array, (text, mask, inputs["seconds_total"][: len(text)]))
        context, duration = self._conditioner()(*arrays)
        return {
            "cross_attn_cond": self.engine.numpy(context),
            "cross_attn_mask": np.concatenate([mask, np.ones_like(mask[:, :1])], axis=1),
            "global_cond": self.engine.numpy(duration),
        }
