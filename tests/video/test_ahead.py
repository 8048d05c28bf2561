import threading
import time

import pytest

from atrous.video.ahead import ahead


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
    assert list(ahead(counting([], 50), 3)) == list(range(50))


def test_no_more_than_a_few_ahead():
    seen = []
    items = ahead(counting(seen), 3)
    assert next(items) == 0
    time.sleep(0.05)
    assert len(seen) <= 5  # three wait, one is held by the thread, one was taken
    items.close()
    assert seen[-1] == "closed"


def test_what_is_raised_comes_after_what_was_made():
    items = ahead(counting([], 3, ValueError("here")), 2)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="here"):
        next(items)


def test_closing_ends_the_thread():
    before = threading.active_count()
    items = ahead(counting([]), 2)
    next(items)
    items.close()
    assert threading.active_count() == before
