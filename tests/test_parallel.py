import threading

from atrous._parallel import in_threads


def test_few_results_are_in_memory_at_once():
    begun, most = 0, 0
    lock = threading.Lock()

    def work(item):
        nonlocal begun
        with lock:
            begun += 1
        return item

    taken = []
    for item in in_threads(work, range(50), 2):
        taken.append(item)
        most = max(most, begun - len(taken))
    assert taken == list(range(50))
    assert most <= 5


def test_one_thread_is_the_callers_own():
    seen = in_threads(lambda item: (item, threading.current_thread()), range(3), 1)
    assert list(seen) == [(item, threading.current_thread()) for item in range(3)]
