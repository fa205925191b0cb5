"""The next things, prepared by a thread while the last one is at work."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")


def ahead(makers: Iterable[Callable[[], T]], count: int) -> Iterator[T]:
    """What ``makers`` give, in their order, with at most ``count`` of them made in advance.

    One thread makes them one after another, so what they share needs no order of its own. An error
    comes where its thing would have come. With 0 each is made when it is asked for.

    >>> list(ahead([lambda: 1, lambda: 2], count=1))
    [1, 2]
    """
    if count == 0:
        for make in makers:
            yield make()
        return
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        try:
            for make in makers:
                waiting.append(thread.submit(make))
                if len(waiting) > count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            thread.shutdown(wait=True, cancel_futures=True)
