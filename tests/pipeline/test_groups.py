"""Clips as they are made: in groups, each handed out when its group is finished."""

import itertools
import tracemalloc
from threading import Event

import numpy as np
import pytest

from soundloom import GenerationRequest, load
from soundloom.config.stable_audio.request import COMPAT
from soundloom.errors import Canceled, OutputError
from soundloom.pipeline import plan as plan_module
from soundloom.pipeline.plan import group_alike
from soundloom.pipeline.progress import ProgressReporter
from soundloom.pipeline.stable_audio.executor import Executor
from soundloom.pipeline.stable_audio.model import Model
from soundloom.pipeline.stable_audio.plan import plan_clip, plan_pass

MAX_BATCH = 3


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    monkeypatch.setattr(plan_module, "MAX_BATCH", MAX_BATCH)


def requests(count, prompt="rain", seconds=0.2, **options):
    return [
        GenerationRequest(prompt, seconds=seconds, seed=i, steps=1, duration_padding=0, **options) for i in range(count)
    ]


@pytest.fixture
def groups(monkeypatch):
    """The number of passes of each run through the networks."""
    sizes, run = [], Executor.run
    monkeypatch.setattr(Executor, "run", lambda executor, passes: sizes.append(len(passes)) or run(executor, passes))
    return sizes


def test_equal_keys_are_grouped_up_to_the_limit():
    assert group_alike("abaacab") == [[0, 2, 3], [5], [1, 6], [4]]


def test_the_first_clips_are_there_before_the_next_group_is_begun(tiny_model, groups):
    made = tiny_model.iter(requests(2 * MAX_BATCH + 1))
    first = [place for place, _ in itertools.islice(made, MAX_BATCH)]
    assert (first, groups) == (list(range(MAX_BATCH)), [MAX_BATCH])
    assert [place for place, _ in made] == list(range(MAX_BATCH, 2 * MAX_BATCH + 1))
    assert groups == [MAX_BATCH, MAX_BATCH, 1]


def test_groups_give_the_bits_of_one_run_over_all(tiny_model, groups):
    mixed = [one for pair in zip(requests(4), requests(4, "bell", 0.4), strict=True) for one in pair]
    passes = [plan_pass(plan_clip(request, tiny_model.config, 4.0), tiny_model.config) for request in mixed]
    reporter = ProgressReporter(tiny_model.engine)
    at_once = Executor(tiny_model.engine, tiny_model.config, tiny_model.tokenizer, reporter).run(passes)
    groups.clear()
    made = list(tiny_model.iter(mixed))
    assert groups == [MAX_BATCH, 1, MAX_BATCH, 1]
    assert [place for place, _ in made] == [0, 2, 4, 6, 1, 3, 5, 7]
    assert all(clip.audio.tobytes() == at_once[place].audio.tobytes() for place, clip in made)
    assert all(clip.record["seed"] == mixed[place].seed for place, clip in made)


def test_edits_of_one_sound_run_together_and_are_planned_once(tiny_model, groups, monkeypatch):
    source = tiny_model.run(requests(1))[0]
    groups.clear()
    planned = []
    monkeypatch.setattr(
        "soundloom.pipeline.stable_audio.plan.plan_clip", lambda *args: planned.append(args) or plan_clip(*args)
    )
    made = list(tiny_model.iter(requests(5, seconds=None, source=source, regions=((0.05, 0.1),))))
    assert (groups, len(planned), len(made)) == ([MAX_BATCH, 2], 1, 5)


def test_published_systems_still_make_all_as_long_as_the_longest(tiny_model, groups):
    both = [GenerationRequest("x", seconds=length, steps=1, duration_padding=0) for length in (0.2, 0.9)]
    assert (
        len(
            tiny_model.generate(
                ["x", "x"], seconds=[0.2, 0.9], seed=1, steps=1, duration_padding=0, compat="stable-audio-3"
            )
        )
        == 2
    )
    assert groups == [2]
    assert [place for place, _ in tiny_model.iter(both)] == [0, 1]
    assert groups == [2, 1, 1]


def test_networks_stay_while_more_is_to_be_made_and_leave_then(tiny_model_folder, monkeypatch):
    model = load(tiny_model_folder)
    freed, free = [], model.engine.free
    monkeypatch.setattr(model.engine, "free", lambda *names: freed.extend(names) or free(*names))
    made = model.iter(requests(MAX_BATCH + 1))
    for _ in range(MAX_BATCH):
        next(made)
    assert freed == []
    next(made)
    assert set(freed) >= {"text", "dit", "conditioner", "decoder"}


def test_networks_leave_when_nobody_wants_the_rest(tiny_model_folder, monkeypatch):
    model = load(tiny_model_folder)
    freed = []
    monkeypatch.setattr(model.engine, "free", lambda *names: freed.extend(names))
    made = model.iter(requests(MAX_BATCH + 1))
    next(made)
    made.close()
    assert set(freed) >= {"text", "dit", "decoder"}


def test_memory_does_not_grow_with_the_number_of_clips(tiny_model):
    def peak(count):
        tracemalloc.start()
        for _ in tiny_model.iter(requests(count, seconds=1.0)):
            pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(MAX_BATCH)
    few, many = peak(MAX_BATCH), peak(6 * MAX_BATCH)
    one_clip = 2 * 44100 * 4
    assert many < few + 4 * one_clip, "15 more clips of 0.35 MB would be 5.3 MB"


def test_a_clip_that_is_no_sound_does_not_cost_the_others(tiny_model, monkeypatch):
    check = Model._clip

    def clip(model, planned, result):
        if planned.seed in (1, 6):
            raise OutputError(f"seed {planned.seed} is static")
        return check(model, planned, result)

    monkeypatch.setattr(Model, "_clip", clip)
    made = []
    with pytest.raises(OutputError, match="seed 1 is static"):
        made.extend(place for place, _ in tiny_model.iter(requests(8)))
    assert made == [0, 2, 3, 4, 5, 7]


def test_one_bad_clip_of_a_length_of_its_own_does_not_cost_the_others(tiny_model, monkeypatch):
    check = Model._clip

    def clip(model, planned, result):
        if planned.seed == 1:
            raise OutputError("static")
        return check(model, planned, result)

    monkeypatch.setattr(Model, "_clip", clip)
    asked = [GenerationRequest("rain", seconds=seconds, seed=i) for i, seconds in enumerate((0.5, 1, 1.5), 1)]
    made = []
    with pytest.raises(OutputError):
        made.extend(place for place, _ in tiny_model.iter(asked))
    assert made == [1, 2]


def test_a_model_that_makes_no_sound_at_all_stops_at_the_first_group(tiny_model, groups, monkeypatch):
    def clip(*_):
        raise OutputError("static")

    monkeypatch.setattr(Model, "_clip", clip)
    with pytest.raises(OutputError):
        list(tiny_model.iter(requests(3 * MAX_BATCH)))
    assert groups == [MAX_BATCH]


def test_what_was_made_before_a_stop_is_not_lost(tiny_model):
    cancel, places = Event(), []
    with pytest.raises(Canceled):
        for place, _ in tiny_model.iter(requests(2 * MAX_BATCH), cancel=cancel):
            places.append(place)
            if place == MAX_BATCH - 1:
                cancel.set()
    assert places == list(range(MAX_BATCH))


def test_progress_counts_clips(tiny_model):
    heard = []
    tiny_model.run(requests(MAX_BATCH + 2), progress=heard.append)
    assert {event.clips for event in heard} == {MAX_BATCH + 2}
    assert [event.clip for event in heard if event.stage == "text" and event.finished] == [1, MAX_BATCH + 1]


def test_a_prompt_that_repeats_is_read_once(tiny_model, monkeypatch):
    calls, encode = [], tiny_model.engine.encode_text
    monkeypatch.setattr(tiny_model.engine, "encode_text", lambda *args: calls.append(1) or encode(*args))
    whole = tiny_model.run(requests(3 * MAX_BATCH))
    assert len(calls) == 1
    other = tiny_model.run(requests(MAX_BATCH, "bell"))
    assert len(calls) == 2
    assert np.abs(whole[0].audio - other[0].audio).max() > 0.0002


def test_requests_are_checked_before_anything_is_made(tiny_model, groups):
    with pytest.raises(ValueError, match="at most 120 s"):
        tiny_model.iter([*requests(20), GenerationRequest("x", seconds=121, compat=COMPAT["mlx"])])
    assert groups == []
