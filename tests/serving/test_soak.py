"""Clients at random, a worker that is killed, and streams that are cut: nothing is lost or made twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.soak import soak


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs the /proc of Linux")
def test_nothing_is_lost_while_workers_are_killed_and_streams_are_cut():
    figures = soak(seconds=15, clients=5, kill_every=5, seed=1)
    assert not figures.faults, "\n".join(figures.faults[:20])
    assert figures.kills and figures.cut_streams and figures.lost_answers and figures.uploads
    assert figures.takes > 5
