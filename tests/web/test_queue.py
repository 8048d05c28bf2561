import asyncio
import threading

import pytest

from atrous.web.errors import RequestError
from atrous.web.queue import WorkQueue


@pytest.fixture
def held():
    """Work that ends when the event is set."""
    go = threading.Event()
    yield go
    go.set()


def run(work, limit, seconds, steps):
    async def running():
        queue = WorkQueue(work, limit, seconds)
        try:
            return await steps(queue)
        finally:
            queue.close()

    return asyncio.run(running())


async def inside(queue, count):
    for _ in range(500):
        if queue.running + queue.waiting == count:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"{queue.running} and {queue.waiting}")


def test_a_full_queue_refuses(held):
    async def steps(queue):
        tasks = [asyncio.create_task(queue.run(held.wait)) for _ in range(3)]
        await inside(queue, 3)
        assert (queue.running, queue.waiting) == (1, 2)
        with pytest.raises(RequestError, match="2 requests are waiting") as refused:
            await queue.run(held.wait)
        assert refused.value.status_code == 429
        assert int(refused.value.headers["Retry-After"]) >= 1
        tasks[1].cancel()  # leaves before its turn
        await inside(queue, 2)
        held.set()
        assert [await tasks[0], await tasks[2]] == [True, True]
        await inside(queue, 0)

    run(1, 2, 10, steps)


def test_a_timeout_of_the_work_is_not_the_deadline():
    def work():
        raise TimeoutError("file server")

    async def steps(queue):
        with pytest.raises(TimeoutError, match="file server"):
            await queue.run(work)

    run(1, 1, 10, steps)


def test_the_deadline_covers_waiting(held):
    async def steps(queue):
        results = await asyncio.gather(queue.run(held.wait), queue.run(held.wait), return_exceptions=True)
        assert [error.status_code for error in results] == [503, 503]
        await inside(queue, 1)  # the one that was started cannot be stopped

    run(1, 2, 0.1, steps)


def test_a_closed_queue_refuses_who_waits_and_then_who_is_computed(held):
    async def steps(queue):
        tasks = [asyncio.create_task(queue.run(held.wait)) for _ in range(2)]
        await inside(queue, 2)
        queue.close()
        with pytest.raises(RequestError, match="stopping"):
            await tasks[1]
        with pytest.raises(RequestError, match="stopping"):
            await queue.run(held.wait)
        assert not tasks[0].done()
        queue.abandon()
        with pytest.raises(RequestError, match="stopping"):
            await tasks[0]
        assert queue.running == 1

    run(1, 2, 10, steps)


def test_errors_of_the_work_are_raised():
    async def steps(queue):
        with pytest.raises(ZeroDivisionError):
            await queue.run(lambda: 1 // 0)

    run(1, 0, 10, steps)
