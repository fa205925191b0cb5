"""Work for several processes side by side, with word of how it goes, and an end to all if one fails."""

import ctypes
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import Any

from earwitness.errors import RunError

__all__ = ["as_they_come", "begin", "cores", "keep_memory", "side_by_side", "tell"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as malloc.h numbers them
_worker: dict[str, Any] = {}  # what a worker process was started with


def side_by_side(
    work: Callable[..., Any],
    jobs: Iterable[tuple[Any, ...]],
    workers: int,
    on_word: Callable[..., None] = lambda *word: None,
) -> list[Any]:
    """``work(*job)`` for every job, in ``workers`` new processes; the results in the jobs' order.

    What ``work`` gives to `tell` comes to ``on_word``. When one job fails the others are stopped, and
    when this process is killed so are they.

    Raises:
        RunError: a process died. Any error of ``work``.
    """
    context = get_context("spawn")
    words = context.SimpleQueue()
    others = set(multiprocessing.active_children())  # the caller's own
    start = (words, os.getpid())
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=start) as pool:
        waiting = [pool.submit(work, *job) for job in jobs]
        try:
            while not all(job.done() for job in waiting):
                wait(waiting, timeout=0.2, return_when=FIRST_EXCEPTION)
                _pass_on(words, on_word)
                for job in waiting:
                    if job.done():
                        job.result()
            _pass_on(words, on_word)
            return [job.result() for job in waiting]
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise RunError(
                    "a worker process died (killed, or out of memory?); the same command goes on "
                    "from here, with fewer --workers if memory is short."
                ) from None
            raise


def as_they_come(
    work: Callable[[Any], Any],
    jobs: Iterable[tuple[int, Any]],
    workers: int,
    first: Callable[..., None],
    given: tuple[Any, ...],
    blame: Callable[[Any], Any],
) -> Iterator[tuple[int, Any]]:
    """``work(job)`` of numbered jobs in new processes, each result as soon as it is there.

    Every process calls ``first(*given)`` first. Jobs are drawn when a process is free for them, so
    there may be any number. When a process dies, the jobs that were being done are done again, one at
    a time in a process of its own, and ``blame(job)`` is the result of one of which that dies as well.

    Raises:
        Any error of ``work``.
    """
    source = iter(jobs)
    while True:
        with _Pool(work, workers, first, given) as pool:
            yield from pool.results(source)
            suspects = pool.unfinished()
        if not suspects:
            return
        for number, job in suspects.items():
            with _Pool(work, 1, first, given) as alone:
                yield from alone.results(iter([(number, job)]))
                died = bool(alone.unfinished())
            if died:
                yield number, blame(job)


class _Pool:
    """Processes, and the jobs that they are at; what is unfinished when one died stays known."""

    def __init__(
        self,
        work: Callable[[Any], Any],
        workers: int,
        first: Callable[..., None],
        given: tuple[Any, ...],
    ):
        context = get_context("spawn")
        start = (os.getpid(), first, given)
        self._pool = ProcessPoolExecutor(workers, context, initializer=begin, initargs=start)
        self._work, self._most = work, 2 * workers  # one at hand while another is worked at
        self._at: dict[int, Any] = {}
        self._futures: dict[Future[Any], int] = {}

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, *_: object) -> None:
        processes = list((self._pool._processes or {}).values())  # shutdown forgets them
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()

    def results(self, source: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        """Until all is done, or a process has died."""
        try:
            while True:
                for number, job in islice(source, self._most - len(self._futures)):
                    self._at[number] = job  # before anything can go wrong with it
                    self._futures[self._pool.submit(self._work, job)] = number
                if not self._futures:
                    return
                for one in wait(self._futures, return_when=FIRST_COMPLETED).done:
                    result = one.result()
                    number = self._futures.pop(one)
                    del self._at[number]
                    yield number, result
        except BrokenProcessPool:
            return  # `unfinished` says of what

    def unfinished(self) -> dict[int, Any]:
        """Jobs by number."""
        return self._at


def cores() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def keep_memory() -> None:
    """Have the C library (glibc's) hold on to the memory of large arrays from one batch to the next.

    Given back to the system each time, a fifth of the time goes into getting zeroed pages again.
    """
    try:
        change = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library
        return
    change(_TRIM_THRESHOLD, 2**30)
    change(_MMAP_THRESHOLD, 2**28)


def tell(*word: Any) -> None:
    """From a worker process to its parent."""
    _worker["words"].put(word)


def _pass_on(words: Any, on_word: Callable[..., None]) -> None:
    while not words.empty():
        on_word(*words.get())


def _start(words: Any, parent: int) -> None:
    _worker["words"] = words
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()


def begin(parent: int, work: Callable[..., None], given: tuple[Any, ...]) -> None:
    """``work(*given)`` in what is now a worker: it ends with its parent, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    work(*given)


def _end_with_parent(parent: int) -> None:
    """A worker whose parent was killed must not go on writing."""
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)
