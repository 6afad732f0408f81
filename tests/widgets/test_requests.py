"""The thread behind a page's requests, and the bytes that are kept for it."""

from __future__ import annotations

import threading

from fooocus_nb.widgets._byte_cache import ByteCache
from fooocus_nb.widgets._requests import RequestThread


def test_tasks_come_first_then_what_is_seen_then_the_rest() -> None:
    served: list[object] = []
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def serve_rest(batch: list[int]) -> None:
        served.append(("rest", batch))
        if batch[-1] == 9:
            done.set()

    thread: RequestThread[int] = RequestThread(
        "t", served.append, 2, serve_rest=serve_rest, rest_at_once=3
    )
    thread.submit(lambda: (begun.set(), go_on.wait(30)))
    assert begun.wait(30)
    thread.add_rest([6, 7, 8, 9])
    thread.request([1, 2])
    thread.request([3, 4, 5])  # instead
    thread.submit(lambda: served.append("task"))
    go_on.set()
    assert done.wait(30)
    assert served == ["task", [3, 4], [5], ("rest", [6, 7, 8]), ("rest", [9])]
    thread.close()
    thread.submit(lambda: served.append("late"))
    thread.request([1])
    assert thread.closed
    assert not any((thread._tasks, thread._requests, thread._rest))


def test_what_was_not_used_for_longest_gives_way() -> None:
    cache: ByteCache[str] = ByteCache(10)
    for key in "abc":
        cache.put(key, b"123")
    assert cache.get("a") == b"123"
    cache.put("d", b"1234")
    assert [cache.get(key) for key in "abcd"] == [b"123", None, b"123", b"1234"]
    for _ in range(9):  # the same again takes no more
        cache.put("d", b"1234")
    assert cache.get("a") == b"123"
    cache.put("e", b"x" * 11)
    assert [cache.get(key) for key in "acde"] == [None] * 4
    cache.put("f", b"1")
    cache.clear()
    assert cache.get("f") is None
