"""Run golden calls of the complete MusicGen pipeline: token ids, and the source of an edit, to tokens and audio."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from soundloom.autoregressive.generation import TokenRequest, count_steps, generate
from soundloom.checkpoints.formats.safetensors import write_safetensors
from soundloom.checkpoints.musicgen.components import CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from soundloom.checkpoints.musicgen.layouts import CODEC_AUDIOCRAFT, fold_weight_norms
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint, open_musicgen
from soundloom.checkpoints.musicgen.shapes import ADAPTER_PREFIX, ENCODEC_PREFIX, LM_PREFIX, T5_PREFIX
from soundloom.config.musicgen.model import InstructConfig, MusicGenConfig, parse_t5_config
from soundloom.config.musicgen.sampling import GREEDY, Sampling
from soundloom.engines.musicgen import TextEmbeddings
from tests.parity.case import Case
from tests.parity.musicgen.codec import audiocraft_config
from tests.parity.musicgen.lm import lm_config
from tests.parity.musicgen.weights import adapter_weights, lm_weights

Outputs = dict[str, np.ndarray]


class MusicPipelineCase:
    """`pipeline.*` calls on the weights of one case, or of several cases that it names."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.case, self.engine = case, engine
        self._folder = TemporaryDirectory()
        self._engines: dict[str, Any] = {}

    @cached_property
    def checkpoint(self) -> MusicGenCheckpoint:
        if "weights_from" in self.case.data:
            return self._of_several()
        folder = Path(self._folder.name)
        write_safetensors(folder / WEIGHTS_FILE, self.case.weights().values())
        (folder / CONFIG_FILE).write_text(json.dumps(self.case.data["config"]))
        (folder / TOKENIZER_FILE).write_bytes(b"not used: the case has token ids")
        return open_musicgen(folder)

    def _of_several(self) -> MusicGenCheckpoint:
        codec, t5, lm = (self.case.beside(self.case.data["weights_from"][name]) for name in ("encodec", "t5", "lm"))
        data = lm.data["config"]
        config = MusicGenConfig(
            parse_t5_config(t5.data["config"]),
            audiocraft_config(codec.data["config"]),
            lm_config(data),
            InstructConfig(data["max_frames"], data["lora_r"], data["lora_alpha"]),
        )
        parts = {
            T5_PREFIX: t5.weights(),
            ENCODEC_PREFIX: fold_weight_norms(CODEC_AUDIOCRAFT.to_canonical(codec.weights())),
            LM_PREFIX: lm_weights(lm.weights(), data["lora_alpha"]),
            ADAPTER_PREFIX: adapter_weights(lm.weights()),
        }
        tensors = {prefix + name: tensor for prefix, part in parts.items() for name, tensor in part.items()}
        return MusicGenCheckpoint(self.case.name, config, tensors, b"", "instruct", "", Path(), "", ())

    def _run(self, pad_mode: str) -> Any:
        if pad_mode not in self._engines:
            config = self.checkpoint.config
            config = replace(config, encodec=replace(config.encodec, pad_mode=pad_mode))
            self._engines[pad_mode] = self.engine.music_engine(replace(self.checkpoint, config=config))
        return self._engines[pad_mode]

    def generate(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        engine, args = self._run(call["args"]["pad_mode"]), call["args"]
        text = engine.encode_text(inputs["text_ids"], inputs["text_ids_mask"].astype(bool))
        tokens = self._tokens(engine, args, text, args["frames"], inputs)
        return {"text_hidden": text.hidden, "codes": tokens, "audio": self._decode(engine, tokens)}

    def edit(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        engine, args = self._run(call["args"]["pad_mode"]), call["args"]
        text = engine.encode_text(inputs["text_ids"], inputs["text_mask"].astype(bool))
        source = engine.encode(inputs["audio"])
        tokens = self._tokens(engine, args, text, source.shape[-1], inputs, source)
        audio = self._decode(engine, tokens)
        return {
            "text_hidden": text.hidden,
            "condition_codes": source,
            "codes": tokens,
            "audio_untrimmed": audio,
            "audio": audio[..., : inputs["audio"].shape[-1]],
        }

    def _tokens(
        self,
        engine: Any,
        args: dict[str, Any],
        text: TextEmbeddings,
        frames: int,
        inputs: dict[str, Any],
        source: np.ndarray | None = None,
    ) -> np.ndarray:
        lm, noise, guidance = self.checkpoint.config.lm, inputs.get("noise"), args["cfg_coef"]
        sampling = Sampling(args["temperature"], args["top_k"], args["top_p"]) if args["use_sampling"] else GREEDY
        request = TokenRequest(len(text.mask), frames, sampling, guidance, inputs.get("prompt"))
        capacity = count_steps(lm, request) + request.prompt_frames
        # The published code does not mask padding.
        decoder = engine.decoder(text, capacity, guidance != 1, source, mask_padding=False)
        *_, last = generate(lm, request, decoder, None if noise is None else lambda step: noise[step])
        return last.tokens

    def _decode(self, engine: Any, tokens: np.ndarray) -> np.ndarray:
        sides = range(self.checkpoint.config.lm.audio_channels)
        return np.concatenate([engine.decode(tokens[:, side :: len(sides)]) for side in sides], axis=1)
