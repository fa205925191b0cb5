"""The page: a local program for analysts in a browser. Nothing leaves the machine, nothing is loaded
from elsewhere, and what is kept on disk is said and can be deleted.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import FastAPI, File, HTTPException, Request, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware

import earwitness
from earwitness.errors import EarwitnessError, ProtocolError
from earwitness.web.cases import Case, Cases
from earwitness.web.hearing import Hearing
from earwitness.web.limits import Limits

__all__ = ["PageSettings", "create_page"]

_HOSTS = ("localhost", "127.0.0.1", "[::1]", "testserver")
_STATIC = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_MARK = "x-earwitness"  # only this page's own script can set it: other sites' requests are refused
_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "style-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
# The report is a page of its own, with its style inside and no script.
_REPORT = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}


@dataclass(frozen=True)
class PageSettings:
    """What the page is made with.

    Attributes:
        detector: its folder, with landmarks. ``cases``: where cases are kept.
        odds: evidence weaker than so much to one is inconclusive, where the detector is calibrated.
        megabytes: the most of one recording.
    """

    detector: Path
    cases: Path
    odds: float = 10.0
    megabytes: float = 1000.0


class Note(BaseModel):
    """What a person says of a case."""

    note: str


def create_page(settings: PageSettings) -> FastAPI:
    """The page as an ASGI application, with a detector loaded; cases that wait are heard.

    Raises:
        CheckpointError: no detector in the folder, or no landmarks beside it.
    """
    hearing, cases = Hearing(settings.detector, odds=settings.odds), Cases(settings.cases)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        for told in reversed(list(_read_all(cases))):
            if told["status"] in ("waiting", "hearing"):
                hearing.take(cases.get(told["id"]))
        yield
        await run_in_threadpool(hearing.close)

    app = FastAPI(title="earwitness", lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)
    _add_static(app)
    _add_cases(app, cases, hearing)
    _add_files(app, cases, hearing)
    _guard(app, settings)
    return app


def _guard(app: FastAPI, settings: PageSettings) -> None:
    @app.middleware("http")
    async def own(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.method not in ("GET", "HEAD") and _MARK not in request.headers:
            return Response("only the page itself may ask for this", 403)
        response = await answer(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    app.add_middleware(
        Limits, token=None, at_once=32, bytes_=int(settings.megabytes * 1e6), upload_seconds=600.0,
        open_=(), light=(),
    )  # fmt: skip
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(_HOSTS))


def _add_static(app: FastAPI) -> None:
    for path, (name, kind) in _STATIC.items():
        body = files("earwitness.web").joinpath("static", name).read_bytes()

        def give(body: bytes = body, kind: str = kind) -> Response:
            return Response(body, media_type=kind)

        app.add_api_route(path, give, methods=["GET"], response_model=None)


def _add_cases(app: FastAPI, cases: Cases, hearing: Hearing) -> None:
    @app.get("/api/about")
    def about() -> dict[str, Any]:
        return hearing.about() | {
            "kept_in": str(cases.folder.resolve()),
            "version": earwitness.__version__,
        }

    @app.get("/api/cases")
    def all_cases() -> list[dict[str, Any]]:
        return [_in_brief(told) for told in _read_all(cases)]

    @app.post("/api/cases", status_code=202)
    def add(
        recording: Annotated[UploadFile, File()], reference: Annotated[UploadFile | None, File()] = None
    ) -> dict[str, Any]:
        beside = (reference.filename or "reference", reference.file) if reference else None
        case = cases.add(recording.filename or "recording", recording.file, beside)
        hearing.take(case)
        return _in_brief(case.read())

    @app.get("/api/cases/{id_}")
    def one(id_: str) -> dict[str, Any]:
        try:
            return cases.get(id_).read()
        except ProtocolError as error:
            raise HTTPException(404, str(error)) from None

    @app.put("/api/cases/{id_}/note", status_code=204)
    def note(id_: str, told: Note) -> None:
        try:
            _get(cases, id_).write_note(told.note)
        except ProtocolError as error:
            raise HTTPException(413, str(error)) from None

    @app.delete("/api/cases/{id_}", status_code=204)
    def delete(id_: str) -> None:
        cases.delete(_get(cases, id_))

    @app.delete("/api/cases", status_code=204)
    def delete_all() -> None:
        for case in list(cases):
            cases.delete(case)


def _add_files(app: FastAPI, cases: Cases, hearing: Hearing) -> None:
    @app.get("/api/cases/{id_}/sound")
    def sound(id_: str) -> FileResponse:
        return _file(_get(cases, id_).sound, "audio/flac")

    @app.get("/api/cases/{id_}/spectrogram")
    def spectrogram(id_: str) -> FileResponse:
        return _file(_get(cases, id_).picture, "image/png")

    @app.get("/api/cases/{id_}/{picture}.png")
    def picture(id_: str, picture: Literal["plane", "patches"]) -> FileResponse:
        return _file(_get(cases, id_).folder / f"{picture}.png", "image/png")

    @app.get("/api/cases/{id_}/report.html")
    def report(id_: str) -> Response:
        body = _report(hearing, _get(cases, id_), ".html")
        return Response(body, media_type="text/html; charset=utf-8", headers=_REPORT)

    @app.get("/api/cases/{id_}/report.pdf")
    def sheets(id_: str) -> Response:
        case = _get(cases, id_)
        name = quote(f"{Path(case.read()['name']).stem}-report.pdf")
        headers = {"content-disposition": f"attachment; filename*=utf-8''{name}"}
        body = _report(hearing, case, ".pdf")
        return Response(body, media_type="application/pdf", headers=headers)


def _report(hearing: Hearing, case: Case, suffix: str) -> bytes:
    try:
        return hearing.report(case, suffix)
    except EarwitnessError as error:
        raise HTTPException(409, str(error)) from None


def _file(path: Path, kind: str) -> FileResponse:
    if not path.is_file():
        raise HTTPException(404, "not there yet, or deleted")
    return FileResponse(path, media_type=kind)


def _get(cases: Cases, id_: str) -> Case:
    try:
        return cases.get(id_)
    except ProtocolError as error:
        raise HTTPException(404, str(error)) from None


def _read_all(cases: Cases) -> Iterator[dict[str, Any]]:
    """Those that can be read: one may be deleted meanwhile."""
    for case in cases:
        with suppress(ProtocolError):
            yield case.read()


def _in_brief(told: dict[str, Any]) -> dict[str, Any]:
    found = told.get("found") or {}
    kept = ("id", "name", "came", "status", "error", "note")
    more = {name: found.get(name) for name in ("conclusion", "seconds", "score")}
    return {name: told.get(name) for name in kept} | more
