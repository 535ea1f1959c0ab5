"""Work on several layers at once."""

from __future__ import annotations

import threading

import pytest

from soundloom.lora import parallel
from soundloom.lora.parallel import map_parallel, one_blas_thread, run_parallel


def test_results_come_in_the_order_of_the_items():
    started = threading.Event()

    def work(item):
        if item == 0:
            started.wait(0.2)  # later items may finish first
        started.set()
        return 2 * item

    assert list(map_parallel(work, range(20))) == [2 * item for item in range(20)]


def test_errors_reach_the_caller_and_restore_the_threads():
    functions = parallel._openblas()
    before = functions[0]() if functions else None

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_parallel([fail, fail])
    assert functions is None or functions[0]() == before


@pytest.mark.skipif(parallel._openblas() is None, reason="NumPy was not built with OpenBLAS")
def test_openblas_uses_one_thread_until_the_last_user_leaves():
    get, set_to = parallel._openblas()
    before = get()
    try:
        set_to(2)
        with one_blas_thread():
            assert get() == 1
            with one_blas_thread():
                assert get() == 1
            assert get() == 1
        assert get() == 2
    finally:
        set_to(before)


def test_other_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(parallel, "_openblas", lambda: None)
    assert list(map_parallel(str, [1, 2])) == ["1", "2"]
