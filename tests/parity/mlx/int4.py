"""Run golden calls on a packed bundle: dequantized layers, and networks with packed weights."""

from __future__ import annotations

from copy import copy
from typing import Any

from soundloom.checkpoints.formats.packed import PackedTensor
from soundloom.checkpoints.stable_audio.components import open_component
from soundloom.checkpoints.stable_audio.shapes import DIT_PREFIX
from tests.parity.case import Case
from tests.parity.mlx.files import MLXCodecCase, MLXTextCase, MLXTransformerCase, Outputs


class MLXBundleCase:
    """All calls on the files of one bundle; each component runs like its npz file."""

    def __init__(self, case: Case, engine: Any) -> None:
        self.case, self.engine = case, engine

    def _file(self, *kinds: str) -> str:
        """Return the file of the component whose folder name contains all of `kinds`."""
        files = self.case.data["weights_files"]
        return next(path for name, path in files.items() if all(kind in name for kind in kinds))

    def _on(self, *kinds: str) -> Case:
        case = copy(self.case)
        case.data = self.case.data | {"weights_file": self._file(*kinds)}
        return case

    def dequantize(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        tensors = open_component(self.case.path.parent / self._file("dit")).tensors
        weights = {name: tensors[DIT_PREFIX + name.replace(".seq.", ".")] for name in call["outputs"]}
        assert all(isinstance(weight, PackedTensor) for weight in weights.values())
        return {name: weight.numpy() for name, weight in weights.items()}

    def forward(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        call = call | {"args": {"batch": None} | call["args"]}
        return MLXTransformerCase(self._on("dit"), self.engine).forward(call, inputs)

    def encode(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        call = call | {"weights_file": self._file("same", "encoder")}
        return MLXCodecCase(self.case, self.engine).encode(call, inputs)

    def decode(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        call = call | {"weights_file": self._file("same", "decoder")}
        return MLXCodecCase(self.case, self.engine).decode(call, inputs)

    def text(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        encoder = MLXTextCase(self._on("t5gemma"), self.engine)
        return encoder.encode(call, inputs) | {"mask": encoder.tokenize(call, inputs)["mask"]}
