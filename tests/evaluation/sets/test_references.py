"""Reference files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from soundloom.errors import CorruptFileError, MismatchError, RequestError
from soundloom.evaluation.distances.moments import Moments
from soundloom.evaluation.embedders.base import EmbedderInfo
from soundloom.evaluation.recipes import find_recipe
from soundloom.evaluation.sets.references import (
    Reference,
    is_reference,
    list_references,
    read_reference,
    write_reference,
)

INFO = EmbedderInfo("log-mel", 44100, 44100, 6, "ab" * 32)


@pytest.fixture(autouse=True)
def own_data(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDLOOM_DATA", str(tmp_path / "data"))


def reference(rows: bool = True) -> Reference:
    embeddings = np.random.Generator(np.random.Philox(1)).normal(size=(50, 6)).astype(np.float32)
    return Reference(
        name="rain",
        moments=Moments.of(embeddings),
        bandwidth=2.5,
        clip_count=25,
        recipe=find_recipe("soundloom", "log-mel"),
        embedder=INFO.name,
        embedder_hash=INFO.hash,
        set_name="Regen ü",
        set_hash="cd" * 32,
        license="CC BY 4.0",
        facts={"seconds": {"median": 5.0}, "contents": ["abcd"]},
        embeddings=embeddings if rows else None,
        clips=np.repeat(np.arange(25), 2) if rows else None,
    )


@pytest.mark.parametrize("rows", [True, False])
def test_a_reference_comes_back_by_name_and_by_path(tmp_path, rows):
    written = reference(rows)
    path = write_reference("rain", written)
    assert path == tmp_path / "data/references/rain.safetensors" and list_references() == {"rain": path}
    for name in ("rain", path, str(path)):
        found = read_reference(name)
        assert found.moments.count == 50 and np.array_equal(found.moments.mean, written.moments.mean)
        assert np.allclose(found.moments.covariance, written.moments.covariance, rtol=1e-15, atol=0)
        assert (found.embeddings is not None) == rows and (found.clips is not None) == rows
        plain = [{**vars(one), "moments": 0, "embeddings": 0, "clips": 0} for one in (found, written)]
        assert plain[0] == plain[1]
        found.require(written.recipe, INFO)
    record = read_reference("rain").record()
    assert record["seconds"] == {"median": 5.0} and "contents" not in record


def test_names_and_sets_of_sounds_are_told_apart(tmp_path, monkeypatch):
    write_reference("rain", reference())
    assert is_reference("rain") and is_reference("x/y.safetensors") and not is_reference("wind")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rain").mkdir()
    assert not is_reference("rain")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(RequestError, match="save-reference"):
        read_reference("rain")
    write_reference("rain", reference())
    with pytest.raises(RequestError, match="did you mean rain"):
        read_reference("rian")
    for name in ("", "..", "a:b"):
        with pytest.raises(RequestError, match="cannot be named"):
            write_reference(name, reference())


def test_another_recipe_or_embedder_is_refused_by_what_differs():
    found = reference()
    found.require(replace(found.recipe, name="mine", about="x", score="cosine of mean"), INFO)
    with pytest.raises(MismatchError, match=r"level is none, in the reference peak -1 dB; hop is 1\.0, in"):
        found.require(replace(found.recipe, level="none", hop=1.0), INFO)
    with pytest.raises(MismatchError, match="embedder is log-mel efefefefefef, in the reference log-mel abababababab"):
        found.require(found.recipe, replace(INFO, hash="ef" * 32))


def test_damaged_files_are_refused(tmp_path):
    path = write_reference(tmp_path / "r.safetensors", reference())
    data = path.read_bytes()
    for position in range(0, len(data), 101):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(CorruptFileError):
            read_reference(path)
    path.write_bytes(data[:-1])
    with pytest.raises(CorruptFileError):
        read_reference(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bandwidth": float("nan")}, "bandwidth nan"),
        ({"moments": Moments(1, np.zeros(6), np.eye(6))}, "covariance|1 rows|finite"),
        ({"moments": Moments(50, np.zeros(6), np.eye(6))}, "not those of its embeddings"),
        ({"moments": Moments(50, np.full(6, np.inf), np.eye(6))}, "not finite"),
        ({"moments": Moments(50, np.zeros(6), -np.eye(6)), "embeddings": None}, "not that of any embeddings"),
        ({"moments": Moments(50, np.zeros(5), np.eye(6))}, "has shape"),
        ({"clips": np.arange(3)}, "clips are"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_files_with_impossible_contents_are_refused(tmp_path, change, message):
    path = write_reference(tmp_path / "r.safetensors", replace(reference(), **change))
    with pytest.raises(CorruptFileError, match=message):
        read_reference(path)
