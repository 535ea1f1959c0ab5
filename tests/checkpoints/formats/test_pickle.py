"""Files of torch.save, read without executing code in them."""

import functools
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch, which writes the files, is not installed")

from soundloom.checkpoints.formats.pickle import read_pickle, tensors_of  # noqa: E402 (needs torch's files)
from soundloom.checkpoints.formats.unpickler import UnknownObject  # noqa: E402
from soundloom.errors import CorruptFileError, MismatchError  # noqa: E402


class Malicious:
    """A pickled call of any function, as in a malicious checkpoint."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def save(path, data):
    torch.save(data, path)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_tensors_come_back_as_saved(tmp_path, dtype):
    tensor = (torch.arange(24) % 2).reshape(2, 3, 4).to(dtype)
    found = tensors_of(read_pickle(save(tmp_path / "a.bin", {"w": tensor})), "a.bin")["w"]
    assert found.shape == (2, 3, 4)
    assert np.array_equal(found.numpy(), tensor.float().numpy())


def test_parameters_and_nested_dictionaries_are_read(tmp_path):
    model = torch.nn.Linear(3, 2)
    data = {"best_state": OrderedDict(model.state_dict()), "xp.cfg": "pad_mode: reflect", "n": [1, (2.5, None)]}
    data["parameter"] = {"p": model.weight}
    found = read_pickle(save(tmp_path / "a.ckpt", data))
    assert found["xp.cfg"] == "pad_mode: reflect" and found["n"] == [1, (2.5, None)]
    assert np.array_equal(tensors_of(found["best_state"], "a")["weight"].numpy(), model.weight.detach().numpy())
    assert np.array_equal(tensors_of(found["parameter"], "a")["p"].numpy(), model.weight.detach().numpy())


def test_state_dicts_with_attributes_are_read(tmp_path):
    found = read_pickle(save(tmp_path / "a.bin", torch.nn.Linear(3, 2).state_dict()))
    assert set(tensors_of(found, "a.bin")) == {"weight", "bias"}


@pytest.mark.parametrize("view", [lambda t: t.T, lambda t: t[1:, 2:], lambda t: t[:, ::2], lambda t: t[0]])
def test_views_of_a_shared_storage_are_read(tmp_path, view):
    tensor = torch.arange(20.0).reshape(4, 5)
    found = tensors_of(read_pickle(save(tmp_path / "a.bin", {"whole": tensor, "view": view(tensor)})), "a.bin")
    assert np.array_equal(found["view"].numpy(), view(tensor).numpy())


def test_nothing_that_a_pickle_names_is_called(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("still here")
    data = {
        "w": torch.ones(2),
        "remove": Malicious(type(victim).unlink, victim),
        "exec": Malicious(exec, f"open({str(tmp_path / 'made')!r}, 'w')"),
        "partial": functools.partial(print, "shouted"),
    }
    found = read_pickle(save(tmp_path / "evil.ckpt", data))
    assert victim.read_text() == "still here"
    assert not (tmp_path / "made").exists()
    assert all(isinstance(found[name], UnknownObject) for name in ("remove", "exec", "partial"))
    assert np.array_equal(tensors_of(found, "evil.ckpt")["w"].numpy(), [1, 1])


def test_torch_itself_would_run_the_code(tmp_path):
    path = save(tmp_path / "evil.ckpt", Malicious(exec, f"open({str(tmp_path / 'made')!r}, 'w').close()"))
    torch.load(path, weights_only=False)
    assert (tmp_path / "made").exists()


def rewrite(path, change):
    """Change the pickle in a file of torch.save."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, change(content) if name.endswith("data.pkl") else content)


def test_a_tensor_outside_of_its_storage_is_rejected(tmp_path):
    path = save(tmp_path / "a.bin", {"w": torch.arange(7.0)})
    rewrite(path, lambda content: content.replace(b"K\x07\x85", b"K\x70\x85"))  # (7,) becomes (112,)
    with pytest.raises(CorruptFileError, match="exceeds its storage"):
        read_pickle(path)


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"\x80\x02K."])
def test_a_damaged_pickle_is_rejected(tmp_path, damage):
    path = save(tmp_path / "a.bin", {"w": torch.ones(2)})
    rewrite(path, damage)
    with pytest.raises(CorruptFileError, match="cannot be read"):
        read_pickle(path)


def test_other_files_are_rejected(tmp_path):
    bare = tmp_path / "bare.bin"
    bare.write_bytes(pickle.dumps({"w": 1}))
    with pytest.raises(CorruptFileError, match="not a zip archive"):
        read_pickle(bare)
    with zipfile.ZipFile(tmp_path / "other.bin", "w") as archive:
        archive.writestr("readme", "nothing")
    with pytest.raises(CorruptFileError, match="not from torch"):
        read_pickle(tmp_path / "other.bin")


def test_a_file_without_tensors_is_named(tmp_path):
    with pytest.raises(MismatchError, match="holds no named tensors"):
        tensors_of(read_pickle(save(tmp_path / "a.bin", {"pretrained": "facebook/encodec_32khz"})), "a.bin")
