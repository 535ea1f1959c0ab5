"""The order of the queue."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from soundloom.serving.jobs.scheduler import Scheduler, Waiting

NUMBERS = count()


def waiting(client="a", key="k", model="mini", job_class="interactive", cost=1.0):
    number = next(NUMBERS)
    return Waiting(f"job{number}", 0, client, model, job_class, float(number), (model, key), cost)


def order(items, limit=1, loaded=None, scheduler=None):
    """Return the runs until the queue is empty."""
    scheduler, items, runs = scheduler or Scheduler(), list(items), []
    while items:
        chosen = scheduler.choose(items, loaded, limit)
        loaded = chosen[0].model
        items = [item for item in items if item not in chosen]
        runs.append(chosen)
    return runs


def test_one_client_is_served_in_order():
    items = [waiting() for _ in range(5)]
    assert [run[0] for run in order(items)] == items


def test_clips_that_fit_together_share_a_run():
    items = [waiting(key=key) for key in "abab"]
    assert [[item.job for item in run] for run in order(items, limit=16)] == [
        [items[0].job, items[2].job],
        [items[1].job, items[3].job],
    ]
    assert [len(run) for run in order([waiting() for _ in range(5)], limit=2)] == [2, 2, 1]


def test_a_client_with_many_jobs_does_not_keep_others_waiting():
    many = [waiting("busy") for _ in range(100)]
    others = [waiting(f"client {number}") for number in range(9)]
    runs = order([*many, *others], limit=16)
    for other in others:
        assert next(place for place, run in enumerate(runs) if other in run) <= 1
    alone = order([*many, *others], limit=1)
    assert max(next(place for place, run in enumerate(alone) if other in run) for other in others) <= 10


def test_expensive_clips_count_by_their_time():
    items = [waiting("long", key=i, cost=10) for i in range(3)] + [waiting("short", key=i) for i in range(20)]
    clients = [run[0].client for run in order(items)]
    assert clients[:12].count("long") == 2 and clients.index("short") == 1


def test_a_client_that_returns_has_no_credit():
    scheduler = Scheduler()
    order([waiting("a", key=i) for i in range(50)], scheduler=scheduler)
    clients = [run[0].client for run in order([waiting(c, key=i) for i in range(4) for c in "ab"], scheduler=scheduler)]
    assert sorted(clients[:2]) == sorted(clients[2:4]) == ["a", "b"]


def test_batch_jobs_wait_but_get_every_fifth_run():
    items = [waiting(key=i, job_class="batch") for i in range(3)] + [waiting(key=i + 10) for i in range(12)]
    classes = [run[0].job_class for run in order(items)]
    assert [place for place, one in enumerate(classes) if one == "batch"] == [4, 9, 14]


def test_the_loaded_model_goes_on_for_a_while():
    items = [waiting(key=i, model="mini") for i in range(8)] + [waiting("b", key=1, model="medium")]
    models = [run[0].model for run in order(items, loaded="mini")]
    assert models.index("medium") in (3, 4)
    slow = [replace(item, cost=20.0) for item in items]
    assert [run[0].model for run in order(slow, loaded="mini")].index("medium") == 2
