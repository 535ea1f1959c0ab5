"""Pickles that try to run code, to exceed memory, or to take forever are rejected, and nothing runs."""

from __future__ import annotations

import builtins
import functools
import operator
import os
import pickle
import runpy
import struct
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from soundloom.errors import CheckpointError, CorruptFileError
from soundloom.lora.files.read import read_adapter
from tests.lora.files.make import GOLDEN, QKV, config_of, flat, make_tensors
from tests.lora.files.torch_files import Raw, TorchFile, call, encode, name, save_checkpoint

FUNCTIONS = [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("some.package", "f")]
REBUILDERS = [("torch._utils", "_rebuild_parameter"), ("torch._tensor", "_rebuild_from_type_v2"), ("torch", "load")]
KEY = f"{QKV}.parametrizations.weight.0.lora_A"
LAYERS = {QKV: (6, 4)}


class Call:
    """An object whose pickle calls a function, as in a malicious checkpoint."""

    def __init__(self, function, *arguments, state=None, items=None):
        self.reduced = (function, arguments, state, iter(items) if items else None)

    def __reduce__(self):
        return self.reduced

    def __call__(self):
        """Stand for the function that the call returns."""


def attacks(target):
    """Return objects whose unpickling would create the file `target`, by name."""
    touch = f"open({str(target)!r}, 'w').close()"
    shell = f'{sys.executable} -c "{touch}"'
    return {
        "os.system": Call(os.system, shell),
        "subprocess": Call(subprocess.call, [sys.executable, "-c", touch]),
        "eval": Call(eval, f"__import__('os').system({shell!r})"),
        "exec": Call(exec, touch),
        "open": Call(open, str(target), "w"),
        "import": Call(builtins.__import__, "antigravity"),
        "runpy": Call(runpy.run_path, str(target)),
        "loads": Call(pickle.loads, pickle.dumps(Call(exec, touch))),
        "getattr": Call(Call(getattr, Call(builtins.__import__, "os"), "system"), shell),
        "attrgetter": Call(Call(Call(operator.attrgetter, "system"), Call(builtins.__import__, "os")), shell),
        "partial": Call(functools.partial(exec, touch)),
        "map": Call(list, Call(map, exec, [touch])),
        "apply": Call(functools.reduce, exec, [touch, {}]),
        "state": Call(list, (), state=Call(exec, touch)),
        "items": Call(list, (), items=[Call(exec, touch)]),
    }


NAMES = sorted(attacks("x"))


def content(value, protocol):
    data = pickle.dumps({"state_dict": {}, "lora_config": {}, "x": value}, protocol)
    return bytes(data)


@pytest.mark.parametrize("attack", NAMES)
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_that_a_pickle_names_is_run(tmp_path, attack, protocol):
    target = tmp_path / "made"
    data = content(attacks(target)[attack], protocol)
    path = TorchFile().save(tmp_path / "a.ckpt", data)
    with pytest.raises(CorruptFileError) as caught:
        read_adapter(path)
    sentence = caught.value.args[0]
    assert len(sentence) < len(str(path)) + 400 and "\n" not in sentence
    assert not target.exists()


def test_the_attacks_would_run_elsewhere(tmp_path):
    for attack in ("os.system", "exec", "loads", "getattr", "state"):
        target = tmp_path / attack
        pickle.loads(content(attacks(target)[attack], 2))
        assert target.exists(), attack


@pytest.mark.parametrize("where", ["state", "config", "top", "training"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_name_is_in_the_message(tmp_path, where, function):
    file = TorchFile()
    bad = call(name(*function), "touch made")
    state = file.tensors(flat(make_tensors("lora", shapes=LAYERS)))
    data = {"state_dict": state, "lora_config": config_of("lora")}
    if where == "state":
        state["evil"] = bad
    elif where == "config":
        data["lora_config"]["x"] = [bad]
    else:
        data |= {"x": bad} | ({"epoch": 3} if where == "training" else {})
    path = file.save(tmp_path / "a.ckpt", data)
    if where == "training" and function[0] == "some.package":  # dropped with its key, without a look at it
        assert read_adapter(path).type == "lora"
        return
    with pytest.raises(CorruptFileError, match=r"names .*|holds .*") as caught:
        read_adapter(path)
    assert ".".join(function) in caught.value.args[0]


def test_unknown_objects_in_kept_parts_of_training_checkpoints_are_named(tmp_path):
    file = TorchFile()
    state = file.tensors(flat(make_tensors("lora", shapes=LAYERS)))
    strange = call(name("some.package", "Thing"))
    with pytest.raises(CorruptFileError, match=r"some\.package\.Thing in its state_dict"):
        read_adapter(file.save(tmp_path / "a.ckpt", {"epoch": 1, "state_dict": {**state, "x": strange}}))
    with pytest.raises(CorruptFileError, match=r"lora_config that holds some\.package\.Thing"):
        read_adapter(file.save(tmp_path / "a.ckpt", {"epoch": 1, "state_dict": state, "lora_config": {"x": strange}}))


def test_other_tensor_classes_are_not_rebuilt(tmp_path):
    for function in REBUILDERS:
        path = TorchFile().save(tmp_path / "a.ckpt", {"state_dict": {KEY: call(name(*function), "x")}})
        with pytest.raises(CorruptFileError, match=".".join(function)):
            read_adapter(path)


# Tensors


def one_tensor(path, **options):
    file = TorchFile()
    arrays = flat(make_tensors("lora", shapes=LAYERS))
    state = file.tensors(arrays)
    state[KEY] = file.tensor(arrays[KEY], **options)
    return file.save(path, {"state_dict": state, "lora_config": config_of("lora")})


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (3, 5)},
        {"shape": (1 << 40, 4)},
        {"shape": (1 << 62, 1 << 62)},
        {"strides": (-4, 1)},
        {"strides": (4, 1 << 62)},
        {"strides": (4,)},
        {"offset": 1},
        {"offset": -1},
        {"count": 13},
        {"count": 1 << 62},
        {"count": -1},
        {"storage": 99},
        {"storage": "../data.pkl"},
        {"shape": (3, 1 << 30), "strides": (4, 0)},
    ],
)
def test_tensors_that_their_storage_does_not_hold_are_rejected(tmp_path, options):
    with pytest.raises(CorruptFileError, match="cannot be read"):
        read_adapter(one_tensor(tmp_path / "a.ckpt", **options))
    assert read_adapter(one_tensor(tmp_path / "b.ckpt")).modules[QKV].array("lora_A").shape == (3, 4)


def test_many_tensors_on_one_storage_are_rejected(tmp_path):
    file = TorchFile()
    big = np.zeros((3, 100_000), np.float16)
    first = file.tensor(big)
    layers = [f"model.transformer.layers.{layer}.ff.ff.2" for layer in range(500)]
    state = {f"{layer}.parametrizations.weight.0.lora_A": file.tensor(big, storage=0) for layer in layers}
    state |= {f"{layer}.parametrizations.weight.0.lora_B": first for layer in layers}
    with pytest.raises(CorruptFileError, match="share storages"):
        read_adapter(file.save(tmp_path / "a.ckpt", {"state_dict": state, "lora_config": config_of("lora")}))


# Resources


def reject_quickly(path, seconds=10.0):
    start = time.process_time()
    with pytest.raises(CheckpointError) as caught:
        read_adapter(path)
    assert time.process_time() - start < seconds
    assert len(caught.value.args[0]) < len(str(path)) + 400
    return caught.value.args[0]


def bombs():
    """Return pickles that describe much more than they hold, by name."""
    start, many = b"\x80\x02", 200_000
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
    laughs = b"]q\x00" + b"".join(
        b"](" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"eq" + bytes([level + 1]) for level in range(40)
    )
    laughs = Raw(laughs)
    itself = Raw(b"]q\x01(h\x01e")
    size, ordered = name("torch", "Size"), name("collections", "OrderedDict")
    pairs = b"](" + b"K\x01K\x02\x86" * many + b"e\x85q\x01"
    return {
        "nested tuples": start + b"N" + b"\x85" * many + b".",
        "nested lists": start + b"](" * many + b"e" * many + b".",
        "nested dictionaries": start + b"}(K\x01" * many + b"u" * many + b".",
        "marks": start + b"(" * many + b".",
        "laughs": start + encode({"state_dict": {}, "lora_config": {"x": laughs}}) + b".",
        "sizes": start + pairs + (size + b"h\x01R0") * 50_000 + b"N.",
        "dictionaries": start + pairs + (ordered + b"h\x01R0") * 20_000 + b"N.",
        "names": start + text + b"q\x01" + text + b"q\x02" + b"h\x01h\x02\x93" * 50_000 + b".",
        "self": start + b"}q\x01(" + encode("state_dict") + b"h\x01" + encode("lora_config") + b"h\x01u.",
        "recursive list": start + encode({"state_dict": {}, "lora_config": {"x": itself}}) + b".",
        "opcodes": start + b"N0" * (1 << 20) + b"N.",
        "memo": start + b"N" + b"".join(b"r" + struct.pack("<I", place) for place in range(0, 1 << 31, 1 << 12)) + b".",
        "long integer": start + b"\x8b" + struct.pack("<i", 1 << 28) + b"\xff" * 1000 + b".",
        "negative length": start + b"\x8b" + struct.pack("<i", -1) + b".",
        "long text": start + b"\x8d" + struct.pack("<Q", 1 << 62) + b"aaa.",
        "no stop": start + b"N",
        "empty stack": start + b"R.",
        "no memo": start + b"h\x07.",
        "extension": start + b"\x82\x01.",
        "instance": start + b"(ios\nsystem\n.",
        "protocol 0": b"cos\nsystem\n(S'true'\ntR.",
        "wrong mark": start + b"t.",
    }


@pytest.mark.parametrize("bomb", sorted(bombs()))
def test_bombs_are_rejected_quickly(tmp_path, bomb):
    reject_quickly(TorchFile().save(tmp_path / "a.ckpt", bombs()[bomb]))


def test_a_configuration_that_explodes_is_rejected(tmp_path):
    file = TorchFile()
    state = file.tensors(flat(make_tensors("lora", shapes=LAYERS)))
    wide = Raw(b"]q\x70(" + encode(1) * 10 + b"e")
    levels = [wide]
    for level in range(1, 12):
        reference = b"h" + bytes([0x70 + level - 1])
        levels.append(Raw(b"]q" + bytes([0x70 + level]) + b"(" + reference * 10 + b"e"))
    config = {**config_of("lora"), **{f"x{level}": value for level, value in enumerate(levels)}}
    assert "too large" in reject_quickly(file.save(tmp_path / "a.ckpt", {"state_dict": state, "lora_config": config}))


def test_deflated_storages_and_huge_pickles_are_rejected(tmp_path):
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + b"N0" * (1 << 25) + b"N.")
    assert "limit" in reject_quickly(path)
    file = save_checkpoint(tmp_path / "b.ckpt", flat(make_tensors("lora", shapes=LAYERS)), config_of("lora"))
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as copy:
        for member in archive.namelist():
            copy.writestr(member, archive.read(member))
    assert "no readable storage" in reject_quickly(path)


# Damage


def test_truncated_checkpoints_are_rejected_at_every_length(tmp_path):
    whole = save_checkpoint(
        tmp_path / "a.ckpt", flat(make_tensors("lora", shapes=LAYERS)), config_of("lora")
    ).read_bytes()
    cut = tmp_path / "cut.ckpt"
    for length in range(0, len(whole), 3):
        cut.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_adapter(cut)


def test_truncated_pickles_in_whole_archives_are_rejected_at_every_length(tmp_path):
    with zipfile.ZipFile(GOLDEN / "part.ckpt") as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    pickled = next(member for member in members if member.endswith("data.pkl"))
    for length in range(0, len(members[pickled]), 41):
        path = tmp_path / "a.ckpt"
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data[:length] if member == pickled else data)
        with pytest.raises(CorruptFileError, match="cannot be read"):
            read_adapter(path)


def test_half_written_checkpoints_are_rejected(tmp_path):
    path = save_checkpoint(tmp_path / "a.ckpt", flat(make_tensors("lora", shapes=LAYERS)), config_of("lora"))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    with pytest.raises(CorruptFileError):
        read_adapter(path)
    with zipfile.ZipFile(GOLDEN / "part.ckpt") as archive, zipfile.ZipFile(path, "w") as copy:
        for member in archive.namelist():
            if not member.endswith("/data/5"):
                copy.writestr(member, archive.read(member))
    with pytest.raises(CorruptFileError, match="no readable storage 5"):
        read_adapter(path)
