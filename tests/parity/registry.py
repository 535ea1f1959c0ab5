"""The runner of each recorded function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.parity.case import Case
from tests.parity.generation import GenerateCase
from tests.parity.lora import LoraCase
from tests.parity.lora_train import TrainingPartsCase, TrainingStepsCase
from tests.parity.metrics import METRICS, MetricsCase
from tests.parity.mlx.files import (
    MLXCodecCase,
    MLXCommandCase,
    MLXSamplingCase,
    MLXTextCase,
    MLXTransformerCase,
)
from tests.parity.mlx.int4 import MLXBundleCase
from tests.parity.models import DiTCase, SAMECase, TextCase
from tests.parity.musicgen.codec import CodecCase, T5Case
from tests.parity.musicgen.lm import DelayCase, LMCase, TokenCase
from tests.parity.musicgen.pipeline import MusicPipelineCase
from tests.parity.sampling import SamplingCase

# `fn` of a call: the class that has the case's model, and its method.
RUNNERS = {
    "dit.timestep_features": (DiTCase, "features"),
    "dit.forward": (DiTCase, "forward"),
    "ae.encode": (SAMECase, "encode"),
    "ae.encode_audio": (SAMECase, "encode"),
    "ae.preprocess_audio_list_for_encoder + ae.encode_audio": (SAMECase, "encode_list"),
    "ae.decode": (SAMECase, "decode"),
    "ae.decode_audio": (SAMECase, "decode"),
    "pretransform.decode": (SAMECase, "decode"),
    "t5gemma.encode": (TextCase, "encode"),
    "conditioner.apply_padding": (TextCase, "padding"),
    "conditioner.seconds_total": (TextCase, "seconds"),
    "conditioner + get_conditioning_inputs": (TextCase, "conditioning_inputs"),
    "dit.forward + conditioner": (LoraCase, "forward"),
    "build_schedule": (SamplingCase, "schedule"),
    "generate": (GenerateCase, "generate"),
    "mlx dit": (MLXTransformerCase, "forward"),
    "mlx dit.timestep_features": (MLXTransformerCase, "features"),
    "mlx SecondsTotalEmbedder": (MLXTransformerCase, "seconds"),
    "mlx apply_prompt_padding": (MLXTransformerCase, "padding"),
    "mlx encoder": (MLXCodecCase, "encode"),
    "mlx decoder": (MLXCodecCase, "decode"),
    "mlx decode_chunked": (MLXCodecCase, "decode_chunked"),
    "mlx patched_decode": (MLXCodecCase, "unpatch"),
    "mlx T5Gemma.tokenize": (MLXTextCase, "tokenize"),
    "mlx T5Gemma.encode": (MLXTextCase, "encode"),
    "mlx build_pingpong_schedule": (MLXSamplingCase, "schedule"),
    "mlx sample_flow_pingpong": (MLXSamplingCase, "sample"),
    "mlx command line": (MLXCommandCase, "run"),
    "t5.encode": (T5Case, "encode"),
    "t5.relative_position_bucket": (T5Case, "bucket"),
    "pipeline.generate": (MusicPipelineCase, "generate"),
    "pipeline.edit": (MusicPipelineCase, "edit"),
    "encodec.encode": (CodecCase, "encode"),
    "encodec.decode": (CodecCase, "decode"),
    "encodec.forward": (CodecCase, "forward"),
    "encodec.encode_downmix": (CodecCase, "downmix"),
    "encodec.encode_stereo_interleaved": (CodecCase, "interleaved"),
    "delay.build": (DelayCase, "build"),
    "delay.revert": (DelayCase, "revert"),
    "sampling.sample": (TokenCase, "sample"),
    "lm.positions": (LMCase, "positions"),
    "lm.activation": (LMCase, "activation"),
    "lm.text_condition": (LMCase, "text_condition"),
    "lm.forward": (LMCase, "forward"),
    "lm.compute_predictions": (LMCase, "compute_predictions"),
    "lm.generate": (LMCase, "generate"),
    "instruct.condition_pass": (LMCase, "condition_pass"),
    "instruct.forward": (LMCase, "forward"),
    "instruct.training_forward": (LMCase, "training_forward"),
    "instruct.cross_attention": (LMCase, "cross_attention"),
    "instruct.generate": (LMCase, "generate"),
    "lora.train_steps": (TrainingStepsCase, "train_steps"),
    **{
        f"train.{name}": (TrainingPartsCase, name)
        for name in ("times", "shift", "couple", "resize_mask", "extend_mask", "inpaint_mask", "loss")
    },
    **{name: (MetricsCase, method) for name, method in METRICS.items()},
    **{f"sample.{name}": (SamplingCase, "sample") for name in ("euler", "rk4", "dpmpp", "pingpong")},
}

# The same functions on a bundle, whose components are in folders.
BUNDLE_RUNNERS = {
    "mlx dequantize": (MLXBundleCase, "dequantize"),
    "mlx dit": (MLXBundleCase, "forward"),
    "mlx encoder": (MLXBundleCase, "encode"),
    "mlx decoder": (MLXBundleCase, "decode"),
    "mlx T5Gemma.encode": (MLXBundleCase, "text"),
}


def runner_for(case: Case, engine: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that runs calls of this case. Raises LookupError for a case with unknown functions."""
    files = case.data.get("weights_files", {}).values()
    is_bundle = any(path.endswith(".safetensors") for path in files)
    runners = BUNDLE_RUNNERS if is_bundle else RUNNERS
    unknown = {call["fn"] for call in case.calls} - set(runners)
    if unknown:
        raise LookupError(f"no runner for {', '.join(sorted(unknown))}")
    instances: dict[type, Any] = {}

    def run(call: dict[str, Any]) -> dict[str, Any]:
        runner, method = runners[call["fn"]]
        if runner not in instances:
            instances[runner] = runner(case, engine)
        return getattr(instances[runner], method)(call, case.inputs(call))

    return run
