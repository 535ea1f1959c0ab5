"""Run golden calls of adapter training: the parts of a step on their own, and whole steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from soundloom.checkpoints.formats.tensors import from_array
from soundloom.config.parse import parse
from soundloom.config.stable_audio.model import ConditioningConfig, ShiftConfig
from soundloom.lora.adapter import ModuleAdapter, is_xs, kinds_of
from soundloom.lora.bases import Bases
from soundloom.training.config import LoopConfig
from soundloom.training.data.inpaint_masks import draw_mask
from soundloom.training.lora.config import AdapterConfig
from soundloom.training.lora.coupling import couple
from soundloom.training.lora.padding import extend_lengths, resize_mask, valid_mask
from soundloom.training.lora.start import start_adapter
from soundloom.training.lora.step import (
    StepConfig,
    StepDraws,
    StepInputs,
    effective_lengths,
    item_weights,
    joint_weights,
    normalization,
    prepare,
    shifted,
    times_from_draws,
)
from tests.parity.case import Case
from tests.parity.models import DiTCase

Outputs = dict[str, np.ndarray]
Tree = dict[str, dict[str, np.ndarray]]  # tensors of an adapter by layer and kind
Start = Callable[[Callable[[str], np.ndarray]], dict[str, ModuleAdapter]]  # of the weights of layers by name
SAMPLERS = {
    "trunc_logit_normal": "truncated-logit-normal",
    "logit_normal": "logit-normal",
    "log_snr": "logsnr-normal",
    "log_snr_uniform": "logsnr-uniform",
    "uniform": "uniform",
}


class ListedDraws:
    """The recorded draws of a mask, in order; their arguments must match."""

    def __init__(self, listed: list[list[Any]]) -> None:
        self.listed = iter(listed)

    def _next(self, function: str, *arguments: Any) -> Any:
        name, *recorded, result = next(self.listed)
        assert (name, *recorded) == (function, *arguments)
        return result

    def randint(self, low: int, high: int) -> int:
        return self._next("randint", low, high)

    def uniform(self, low: float, high: float) -> float:
        return self._next("uniform")

    def random(self) -> float:
        return self._next("random")

    def choice(self, values: Any, weights: Any) -> int:
        return self._next("choices")


class TrainingPartsCase:
    """Calls of the parts of a step, which engines share."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.case, self.engine = case, engine

    def times(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        args = call["args"]
        given = {"logsnr_mean": "mean_logsnr", "logsnr_deviation": "std_logsnr"}
        values = {ours: args[theirs] for ours, theirs in given.items() if theirs in args}
        if "min_logsnr" in args:
            values["logsnr"] = (args["min_logsnr"], args["max_logsnr"])
        return {"t": times_from_draws(StepConfig(times=SAMPLERS[args["sampler"]], **values), inputs["draws"])}

    def shift(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        args = dict(call["args"])
        seconds, rate, ratio = (args.pop(name) for name in ("seconds", "sample_rate", "downsampling_ratio"))
        lengths = effective_lengths(seconds, rate, ratio)
        return {"t": shifted(inputs["t"], lengths, parse(ShiftConfig, args)), "lengths": lengths}

    def couple(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        latents, noise, rounds = inputs["latents"], inputs["noise"], call["args"]["sinkhorn_iterations"]
        if noise.ndim == latents.ndim:
            return {"permutation": couple(latents, noise, rounds)}
        return {"permutation": np.stack([couple(latents, one, rounds) for one in noise])}

    def resize_mask(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        return {"mask": resize_mask(inputs["mask"], call["args"]["length"])}

    def extend_mask(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        mask = inputs["mask"]
        lengths = extend_lengths(mask.sum(axis=1).astype(np.int64), inputs["draws"], mask.shape[1])
        return {"mask": valid_mask(lengths, mask.shape[1])}

    def inpaint_mask(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        args = call["args"]
        kind = args["type"].removeprefix("random_").removesuffix("_mask")
        draws = ListedDraws(args["draws"])
        return {"mask": draw_mask(draws, kind, args["valid"], args["length"], not args["mask_padding"])}

    def loss(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        args, chosen = call["args"], inputs["loss_mask"].astype(bool)
        output, target = inputs["output"].astype(np.float64), inputs["target"]
        kind = args["loss_normalization"].replace("_", "-")
        errors = np.square(output - target)
        scaled = errors * normalization(target, chosen, kind)
        weights = (item_weights(chosen), np.zeros(chosen.shape))
        if not args["mask_padding_attention"]:
            weights = joint_weights(chosen, args["mask_loss_weight"])
        loss = ((scaled.mean(1) * weights[0]) + (errors.mean(1) * weights[1])).sum()
        means = (scaled.mean(1)[chosen].mean(), errors.mean(1)[~chosen].mean())
        return {"loss": loss, "signal_mean": means[0], "padding_mean": means[1]}


class TorchSteps:
    """Training on PyTorch with the optimizer of its loop."""

    def __init__(self, network: tuple[Any, Any], start: Start, loop: LoopConfig, padding: str) -> None:
        from soundloom.training.loop.optimizer import build_optimizer
        from soundloom.training.loop.task import OptimizerPhase
        from soundloom.training.lora.network import BaseNetwork

        self.loop, self.padding = loop, padding
        self.network = BaseNetwork(*network)
        self.adapter = self.network.attach(start(lambda name: self.network.layer(name).weight.detach().numpy()))
        self.phases = (OptimizerPhase("", (self.adapter,)),)
        self.optimizer = build_optimizer(self.phases, loop)

    def step(self, step: int, inputs: StepInputs, prompt: np.ndarray) -> tuple[float, Tree]:
        """Take a step; return the loss and the gradients."""
        from soundloom.training.loop.optimizer import set_learning_rates
        from soundloom.training.lora.objective import step_losses
        from soundloom.training.lora.prompts import Prompts

        self.optimizer.zero_grad()
        loss = step_losses(self.network, inputs, Prompts(prompt), "cpu", self.padding).loss
        loss.backward()
        gradients = self._tree(lambda parameter: parameter.grad)
        set_learning_rates(self.optimizer, self.phases, self.loop, step)
        self.optimizer.step()
        return float(loss.detach()), gradients

    @property
    def parameters(self) -> Tree:
        return self._tree(lambda parameter: parameter.detach())

    def _tree(self, read: Any) -> Tree:
        return {
            name: {kind: read(parameter).numpy().copy() for kind, parameter in layer.named_parameters()}
            for name, layer in self.adapter.all.items()
        }


class MLXSteps:
    """Training on MLX."""

    def __init__(self, network: tuple[Any, Any], start: Start, loop: LoopConfig, padding: str) -> None:
        from soundloom.training.lora.mlx.network import BaseNetwork
        from soundloom.training.lora.mlx.optimizer import AdamState, FlatLayout

        self.loop, self.padding = loop, padding
        self.network = BaseNetwork(*network)
        self.adapter = self.network.attach(start(lambda name: np.array(self.network.layer(name).weight)))
        self.layout = FlatLayout(self.adapter.start)
        self.state = AdamState.start(self.layout.join(self.adapter.start))

    def step(self, step: int, inputs: StepInputs, prompt: np.ndarray) -> tuple[float, Tree]:
        """Take a step; return the loss and the gradients."""
        import mlx.core as mx

        from soundloom.training.lora.mlx.objective import step_arrays, step_losses
        from soundloom.training.lora.mlx.optimizer import adamw, step_scalars

        arrays = step_arrays(inputs, prompt)

        def loss(tree: Any) -> mx.array:
            self.adapter.set(tree)
            generated, preserved = step_losses(self.network, arrays, 1, self.padding)
            return generated.sum() + preserved

        with mx.stream(mx.cpu):
            value, gradients = mx.value_and_grad(loss)(self.layout.split(self.state.parameters))
            scalars = step_scalars(step, self.loop)
            self.state = adamw(self.state, self.layout.join(gradients), scalars, self.layout.matrices, self.loop)
            mx.eval(value, gradients, self.state.parameters, self.state.first, self.state.second)
        return value.item(), _arrays(gradients)

    @property
    def parameters(self) -> Tree:
        return _arrays(self.layout.split(self.state.parameters))


def _arrays(tree: Any) -> Tree:
    return {name: {kind: np.array(array) for kind, array in kinds.items()} for name, kinds in tree.items()}


class TrainingStepsCase:
    """Calls of whole steps; the transformer is that of another case."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.case, self.engine = case, engine

    def train_steps(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        args = call["args"]
        padding = "zero-values" if args["padding"] == "vzero" else "mask"
        make = {"torch": TorchSteps, "mlx": MLXSteps}[self.engine.name]
        run = make(self._network(), partial(self._start, call, inputs), loop_config(args), padding)
        losses, found = [], {}
        for step in range(args["steps"]):
            loss, gradients = run.step(step, prepared_step(args, inputs, step), inputs["prompt"])
            losses.append(loss)
            if step == 0:
                found |= self._flat(call, "grad", gradients)
            if step in (0, 4):
                found |= self._flat(call, f"after{step + 1}", run.parameters)
        return {"losses": np.array(losses, np.float32), **found}

    def _network(self) -> tuple[Any, Any]:
        """Return the transformer and the conditioner."""
        base = self.case.beside(self.case.data["base_case"])
        dit = DiTCase(base, self.engine).dit
        config = self.case.data["conditioning"]
        prompt = {"id": "prompt", "type": "t5gemma", "config": {"padding_mode": "none"}}
        config = parse(ConditioningConfig, {**config, "configs": [prompt, *config["configs"]]})
        files = self.engine.module("stable_audio.conditioner")
        weights = self.case.weights("conditioner.conditioners.")
        return dit, self.engine.build(lambda: files.Conditioner(config), weights, self.case.name)

    def _start(
        self, call: dict[str, Any], inputs: dict[str, Any], weight: Callable[[str], np.ndarray]
    ) -> dict[str, ModuleAdapter]:
        args = call["args"]
        kind, rank = args["adapter_type"], args["rank"]
        names = [entry["module"] for entry in self.case.data["modules"][args["modules"]]]
        weights = {name: from_array(name, weight(name)) for name in names}
        config = AdapterConfig(type=kind, rank=rank, alpha=args["alpha"])
        start = start_adapter(weights, config, seed=0, bases=published_bases(weights) if is_xs(kind) else None)
        taken: dict[str, int] = {}
        for name, module in start.items():
            for part in kinds_of(kind):
                if (values := inputs.get(f"start.{part}")) is None:
                    continue
                shape = module.tensors[part].shape
                first = taken.get(part, 0)
                taken[part] = first + int(np.prod(shape))
                array = values[first : taken[part]].reshape(shape)
                start[name] = module = module.with_tensors(**{part: from_array(part, array)})
        return start

    def _flat(self, call: dict[str, Any], what: str, tree: Tree) -> Outputs:
        found = {}
        for kind in kinds_of(call["args"]["adapter_type"]):
            names = [entry["module"] for entry in self.case.data["modules"][call["args"]["modules"]]]
            parts = [tree[name][kind].ravel() for name in names]
            found[f"{what}.{kind}"] = np.concatenate(parts)
        return found


def published_bases(weights: dict[str, Any]) -> dict[str, Bases]:
    """Return singular vectors in single precision by one thread, as the cases were recorded.

    Gradients of the -xs types differ by 3e-5 from those with exact vectors, where two singular values are close.
    """
    import torch

    found, threads = {}, torch.get_num_threads()
    torch.set_num_threads(1)
    for name, weight in weights.items():
        matrix = torch.from_numpy(np.array(weight.numpy())).flatten(1)
        u, _, vt = (part.numpy() for part in torch.linalg.svd(matrix, full_matrices=False))
        signs = np.where(u[np.abs(u).argmax(0), np.arange(u.shape[1])] < 0, np.float32(-1), np.float32(1))
        found[name] = Bases(from_array("U", u * signs), from_array("V", vt.T * signs), None)
    torch.set_num_threads(threads)
    return found


def loop_config(args: dict[str, Any]) -> LoopConfig:
    """Return the published optimizer, which decays magnitudes too."""
    return LoopConfig(
        steps=args["steps"],
        learning_rate=args["lr"],
        final_learning_rate=args["lr"],
        warmup_steps=0,
        schedule="constant",
        betas=tuple(args["betas"]),
        epsilon=args["eps"],
        weight_decay=args["weight_decay"],
        decay_vectors=True,
    )


def prepared_step(args: dict[str, Any], inputs: dict[str, Any], step: int) -> StepInputs:
    """Prepare a step from its recorded draws."""
    config = StepConfig(
        times=SAMPLERS[args["timestep_sampler"]],
        coupling=args["ot_coupling"],
        preserved_weight=args["mask_loss_weight"],
        normalization=args["loss_normalization"].replace("_", "-"),
    )
    latents, seconds = inputs["latents"], inputs["seconds"]
    lengths = effective_lengths(seconds, args["sample_rate"], args["downsampling_ratio"])
    times = shifted(
        times_from_draws(config, inputs["z"][step]), lengths, parse(ShiftConfig, args["distribution_shift"])
    )
    padding = inputs.get("padding", np.ones((len(latents), latents.shape[2])))
    extension = inputs["extension"][step] if "extension" in inputs else np.zeros(len(latents))
    draws = StepDraws(
        inputs["z"][step], inputs["noise"][step], extension, inputs["mask"][step], inputs["drop"][step].astype(bool)
    )
    real = padding.sum(axis=1).astype(np.int64)
    return prepare(latents, real, seconds, times, draws, config, args["mask_padding_attention"])
