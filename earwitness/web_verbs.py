"""The verbs ``serve``, a detector over HTTP, and ``app``, a page for a person."""

import os
import signal
import socket
import sys
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.errors import MissingExtra, RunError, SettingsError
from earwitness.files import read_text
from earwitness.runtimes import Runtime

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["app", "serve"]

_TOKEN = "EARWITNESS_TOKEN"
_HERE = ("127.0.0.1", "::1", "localhost")
_SOON = 0.7  # seconds, in which the server is up
_GRACE = 30  # seconds in which what is being served is finished


def serve(
    detector: Annotated[Path, typer.Argument(help="folder of a saved or exported detector")],
    host: Annotated[
        str, typer.Option(help="address to listen on; others than this machine's want a token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free")] = 8000,
    runtime: Annotated[
        Runtime | None, typer.Option(help="torch or onnx [default: what the folder holds]")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help=f"file with the token that requests bring [default: ${_TOKEN}]")
    ] = None,
    names: Annotated[
        list[str] | None, typer.Option("--name", help="host name by which it is called, also")
    ] = None,
    megabytes: Annotated[float, typer.Option(min=0.001, help="most of one request")] = 50.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="longest recording")] = 600.0,
    upload_seconds: Annotated[float, typer.Option(min=0.1, help="most time for an upload")] = 30.0,
    patience: Annotated[float, typer.Option(min=0.1, help="most time for a recording, s")] = 60.0,
    at_once: Annotated[int, typer.Option(min=1, help="requests served or waiting, then 503")] = 64,
    workers: Annotated[int, typer.Option(min=0, help="processes that score; 0: one a core")] = 0,
) -> None:
    """Answer over HTTP: POST /score; /openapi.json says the rest.

    Ctrl-C or SIGTERM finishes what is at work. SIGHUP or POST /reload reads the detector's folder again
    without dropping a request.
    """
    if hasattr(signal, "SIGHUP"):  # it reloads, once there is something to reload
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    token = _token(token_file)
    if host not in _HERE and token is None:
        raise SettingsError(
            f"--host {host} is open to others, so requests must bring a token; put one into {_TOKEN} "
            "or a --token-file."
        )
    try:
        from earwitness.web import ServiceSettings, create_service
    except ModuleNotFoundError as error:
        if error.name in ("torch", "safetensors"):
            raise
        raise MissingExtra("the service", "serve") from None
    hosts = (*ServiceSettings.hosts, host, *(names or ()))
    service = create_service(
        ServiceSettings(
            detector, runtime, token, ("*",) if token else hosts, megabytes, seconds,
            upload_seconds=upload_seconds, patience=patience, at_once=at_once, workers=workers,
        )
    )  # fmt: skip
    _listen(service, host, port, at_once)


def app(
    detector: Annotated[Path, typer.Argument(help="folder of a detector with landmarks")],
    cases: Annotated[Path, typer.Option(help="folder that keeps the cases")] = Path("earwitness-cases"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free")] = 8765,
    odds: Annotated[
        float, typer.Option(min=1, help="calibrated evidence below so much to one: inconclusive")
    ] = 10.0,
    megabytes: Annotated[float, typer.Option(min=0.001, help="most of one recording")] = 1000.0,
    browser: Annotated[bool, typer.Option(help="open the page")] = True,
) -> None:
    """A page for this machine alone: hear a recording, see why, compare, keep notes, write reports."""
    try:
        from earwitness.web.page import PageSettings, create_page
    except ModuleNotFoundError as error:
        if error.name in ("torch", "safetensors"):
            raise
        raise MissingExtra("the page", "app") from None
    page = create_page(PageSettings(detector, cases, odds, megabytes))
    typer.echo(f"cases are kept in {cases.resolve()}", err=True)
    _listen(page, "127.0.0.1", port, 64, browser)


def _token(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(_TOKEN) or None
    token = read_text(path).strip()
    if not token:
        raise SettingsError(f"{path}: empty; expected a token.")
    return token


def _listen(served: "FastAPI", host: str, port: int, at_once: int, browser: bool = False) -> None:
    """Serve until a signal, saying where."""
    import uvicorn

    from earwitness.web.limits import PatientProtocol

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small answers at once (TCP_NODELAY) only where a socket says that it is TCP.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise RunError(
                f"can't listen on {host}, port {port} ({error.strerror}); try another --port."
            ) from None
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}"
        typer.echo(f"listening on {address}", err=True)
        if browser:
            threading.Timer(_SOON, webbrowser.open, [address]).start()
        config = uvicorn.Config(
            served,
            http=PatientProtocol,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=4 * at_once + 16,  # connections: beyond those that say what they want
            timeout_graceful_shutdown=_GRACE,
        )
        # uvicorn raises the signal again when all is finished; that is a good end, not an error.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
