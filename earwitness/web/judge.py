"""Recordings of many requests scored in worker processes, those that wait at the same time together.

A process that dies, of a decoder's fault or for want of memory, takes nothing with it: what was being
heard is heard again, each recording alone in a process of its own, and one of which that dies too is
refused.
"""

import asyncio
import math
import os
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.archive import Outcome, Recording
from earwitness.archive.listening import hear_here, open_here, what_is_here
from earwitness.audio import SAMPLE_RATE
from earwitness.errors import CheckpointError, EarwitnessError, RunError
from earwitness.processes import begin
from earwitness.runtimes import Runtime
from earwitness.windows import Windows

__all__ = ["Judge", "Known"]

_TOGETHER = 16  # recordings given to a worker at once


@dataclass(frozen=True)
class Known:
    """What is known of a detector by who doesn't hold it."""

    digest: str
    card: dict[str, Any]
    windows: Windows


@dataclass
class _Asked:
    path: Path
    until: float
    answer: asyncio.Future[Outcome] = field(repr=False)


class Judge:
    """Workers that have a detector open. All but the constructor belongs to one event loop.

    Args:
        folder: the detector's. ``runtime``: torch, onnx, or None for what the folder holds.
        workers: processes.
        seconds: the longest recording.
        patience: how long a recording may wait and take, in seconds.

    Raises:
        CheckpointError: there is no detector, or it can't score a window.
    """

    def __init__(
        self, folder: Path, runtime: Runtime | None, *, workers: int, seconds: float, patience: float
    ):
        self._start = (folder, runtime)
        self._workers, self._seconds, self._patience = workers, seconds, patience
        self._waiting: deque[_Asked] = deque()
        self._suspects: deque[_Asked] = deque()
        self._trial: asyncio.Task[None] | None = None
        self.is_stale = False  # another detector lies in the folder, and a process opened that
        self._free = workers
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool = self._new_pool(workers)
        try:
            told = [self._pool.submit(_tell) for _ in range(workers)]  # each starts a process
            known = [one.result() for one in told][-1]
        except BrokenProcessPool:
            known = "a process that opened it died (out of memory?)"
        if isinstance(known, str):
            self._pool.shutdown()
            raise CheckpointError(known)
        self.known = known

    async def hear(self, path: Path) -> Outcome:
        """What a recording's windows score, or why there are no scores."""
        until = time.time() + self._patience
        asked = _Asked(path, until, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        self._give()
        return await asked.answer

    async def close(self) -> None:
        """Finish what is asked for, and end the processes."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.to_thread(self._pool.shutdown)

    def _give(self) -> None:
        """Hand what waits to the workers that are free, each a fair part of it."""
        while self._free and self._waiting:
            share = min(_TOGETHER, math.ceil(len(self._waiting) / self._workers))
            some = [self._waiting.popleft() for _ in range(share)]
            late = [asked for asked in some if asked.until < time.time()]
            self._fail(late, RunError("it waited too long for its turn; try again."))
            some = [asked for asked in some if asked not in late]
            if some:
                self._free -= 1
                self._keep(asyncio.create_task(self._ask(some)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, some: list[_Asked]) -> None:
        pool = self._pool
        try:
            self._answer(some, await self._heard(pool, some))
        except BrokenProcessPool:
            if self._pool is pool:
                self._pool = self._new_pool(self._workers)
            self._suspects.extend(some)
            if self._trial is None or self._trial.done():
                self._trial = asyncio.create_task(self._try_suspects())
                self._keep(self._trial)
        except Exception as error:
            self._fail(some, RunError(f"the detector failed ({error})."))
        finally:
            self._free += 1
            self._give()

    async def _try_suspects(self) -> None:
        """A process died of one of these: each again, alone in a process of its own."""
        while self._suspects:
            asked = self._suspects.popleft()
            pool = self._new_pool(1)
            try:
                self._answer([asked], await self._heard(pool, [asked]))
            except BrokenProcessPool:
                told = Outcome(str(asked.path), "", 0, 0, failed="a process died of it, twice")
                self._answer([asked], [told])
            except Exception as error:
                self._fail([asked], RunError(f"the detector failed ({error})."))
            finally:
                pool.shutdown(wait=False)

    async def _heard(self, pool: ProcessPoolExecutor, some: list[_Asked]) -> list[Outcome] | str:
        paths, untils = [one.path for one in some], [one.until for one in some]
        job = pool.submit(_hear, self.known.digest, paths, self._seconds, untils)
        return await asyncio.wrap_future(job)

    def _answer(self, some: list[_Asked], told: list[Outcome] | str) -> None:
        if isinstance(told, str):
            self.is_stale = True
            self._fail(some, RunError(told))
            return
        for asked, outcome in zip(some, told, strict=True):
            if not asked.answer.done():  # who asked may have gone
                asked.answer.set_result(outcome)

    def _fail(self, some: list[_Asked], error: RunError) -> None:
        for asked in some:
            if not asked.answer.done():
                asked.answer.set_exception(error)

    def _new_pool(self, workers: int) -> ProcessPoolExecutor:
        given = (os.getpid(), _open, self._start)
        return ProcessPoolExecutor(workers, get_context("spawn"), begin, given)


_known: list[Known | str] = []  # what this worker process has open, or why it has nothing


def _open(folder: Path, runtime: Runtime | None) -> None:
    with suppress(KeyboardInterrupt):
        try:
            open_here(folder, runtime, "cpu", None)
            detector, policy = what_is_here()
            # The first call takes long, and says whether there will be others.
            detector.score_windows(np.zeros((1, round(policy.seconds * SAMPLE_RATE)), np.float32))
            _known[:] = [Known(detector.digest, detector.card, policy)]
        except EarwitnessError as error:
            _known[:] = [str(error)]
        except ModuleNotFoundError as error:
            _known[:] = [f"this detector needs {error.name}; run: pip install 'earwitness[torch]'"]


def _tell() -> Known | str:
    return _known[0]


def _hear(digest: str, paths: list[Path], seconds: float, untils: list[float]) -> list[Outcome] | str:
    known = _known[0]
    if isinstance(known, str) or known.digest != digest:
        return "the detector's folder has changed; reload it."
    recordings = [Recording.of(str(path), str(path)) for path in paths]
    return hear_here(recordings, seconds, untils)
