import threading
import time

import pytest

from atrous._parallel import map_ordered, prefetch


def test_few_results_are_in_memory_at_once():
    begun, most = 0, 0
    lock = threading.Lock()

    def work(item):
        nonlocal begun
        with lock:
            begun += 1
        return item

    taken = []
    for item in map_ordered(work, range(50), 2):
        taken.append(item)
        most = max(most, begun - len(taken))
    assert taken == list(range(50))
    assert most <= 5


def test_one_thread_is_the_callers_own():
    seen = map_ordered(lambda item: (item, threading.current_thread()), range(3), 1)
    assert list(seen) == [(item, threading.current_thread()) for item in range(3)]


def counting(seen, end=1000, error=None):
    try:
        for number in range(end):
            seen.append(number)
            yield number
        if error is not None:
            raise error
    finally:
        seen.append("closed")


def test_items_in_order():
    assert list(prefetch(counting([], 50), 3)) == list(range(50))


def test_no_more_than_a_few_prefetch():
    seen = []
    items = prefetch(counting(seen), 3)
    assert next(items) == 0
    time.sleep(0.05)
    assert len(seen) <= 5  # three wait, one is held by the thread, one was taken
    items.close()
    assert seen[-1] == "closed"


def test_what_is_raised_comes_after_what_was_made():
    items = prefetch(counting([], 3, ValueError("here")), 2)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="here"):
        next(items)


def test_closing_ends_the_thread():
    before = threading.active_count()
    items = prefetch(counting([]), 2)
    next(items)
    items.close()
    assert threading.active_count() == before
