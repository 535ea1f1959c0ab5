"""Test that clips run in groups and are yielded as soon as their group is finished."""

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
    """Return the number of passes in each run through the networks."""
    sizes, run = [], Executor.run
    monkeypatch.setattr(Executor, "run", lambda executor, passes: sizes.append(len(passes)) or run(executor, passes))
    return sizes


def test_equal_keys_are_grouped_up_to_the_limit():
    assert group_alike("abaacab") == [[0, 2, 3], [5], [1, 6], [4]]


def test_first_clips_are_yielded_before_the_next_group_starts(tiny_model, groups):
    clips = tiny_model.iter(requests(2 * MAX_BATCH + 1))
    first = [place for place, _ in itertools.islice(clips, MAX_BATCH)]
    assert (first, groups) == (list(range(MAX_BATCH)), [MAX_BATCH])
    assert [place for place, _ in clips] == list(range(MAX_BATCH, 2 * MAX_BATCH + 1))
    assert groups == [MAX_BATCH, MAX_BATCH, 1]


def test_groups_match_a_single_run_bit_for_bit(tiny_model, groups):
    mixed = [one for pair in zip(requests(4), requests(4, "bell", 0.4), strict=True) for one in pair]
    passes = [plan_pass(plan_clip(request, tiny_model.config, 4.0), tiny_model.config) for request in mixed]
    reporter = ProgressReporter(tiny_model.engine)
    at_once = Executor(tiny_model.engine, tiny_model.config, tiny_model.tokenizer, reporter).run(passes)
    groups.clear()
    clips = list(tiny_model.iter(mixed))
    assert groups == [MAX_BATCH, 1, MAX_BATCH, 1]
    assert [place for place, _ in clips] == [0, 2, 4, 6, 1, 3, 5, 7]
    assert all(clip.audio.tobytes() == at_once[place].audio.tobytes() for place, clip in clips)
    assert all(clip.record["seed"] == mixed[place].seed for place, clip in clips)


def test_edits_of_one_source_run_together_and_are_planned_once(tiny_model, groups, monkeypatch):
    source = tiny_model.run(requests(1))[0]
    groups.clear()
    planned = []
    monkeypatch.setattr(
        "soundloom.pipeline.stable_audio.plan.plan_clip", lambda *args: planned.append(args) or plan_clip(*args)
    )
    clips = list(tiny_model.iter(requests(5, seconds=None, source=source, regions=((0.05, 0.1),))))
    assert (groups, len(planned), len(clips)) == ([MAX_BATCH, 2], 1, 5)


def test_published_behavior_pads_all_clips_to_the_longest(tiny_model, groups):
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


def test_networks_are_freed_after_the_last_group(tiny_model_folder, monkeypatch):
    model = load(tiny_model_folder)
    freed, free = [], model.engine.free
    monkeypatch.setattr(model.engine, "free", lambda *names: freed.extend(names) or free(*names))
    clips = model.iter(requests(MAX_BATCH + 1))
    for _ in range(MAX_BATCH):
        next(clips)
    assert freed == []
    next(clips)
    assert set(freed) >= {"text", "dit", "conditioner", "decoder"}


def test_networks_are_freed_when_the_caller_stops_early(tiny_model_folder, monkeypatch):
    model = load(tiny_model_folder)
    freed = []
    monkeypatch.setattr(model.engine, "free", lambda *names: freed.extend(names))
    clips = model.iter(requests(MAX_BATCH + 1))
    next(clips)
    clips.close()
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


def test_an_unusable_clip_does_not_cost_the_others(tiny_model, monkeypatch):
    check = Model._clip

    def clip(model, planned, result):
        if planned.seed in (1, 6):
            raise OutputError(f"seed {planned.seed} is static")
        return check(model, planned, result)

    monkeypatch.setattr(Model, "_clip", clip)
    clips = []
    with pytest.raises(OutputError, match="seed 1 is static"):
        clips.extend(place for place, _ in tiny_model.iter(requests(8)))
    assert clips == [0, 2, 3, 4, 5, 7]


def test_an_unusable_clip_alone_in_its_group_does_not_cost_the_others(tiny_model, monkeypatch):
    check = Model._clip

    def clip(model, planned, result):
        if planned.seed == 1:
            raise OutputError("static")
        return check(model, planned, result)

    monkeypatch.setattr(Model, "_clip", clip)
    asked = [GenerationRequest("rain", seconds=seconds, seed=i) for i, seconds in enumerate((0.5, 1, 1.5), 1)]
    clips = []
    with pytest.raises(OutputError):
        clips.extend(place for place, _ in tiny_model.iter(asked))
    assert clips == [1, 2]


def test_a_model_without_usable_clips_stops_after_the_first_group(tiny_model, groups, monkeypatch):
    def clip(*_):
        raise OutputError("static")

    monkeypatch.setattr(Model, "_clip", clip)
    with pytest.raises(OutputError):
        list(tiny_model.iter(requests(3 * MAX_BATCH)))
    assert groups == [MAX_BATCH]


def test_finished_clips_are_yielded_before_cancel(tiny_model):
    cancel, places = Event(), []
    with pytest.raises(Canceled):
        for place, _ in tiny_model.iter(requests(2 * MAX_BATCH), cancel=cancel):
            places.append(place)
            if place == MAX_BATCH - 1:
                cancel.set()
    assert places == list(range(MAX_BATCH))


def test_progress_counts_clips(tiny_model):
    events = []
    tiny_model.run(requests(MAX_BATCH + 2), progress=events.append)
    assert {event.clips for event in events} == {MAX_BATCH + 2}
    assert [event.clip for event in events if event.stage == "text" and event.finished] == [1, MAX_BATCH + 1]


def test_a_repeated_prompt_is_encoded_once(tiny_model, monkeypatch):
    calls, encode = [], tiny_model.engine.encode_text
    monkeypatch.setattr(tiny_model.engine, "encode_text", lambda *args: calls.append(1) or encode(*args))
    whole = tiny_model.run(requests(3 * MAX_BATCH))
    assert len(calls) == 1
    other = tiny_model.run(requests(MAX_BATCH, "bell"))
    assert len(calls) == 2
    assert np.abs(whole[0].audio - other[0].audio).max() > 0.0002


def test_all_requests_are_checked_before_generation(tiny_model, groups):
    with pytest.raises(ValueError, match="at most 120 s"):
        tiny_model.iter([*requests(20), GenerationRequest("x", seconds=121, compat=COMPAT["mlx"])])
    assert groups == []
