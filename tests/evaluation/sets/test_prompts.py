"""Lists of prompts."""

import json

import pytest

from soundloom.errors import CorruptFileError, RequestError
from soundloom.evaluation.sets.manifest import SoundItem, SoundSet, write_set
from soundloom.evaluation.sets.prompts import Prompt, read_prompts, write_prompts


def test_a_text_file_has_one_prompt_a_line(tmp_path):
    (tmp_path / "p.txt").write_text("\ufeffrain\n\n  wind \nrain\n", encoding="utf-8")
    found = read_prompts(tmp_path / "p.txt").prompts
    assert [one.text for one in found] == ["rain", "wind", "rain"]
    assert found[2].id == f"{found[0].id}-2"


def test_ids_and_seeds_do_not_depend_on_other_prompts(tmp_path):
    (tmp_path / "a.txt").write_text("rain\nwind\n")
    (tmp_path / "b.txt").write_text("sea\nwind\n")
    first, second = (read_prompts(tmp_path / name, 3).prompts[1] for name in ("a.txt", "b.txt"))
    assert first == second and first.seeds(3) == second.seeds(3)
    other = read_prompts(tmp_path / "a.txt").prompts[0]
    assert set(first.seeds(3)).isdisjoint(other.seeds(3)) and all(0 <= seed < 2**31 + 3 for seed in first.seeds(3))


def test_tables_state_lengths_and_seeds(tmp_path):
    (tmp_path / "p.csv").write_text("id,prompt,seconds,seed\nx,rain,5,10\ny,wind,,\n")
    found = read_prompts(tmp_path / "p.csv", 2)
    assert found.prompts == (Prompt("x", "rain", 5.0, 10), Prompt("y", "wind"))
    assert [(one.id, one.seed) for one in found.requests()][:2] == [("x", 10), ("x", 11)]
    write_prompts(tmp_path / "again.jsonl", found.prompts)
    assert read_prompts(tmp_path / "again.jsonl", 2).hash == found.hash
    assert read_prompts(tmp_path / "again.jsonl", 3).hash != found.hash


def test_captions_of_a_set_are_prompts_with_its_lengths(tmp_path, noise):
    noise(tmp_path / "a.wav")
    items = SoundItem("1", tmp_path / "a.wav", "rain", 0.1, 0.5), SoundItem("2", tmp_path / "a.wav")
    write_set(tmp_path / "set.json", SoundSet("s", items))
    assert read_prompts(tmp_path).prompts == (Prompt("1", "rain", 0.4),)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "x", "seconds": 0}, "0 seconds"),
        ({"caption": ""}, "no prompt"),
        ({"prompt": "x", "seed": 1.5}, "seed"),
    ],
)
def test_damaged_rows_are_named(tmp_path, row, message):
    (tmp_path / "p.jsonl").write_text(json.dumps(row))
    with pytest.raises(CorruptFileError, match=message):
        read_prompts(tmp_path / "p.jsonl")


def test_lists_that_cannot_be_used_are_rejected(tmp_path):
    (tmp_path / "p.txt").write_text("\n")
    with pytest.raises(RequestError, match="has no prompts"):
        read_prompts(tmp_path / "p.txt")
    (tmp_path / "p.csv").write_text("id,prompt\nx,rain\nx,wind\n")
    with pytest.raises(RequestError, match="more than once: x"):
        read_prompts(tmp_path / "p.csv")
    with pytest.raises(RequestError, match="there is no"):
        read_prompts(tmp_path / "none.txt")
