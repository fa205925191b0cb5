"""The service: ``POST /score`` and what is needed around it.

::

    POST /score          one or more recordings (multipart, field ``file``) to scores
    POST /reload         read the detector's folder again; requests that are being served keep theirs
    GET  /detector       what answers: digest, windows, what a score is worth
    GET  /health/live    the process answers
    GET  /health/ready   it has a detector
    GET  /metrics        for Prometheus
    GET  /openapi.json   what is written here, for programs
"""

import asyncio
import logging
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, File, HTTPException, Query, Response, UploadFile
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Route

import earwitness
from earwitness.audio import EXTENSIONS, SAMPLE_RATE
from earwitness.errors import EarwitnessError, RunError
from earwitness.processes import cores
from earwitness.runtimes import Runtime
from earwitness.web.answers import About, Answers, Result, Scored
from earwitness.web.counts import Counted, Counts
from earwitness.web.judge import Judge
from earwitness.web.limits import Limits

__all__ = ["ServiceSettings", "create_service"]

_log = logging.getLogger("uvicorn.error")
_POLL = 0.1  # seconds
_UPLOADS = "earwitness-serve-"
_OPEN = ("/health/live", "/health/ready")  # to everybody, always
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "testserver")


@dataclass(frozen=True)
class ServiceSettings:
    """What a service answers with, and its limits.

    Attributes:
        detector: folder of a saved or exported one. ``runtime``: torch, onnx or what the folder holds.
        token: what a request has to bring as ``Authorization: Bearer TOKEN``, or None.
        hosts: names by which it may be called; another is refused, so that a web page cannot reach it
            under a name of its own.
        megabytes, seconds, files: the most of one request, of one recording, and in one request.
        upload_seconds, patience: the most time for uploading and for hearing a recording, seconds.
        at_once: requests that are served or wait; one more is told to come again (503).
        workers: processes that score; 0 for as many as there are cores.
    """

    detector: Path
    runtime: Runtime | None = None
    token: str | None = None
    hosts: tuple[str, ...] = _LOOPBACK
    megabytes: float = 50.0
    seconds: float = 600.0
    files: int = 64
    upload_seconds: float = 30.0
    patience: float = 60.0
    at_once: int = 64
    workers: int = 0


class Service:
    """What the routes share."""

    def __init__(self, settings: ServiceSettings):
        self.settings = settings
        self.counts = Counts()
        self.answers = self._open()
        self._reloading = asyncio.Lock()
        _remove_leftovers()
        self._uploads = Path(tempfile.mkdtemp(prefix=f"{_UPLOADS}{os.getpid()}-"))
        self._leaving: set[asyncio.Task[None]] = set()

    def _open(self) -> Answers:
        given = self.settings
        judge = Judge(
            given.detector, given.runtime, workers=given.workers or cores(),
            seconds=given.seconds, patience=given.patience,
        )  # fmt: skip
        return Answers(judge)

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[Answers]:
        """The detector of today, which stays until the block is left."""
        answers = self.answers
        answers.users += 1
        try:
            yield answers
        finally:
            answers.users -= 1

    async def reload(self) -> Answers:
        """Read the folder again; where that fails the one that is there stays."""
        async with self._reloading:  # one after another: each has processes of its own for a while
            try:
                fresh = await asyncio.to_thread(self._open)
            except EarwitnessError:
                self.counts.reloads.labels("failed").inc()
                raise
            old, self.answers = self.answers, fresh
        self.counts.reloads.labels("loaded").inc()
        leaving = asyncio.create_task(_let_go(old))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        return fresh

    async def close(self) -> None:
        """Let all processes end."""
        await asyncio.gather(_let_go(self.answers), *self._leaving)
        shutil.rmtree(self._uploads, ignore_errors=True)

    def reload_on_hangup(self) -> None:
        """SIGHUP is the signal for it, where there is one and this is a program's main thread."""
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGHUP"):
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, lambda: loop.create_task(self._reload_and_say()))

    async def _reload_and_say(self) -> None:
        try:
            fresh = await self.reload()
            _log.warning("loaded detector %s", fresh.known.digest[:12])
        except EarwitnessError as error:
            _log.error("the detector that was there stays: %s", error)

    async def hear(self, answers: Answers, file: UploadFile, windows: bool) -> Result:
        """One recording of a request."""
        name = (file.filename or "recording").encode("utf-8", "replace").decode()
        suffix = Path(name).suffix.lower()
        with tempfile.TemporaryDirectory(dir=self._uploads) as folder:
            path = Path(folder) / f"recording{suffix if suffix in EXTENSIONS else '.bin'}"
            await asyncio.to_thread(_save, file, path)
            heard = await answers.judge.hear(path)
        self.counts.recordings.labels("failed" if heard.failed else "scored").inc()
        self.counts.audio.inc(heard.samples / SAMPLE_RATE)
        return answers.result(name, heard, windows)


def create_service(settings: ServiceSettings) -> FastAPI:
    """The service as an ASGI application, with a detector loaded.

    Raises:
        CheckpointError: there is no detector in the folder.
    """
    service = Service(settings)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        service.reload_on_hangup()
        yield
        await service.close()

    app = FastAPI(
        title="earwitness", version=earwitness.__version__, lifespan=life,
        description="Is this recording genuine speech? Higher scores = more bonafide.",
        docs_url=None, redoc_url=None,  # their pages want a CDN; /openapi.json is here
    )  # fmt: skip
    app.state.service = service
    _add_routes(app, service)
    _guard(app, settings, service.counts)
    return app


def _guard(app: FastAPI, settings: ServiceSettings, counts: Counts) -> None:
    """What stands around the routes; the last is outermost."""
    app.add_middleware(
        Limits,
        token=settings.token,
        at_once=settings.at_once,
        bytes_=int(settings.megabytes * 1e6),
        upload_seconds=settings.upload_seconds,
        open_=_OPEN,
        light=("/metrics",),
    )
    if "*" not in settings.hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts))
    known = {route.path for route in app.routes if isinstance(route, Route)}
    app.add_middleware(Counted, counts=counts, paths=known)


def _add_routes(app: FastAPI, service: Service) -> None:
    @app.post("/score", response_model_exclude_none=True)
    async def score(
        file: Annotated[list[UploadFile], File(description="recordings")],
        windows: Annotated[bool, Query(description="with each window's score")] = False,
    ) -> Scored:
        """Score recordings. Where none can be used the answer is an error; else each says its own."""
        return await _score(service, file, windows)

    @app.post("/reload")
    async def reload() -> About:
        """Read the detector's folder again, without a request being dropped."""
        try:
            return (await service.reload()).about()
        except EarwitnessError as error:
            raise HTTPException(409, f"the detector that was there stays: {error}") from None

    @app.get("/detector")
    async def detector() -> About:
        """What answers, and what its scores are worth."""
        return service.answers.about()

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "live"}

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        """There is a detector to answer with."""
        if service.answers.judge.is_stale:
            raise HTTPException(503, "another detector lies in the folder; reload it.")
        return {"status": "ready", "detector": service.answers.known.digest}

    @app.get("/metrics")
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(service.counts.text(), media_type="text/plain; version=0.0.4")


async def _score(service: Service, files: list[UploadFile], windows: bool) -> Scored:
    if len(files) > service.settings.files:
        raise HTTPException(413, f"{len(files)} files; a request may have {service.settings.files}.")
    async with service.answering() as answers:
        try:
            told = await asyncio.gather(*(service.hear(answers, file, windows) for file in files))
        except RunError as error:
            raise HTTPException(503, str(error)) from None
    if all(one.error for one in told):
        raise HTTPException(422, "; ".join(f"{one.name}: {one.error}" for one in told))
    return Scored(detector=answers.known.digest, results=list(told))


async def _let_go(answers: Answers) -> None:
    while answers.users:
        await asyncio.sleep(_POLL)
    await answers.judge.close()


def _remove_leftovers() -> None:
    """Uploads of services that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_UPLOADS}*"):
        pid = folder.name.removeprefix(_UPLOADS).split("-")[0]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (ValueError, PermissionError):  # somebody else's
            continue


def _save(file: UploadFile, path: Path) -> None:
    with open(path, "wb") as out:
        shutil.copyfileobj(file.file, out)
