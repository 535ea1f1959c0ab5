"""Run golden calls of MusicGen's language model, delay pattern and sampling, and of the Instruct-MusicGen adapter."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from soundloom.autoregressive import delay
from soundloom.autoregressive.generation import TokenRequest, count_steps, generate
from soundloom.autoregressive.positions import sinusoids
from soundloom.autoregressive.sampling import filtered, guide_logits, sample
from soundloom.config.musicgen.model import InstructConfig, LMConfig, parse_composite_config
from soundloom.config.musicgen.sampling import GREEDY, Sampling
from tests.parity.case import Case
from tests.parity.musicgen.weights import adapter_weights, lm_weights

Outputs = dict[str, np.ndarray]


def lm_config(data: dict[str, Any]) -> LMConfig:
    """Convert the configuration of audiocraft or transformers."""
    if "decoder" in data:
        return parse_composite_config(data).lm
    return LMConfig(
        hidden_size=data["dim"],
        num_hidden_layers=data["num_layers"],
        num_attention_heads=data["num_heads"],
        ffn_dim=data["hidden_scale"] * data["dim"],
        num_codebooks=data["n_q"],
        vocab_size=data["card"],
        text_width=data["text_dim"],
        audio_channels=2 if data["n_q"] == 8 else 1,
        norm_eps=data.get("norm_eps", 1e-5),
    )


class DelayCase:
    """`delay.*` calls."""

    def __init__(self, case: Case, engine: Any) -> None:
        pass

    def build(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        codes, delays = inputs["codes"], call["args"]["delays"]
        sequence = delay.build(codes, delays, call["args"]["special_token"])
        slots = delay.real_slots(codes.shape[-1], delays)
        trained = codes.shape[-1] + 1
        found = {"seq": sequence, "mask": slots, "train_seq": sequence[..., :trained], "train_mask": slots[:, :trained]}
        return {name: value.astype(np.int32) for name, value in found.items()}

    def revert(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        return {"codes": delay.revert(inputs["seq"], call["args"]["delays"])}


class TokenCase:
    """`sampling.sample` calls."""

    def __init__(self, case: Case, engine: Any) -> None:
        pass

    def sample(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        sampling, logits = Sampling(**call["args"]), inputs["logits"]
        token = sample(logits, inputs["noise"], sampling)[..., None]
        return {"token": token} | ({"probs": filtered(logits, sampling)} if "probs" in call["outputs"] else {})


class LMCase:
    """`lm.*` and `instruct.*` calls on the weights of one case."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.case, self.engine = case, engine
        self.config = lm_config(case.data["config"])
        self.files = engine.module("musicgen.lm")
        self.weights = case.weights()
        self.lm = cache(self._lm)

    def _lm(self, lora: bool = True) -> Any:
        weights = lm_weights(self.weights, self.case.data["config"].get("lora_alpha", 0) if lora else 0)
        return self.engine.build(lambda: self.files.MusicGenLM(self.config), weights, self.case.name)

    def _adapter(self) -> Any:
        config = InstructConfig(max_frames=self.case.data["config"]["max_frames"])
        make = self.engine.module("musicgen.adapter").CPTransformer
        return self.engine.build(lambda: make(self.config, config), adapter_weights(self.weights), self.case.name)

    def positions(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        wanted = inputs["position"]
        return {"pe": sinusoids(int(wanted.max()) + 1, self.config.hidden_size)[wanted]}

    def activation(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        return {"y": self.engine.numpy(self.files.gelu(self.engine.array(inputs["x"])))}

    def text_condition(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        hidden, mask = self.engine.array(inputs["hidden"]), self.engine.array(inputs["mask"].astype(bool))
        return {"condition": self.engine.numpy(self.lm().project_text(hidden, mask))}

    def forward(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        """Run a complete sequence with the prompts and without."""
        args = call.get("args", {})
        lm = self.lm(lora=args.get("lora", True) is not False)
        text = self._text(lm, inputs, args.get("mask_padded_text_keys", False))
        logits = self._logits(lm, np.tile(inputs["seq"], (2, 1, 1)), text, self._adapter_kv(lm, inputs))
        cond, uncond = np.split(logits, 2)
        guided = guide_logits(cond, uncond, self.case.data["config"].get("cfg_coef", 3.0))
        return {"text_logits": cond, "null_logits": uncond, "cfg_logits": guided}

    def compute_predictions(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        """Run the positions used in training, and align the logits with the tokens."""
        codes = inputs["codes"]
        clips, _, frames = codes.shape
        delays, lm = self.config.delays, self.lm()
        fed = delay.build(codes, delays, self.config.special_token)[..., : frames + 1]
        text = self._text(lm, {name: inputs[name][:clips] for name in ("text_hidden", "text_mask")}, clips=clips)
        raw = self._logits(lm, fed, text, self._adapter_kv(lm, inputs, training=True))
        logits, mask = np.zeros((*codes.shape, raw.shape[-1]), np.float32), np.zeros(codes.shape, np.int32)
        for codebook, start in enumerate(delays):
            known = max(frames - start, 0)  # the last frames of a delayed codebook are never predicted
            logits[:, codebook, :known] = raw[:, codebook, start : start + known]
            mask[:, codebook, :known] = 1
        return {"logits": logits, "mask": mask, "raw_logits": raw}

    def training_forward(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        found = self.compute_predictions(call, inputs)
        logits, codes = found["logits"].astype(np.float64), inputs["codes"]
        losses = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, codes[..., None], -1)[..., 0]
        return found | {"loss": np.array([losses[found["mask"] == 1].mean()], np.float32)}

    def condition_pass(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        found = {}
        for index, (stream, parts) in enumerate(self._adapter().run(self.lm(), self.engine.array(inputs["codes"]))):
            for name, value in zip(("stream", "q", "k", "v"), (stream, *parts), strict=True):
                found[f"{name}.{index}"] = self.engine.numpy(value)
        return found

    def cross_attention(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        index, array, numpy = call["args"]["layer"], self.engine.array, self.engine.numpy
        x, y = array(inputs["x"]), array(inputs["y"])
        module = self.lm().transformer.layers[index].cross_attention
        base = self.lm(lora=False).transformer.layers[index].cross_attention
        return {
            "q": numpy(module.q_proj(x)),
            "k": numpy(module.k_proj(y)),
            "v": numpy(module.v_proj(y)),
            "q_base_only": numpy(base.q_proj(x)),
            "out": numpy(module(x, module.project_kv(y), None)),
            "q_proj_merged": numpy(module.q_proj.weight),
            "v_proj_merged": numpy(module.v_proj.weight),
        }

    def generate(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        args, lm = call["args"], self.lm()
        sampling = Sampling(args["temperature"], args["top_k"], args["top_p"]) if args["use_sampling"] else GREEDY
        clips, noise = len(inputs["text_mask"]) // 2, inputs.get("noise")
        request = TokenRequest(clips, args["frames"], sampling, args["cfg_coef"], inputs.get("prompt"))
        text, adapter_kv = self._text(lm, inputs), self._adapter_kv(lm, inputs)
        capacity = count_steps(self.config, request) + request.prompt_frames
        make = self.engine.module("musicgen.kv_cache").DecoderState
        state = make(lm, text, capacity, args["cfg_coef"] != 1, adapter_kv)
        steps = list(generate(self.config, request, state, None if noise is None else lambda step: noise[step]))
        return {"codes": steps[-1].tokens, "logits": np.stack([step.logits for step in steps])}

    def _text(self, lm: Any, inputs: dict[str, Any], mask_padding: bool = False, clips: int | None = None) -> Any:
        """Return the conditioning of the prompts, which are the first half of the rows."""
        clips = clips or len(inputs["text_mask"]) // 2
        mask = inputs["text_mask"][:clips].astype(bool)
        return lm.condition(self.engine.array(inputs["text_hidden"][:clips]), self.engine.array(mask), mask_padding)

    def _adapter_kv(self, lm: Any, inputs: dict[str, Any], training: bool = False) -> Any:
        if "condition_codes" not in inputs:
            return None
        return self._adapter()(lm, self.engine.array(inputs["condition_codes"]), training)

    def _logits(self, lm: Any, fed: np.ndarray, text: Any, adapter_kv: Any) -> np.ndarray:
        positions = fed.shape[-1]
        table = self.engine.array(sinusoids(positions, self.config.hidden_size))
        places = self.engine.array(np.arange(positions))
        hidden = lm(self.engine.array(fed), places, table, text, adapter_kv=adapter_kv)
        return self.engine.numpy(lm.logits(hidden))
