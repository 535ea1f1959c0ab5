"""Run golden calls of adapters: the transformer and the duration conditioner with adapters beside their weights."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from soundloom.config.parse import parse
from soundloom.config.stable_audio.adapters import AdapterStack, AdapterUse
from soundloom.config.stable_audio.model import ConditioningConfig
from soundloom.lora.adapter import Adapter
from soundloom.lora.arithmetic import adapted_weight
from soundloom.lora.bases import with_bases
from soundloom.lora.compile import BranchCompiler
from soundloom.lora.files.read import read_adapter
from soundloom.lora.modules import CONDITIONER, SECONDS, TRANSFORMER
from soundloom.lora.stack import layer_parts
from tests.parity.case import Case
from tests.parity.models import DiTCase

Outputs = dict[str, np.ndarray]
CONDITIONER_KEY = "merged.conditioner.weight"


class LoraCase:
    """Calls on the transformer of another case and a duration conditioner; adapter files lie beside the case."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.case, self.engine = case, engine
        base = DiTCase(case.beside(case.data["base_case"]), engine)
        self.dit_case, self.dit = base, base.dit
        weights = case.weights("conditioner.conditioners.seconds_total.")
        prompt = {"id": "prompt", "type": "t5gemma", "config": {}}  # which the case does not use
        recorded = case.data["conditioning"]
        config = parse(ConditioningConfig, recorded | {"configs": [prompt, *recorded["configs"]]})
        files = engine.module("stable_audio.conditioner")
        self.seconds = engine.build(partial(files.NumberConditioner, config), weights, case.name)
        base_case = case.beside(case.data["base_case"])
        found = base_case.weights(base_case.data["weight_key_prefix"])
        layers = {f"{TRANSFORMER}{name}": weight for name, weight in found.items()}
        layers |= {f"{CONDITIONER}seconds_total.{name}": weight for name, weight in weights.items()}
        self.weights = {
            name.removesuffix(".weight"): weight
            for name, weight in layers.items()
            if name.endswith(".weight") and len(weight.shape) > 1
        }
        self.compiler = BranchCompiler(self.weights)

    def forward(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        args = call.get("args", {})
        adapters = [self._adapter(name, args) for name in args.get("adapters", ())]
        stack = self._stack(args, published="reference_quirk" in call)
        time = float(np.float32(inputs["t"][0]))  # the package compares that of the first item with intervals
        factors = tuple(use.factor(1, time) for use in stack.uses)
        embeds = (1.0,) * len(adapters)  # intervals do not concern the conditioner there
        parts = layer_parts(stack, adapters, factors, embeds)
        branches = self.compiler.compile(parts, stack.combine or "chain")
        slots = self.engine.branch_slots({"dit": self.dit, "conditioner": self.seconds})
        with slots.using(_relative(branches)):
            outputs = {"v": self.dit_case.forward({}, {name: inputs[name] for name in inputs if name != "floats"})["v"]}
            outputs["seconds"] = self.engine.numpy(self.seconds(self.engine.array(inputs["floats"])))
        merged = {name for name in call["outputs"] if name.startswith("merged.")}
        return outputs | {name: self._merged(name, layer_parts(stack, adapters), stack) for name in merged}

    def _adapter(self, name: str, args: dict[str, Any]) -> Adapter:
        folder = self.case.path.parent
        adapter = read_adapter(folder / self.case.data["adapters"][name]["file"], exclude=args.get("exclude", ()))
        bases = args.get("bases")
        return with_bases(adapter, self.weights, None if bases is None else folder / bases)

    def _stack(self, args: dict[str, Any], published: bool) -> AdapterStack:
        is_sum = args.get("combine") == "sum"
        mode = "linear" if is_sum else args.get("magnitudes", "full")
        uses = [
            self._use(name, strength)
            for name, strength in zip(args.get("adapters", ()), args.get("strengths", ()), strict=True)
        ]
        for config in args.get("forward", {}).get("lora_configs", ()):
            filters = tuple(part.strip() for part in config["layer_filter"].split(",") if part.strip())
            index = config["lora_index"]
            uses[index] = replace(uses[index], sigma=tuple(config["interval"]), off=filters)
        stack = AdapterStack(tuple(uses), "sum" if is_sum else "chain", "all").resolved(mode)
        return replace(stack, published=published)

    @staticmethod
    def _use(name: str, strength: Any) -> AdapterUse:
        if not isinstance(strength, dict):
            return AdapterUse(name, strength)
        return AdapterUse(name, strength["transformer"], layers={CONDITIONER: strength["conditioner"]})

    def _merged(self, name: str, parts: Any, stack: AdapterStack) -> np.ndarray:
        layer = SECONDS if name == CONDITIONER_KEY else name.replace("merged.", TRANSFORMER).removesuffix(".weight")
        return adapted_weight(self.weights[layer].numpy(), parts.get(layer, ()), stack.combine or "chain")


def _relative(branches: Any) -> Any:
    """Name the conditioner's layer as in the module that a case builds."""
    prefix = f"{CONDITIONER}seconds_total."
    layers = {name.replace(prefix, CONDITIONER): branch for name, branch in branches.layers.items()}
    return replace(branches, layers=layers)
