"""Convert the weights in wheels of aisfx and musicnn to safetensors. No code of a wheel is imported or run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from soundloom.atomic import make_folder
from soundloom.checkpoints.formats.pickle import read_pickle, tensors_of
from soundloom.checkpoints.formats.safetensors import write_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.checkpoints.formats.zip import ZipArchive
from soundloom.checkpoints.hashes import sha256_of
from soundloom.errors import CorruptFileError, DownloadError
from soundloom.evaluation.embedders.tensor_bundle import read_bundle
from soundloom.evaluation.embedders.weights import PackagedWeights, weights_path

_AISFX_MEMBER, _AISFX_PREFIX = "aisfx/models/checkpoint.pth", "embedding_net."
_MUSICNN_FOLDERS = {"musicnn": "musicnn/MTT_musicnn", "musicnn-msd": "musicnn/MSD_musicnn"}
_OPTIMIZER = ("/Adam", "beta1_power", "beta2_power")
_KEYS = {
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# Axes of a kernel of TensorFlow, (height, width, inputs, outputs) or (inputs, outputs), in PyTorch's order.
_AXES = {4: (3, 2, 0, 1), 2: (1, 0)}


def convert(weights: PackagedWeights, wheel: Path) -> Path:
    """Write the weights of a wheel to the cache folder, and return the file.

    Raises DownloadError for another wheel than the pinned one, CorruptFileError if the result is not the pinned one.
    """
    if (found := sha256_of(wheel)) != weights.wheel_sha256:
        raise DownloadError(
            f"{wheel} has the sha256 {found} instead of the pinned {weights.wheel_sha256}; it was not used",
            f"get {weights.wheel} of {weights.requirement} from the package index",
        )
    tensors = _read(weights, wheel)
    path = weights_path(weights)
    make_folder(path.parent)
    facts = {"source": f"{weights.wheel} {weights.wheel_sha256}", "license": weights.license}
    ordered = sorted(tensors.items())
    write_safetensors(path, [from_array(name, np.ascontiguousarray(array)) for name, array in ordered], facts)
    if (found := sha256_of(path)) != weights.sha256:
        path.unlink()
        raise CorruptFileError(f"the conversion of {wheel} has the sha256 {found} instead of the pinned one")
    return path


def _read(weights: PackagedWeights, wheel: Path) -> dict[str, np.ndarray]:
    try:
        archive = ZipArchive(wheel)
        if weights.package == "aisfx":
            return _read_aisfx(archive.read(_AISFX_MEMBER).tobytes())
        folder = _MUSICNN_FOLDERS[weights.name]
        names = (f"{folder}/.index", f"{folder}/.data-00000-of-00001")
        index, data = (archive.read(name).tobytes() for name in names)
    except (ValueError, KeyError) as error:
        raise CorruptFileError(f"{wheel} cannot be read: {error}", "download it again") from error
    return musicnn_tensors(index, data)


def _read_aisfx(checkpoint: bytes) -> dict[str, np.ndarray]:
    """Return the network's tensors, without its classifiers and the counters of batch norms."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pth"
        path.write_bytes(checkpoint)
        stored = read_pickle(path)
        state = tensors_of(stored[0] if isinstance(stored, tuple) and stored else None, "the checkpoint of aisfx")
        return {
            name.removeprefix(_AISFX_PREFIX): np.array(tensor.numpy())
            for name, tensor in state.items()
            if name.startswith(_AISFX_PREFIX) and not name.endswith("num_batches_tracked")
        }


def musicnn_tensors(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """Return the tensors of a checkpoint of musicnn under PyTorch's names, without those of its optimizer."""
    stored = read_bundle(index, data, lambda name: not any(part in name for part in _OPTIMIZER))
    tensors = {}
    for name, array in stored.items():
        module, _, key = name.partition("/")
        if key not in _KEYS:
            raise CorruptFileError(f"the checkpoint of musicnn has the unknown tensor {name}")
        tensors[f"{module}.{_KEYS[key]}"] = array.transpose(_AXES.get(array.ndim, range(array.ndim)))
    return tensors
