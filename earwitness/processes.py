"""Work for several processes side by side, with word of how it goes, and an end to all if one fails."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from earwitness.errors import RunError

__all__ = ["side_by_side", "tell"]

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


def tell(*word: Any) -> None:
    """From a worker process to its parent."""
    _worker["words"].put(word)


def _pass_on(words: Any, on_word: Callable[..., None]) -> None:
    while not words.empty():
        on_word(*words.get())


def _start(words: Any, parent: int) -> None:
    _worker["words"] = words
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    """A worker whose parent was killed must not go on writing."""
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)
