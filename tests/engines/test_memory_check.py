"""Networks that need more memory than the machine has are rejected before loading."""

import numpy as np
import pytest

from soundloom import memory
from soundloom.checkpoints.formats.packed import loaded_bytes, pack_tensor, stored_bytes
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.errors import EngineError

INPUTS, OUTPUTS = 64, 8
BIAS = from_array("layer.bias", np.ones(OUTPUTS, np.float16))
HALF = {"layer.weight": from_array("layer.weight", np.ones((OUTPUTS, INPUTS), np.float16)), "layer.bias": BIAS}
PACKED = {
    "layer.weight": pack_tensor(from_array("layer.weight", np.ones((OUTPUTS, INPUTS), np.float32)), 4, 64),
    "layer.bias": BIAS,
}
WIDE = OUTPUTS * INPUTS * 4


@pytest.fixture(params=["torch", "mlx", "mps"])
def load(request, monkeypatch):
    """Return a function that loads a linear layer in float32 on a machine with `total` bytes of memory."""
    if request.param == "mlx":
        pytest.importorskip("mlx.core", reason="MLX is not installed")
        from mlx.nn import Module

        from soundloom.engines.mlx.blocks import Linear
        from soundloom.engines.mlx.load import load_module

        device = {}
    else:
        torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        from torch.nn import Linear, Module

        from soundloom.engines.torch.load import load_module

        device = {"device": "cpu" if request.param == "torch" else "mps"}
        if request.param == "mps" and not torch.backends.mps.is_available():
            monkeypatch.setitem(load_module.__globals__, "to_tensor", stop)

    class Network(Module):
        def __init__(self):
            super().__init__()
            self.layer = Linear(INPUTS, OUTPUTS)

    def run(tensors, total):
        monkeypatch.setattr(memory, "total_memory", lambda: total)
        try:
            load_module(Network, tensors, "a layer", **device)
        except StopIteration:  # the check passed; the device does not exist here
            return

    return run


def stop(_):
    raise StopIteration


@pytest.mark.parametrize(
    ("tensors", "needed"),
    [(HALF, WIDE + 4 * OUTPUTS), (PACKED, stored_bytes([PACKED["layer.weight"]]) + 4 * OUTPUTS)],
    ids=["widened", "packed"],
)
def test_loading_requires_the_memory_of_the_loaded_weights(load, tensors, needed):
    load(tensors, 4 * needed)
    load(tensors, needed)
    with pytest.raises(EngineError, match=r"a layer needs .* GiB of memory, this machine has"):
        load(tensors, needed - 1)


def test_stored_weights_count_in_their_stored_size():
    assert loaded_bytes(HALF, 4) == WIDE + 4 * OUTPUTS
    assert loaded_bytes(HALF, 4, keep=("layer.bias",)) == WIDE + 2 * OUTPUTS
    assert loaded_bytes(HALF, 4, layers=("layer.weight",)) == WIDE // 2 + 4 * OUTPUTS
    assert loaded_bytes(HALF, 4, others={"layer.weight": 1}) == WIDE // 4 + 4 * OUTPUTS
    assert loaded_bytes(PACKED, 4) == WIDE + 4 * OUTPUTS
