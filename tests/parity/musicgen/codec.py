"""Run golden calls of MusicGen's text encoder and codec."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from soundloom.audio.channels import to_channels
from soundloom.checkpoints.musicgen.layouts import CODEC_AUDIOCRAFT, CODEC_TRANSFORMERS, fold_weight_norms
from soundloom.config.musicgen.encodec import EncodecConfig
from soundloom.config.musicgen.model import T5Config, parse_encodec_config, parse_t5_config
from soundloom.text.positions import relative_buckets
from tests.parity.case import Case

Outputs = dict[str, np.ndarray]


class T5Case:
    """`t5.*` calls on the weights of one case."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.case, self.engine = case, engine
        self.config: T5Config = parse_t5_config(case.data["config"])

    @cached_property
    def encoder(self) -> Any:
        files = self.engine.module("musicgen.t5")
        weights = self.case.weights(self.case.data["weight_key_prefix"])
        return self.engine.build(lambda: files.T5Encoder(self.config), weights, self.case.name)

    def encode(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        arguments = self.engine.array(inputs["ids"]), self.engine.array(inputs["mask"])
        *streams, _ = map(self.engine.numpy, self.encoder.streams(*arguments))
        outputs = {f"block_input.{index}": stream for index, stream in enumerate(streams)}
        return outputs | {"hidden": self.engine.numpy(self.encoder(*arguments))}

    def bucket(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        config = self.config
        sizes = config.relative_attention_num_buckets, config.relative_attention_max_distance
        return {"bucket": relative_buckets(inputs["relative_position"], *sizes)}


class CodecCase:
    """`encodec.*` calls on the weights of one case, in audiocraft's layout or that of transformers."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.case, self.engine = case, engine
        data = case.data["config"]
        self.is_audiocraft = "n_filters" in data
        self.config = audiocraft_config(data) if self.is_audiocraft else parse_encodec_config(data)
        self._codecs: dict[str, Any] = {}

    def codec(self, pad_mode: str) -> Any:
        if pad_mode not in self._codecs:
            layout = CODEC_AUDIOCRAFT if self.is_audiocraft else CODEC_TRANSFORMERS
            weights = fold_weight_norms(layout.to_canonical(self.case.weights(self.case.data["weight_key_prefix"])))
            config = replace(self.config, pad_mode=pad_mode)
            files = self.engine.module("musicgen.encodec")
            self._codecs[pad_mode] = self.engine.build(lambda: files.Encodec(config), weights, self.case.name)
        return self._codecs[pad_mode]

    def encode(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        codec = self.codec(call["args"]["pad_mode"])
        latents = codec.latents(self.engine.array(inputs["x"]))
        codes = codec.quantizer.encode(latents)
        return {"codes": self.engine.numpy(codes), "latent": self.engine.numpy(latents)}

    def decode(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        codec, codes = self.codec(call["args"]["pad_mode"]), self.engine.array(inputs["codes"])
        latents, audio = codec.quantizer.decode(codes), codec.decode(codes)
        return {"audio": self.engine.numpy(audio), "latent": self.engine.numpy(latents)}

    def forward(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        codec, x = self.codec(call["args"]["pad_mode"]), inputs["x"]
        audio = self.engine.numpy(codec.decode(codec.encode(self.engine.array(x))))
        return {"audio": audio[..., : x.shape[-1]]}

    def downmix(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        mono = np.stack([to_channels(each, 1) for each in inputs["x"]])
        return {"mono": mono, "codes": self.encode(call, {"x": mono})["codes"]}

    def interleaved(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        """Encode left and right separately, with interleaved codebooks."""
        codec, x = self.codec(call["args"]["pad_mode"]), inputs["x"]
        left, right = (self.engine.numpy(codec.encode(self.engine.array(x[:, side : side + 1]))) for side in (0, 1))
        codes = np.stack([left, right], axis=2).reshape(len(x), -1, left.shape[-1])
        sides = (codec.decode(self.engine.array(np.ascontiguousarray(codes[:, side::2]))) for side in (0, 1))
        return {"codes": codes, "audio": np.concatenate([self.engine.numpy(side) for side in sides], axis=1)}


def audiocraft_config(data: dict[str, Any]) -> EncodecConfig:
    """Convert audiocraft's configuration."""
    return EncodecConfig(
        sampling_rate=data["sample_rate"],
        hidden_size=data["dimension"],
        num_filters=data["n_filters"],
        upsampling_ratios=tuple(data["ratios"]),
        num_residual_layers=data["n_residual_layers"],
        kernel_size=data["kernel_size"],
        residual_kernel_size=data["residual_kernel_size"],
        last_kernel_size=data["last_kernel_size"],
        compress=data["compress"],
        num_lstm_layers=data["lstm"],
        codebook_size=data["bins"],
        num_quantizers=data["n_q"],
    )
