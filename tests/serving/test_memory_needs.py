"""Estimates of memory agree with what was measured."""

from __future__ import annotations

from soundloom.serving.jobs.device import Device
from soundloom.serving.memory_needs import memory_needed, memory_of
from soundloom.serving.worker.settings import WorkerSettings


def device(**settings):
    return Device("one", WorkerSettings("", **settings), None)


def test_the_estimate_for_small_music_is_near_what_was_measured():
    measured = 1342e6  # 30 s in 8 bits on a CPU, with all networks in memory: docs/benchmarks.md
    found = memory_needed("small-music", device(device="cpu", precision="int8"))
    assert measured < found < 1.4 * measured


def test_half_precision_is_assumed_on_gpus_and_nothing_for_unknown_models():
    on_gpu = memory_needed("medium", device(device="cuda"))
    assert on_gpu == memory_needed("medium", device(device="cpu", precision="fp16"))
    assert memory_needed("my-model", device()) is None


def test_the_memory_of_a_gpu_is_known_when_it_has_loaded_something():
    one = device(device="cuda:0")
    assert memory_of(one) is None
    one.memory = 24 * 10**9
    assert memory_of(one) == 24 * 10**9
    assert memory_of(device(device="cpu")) > 10**9
