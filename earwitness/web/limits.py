"""Who may ask, and what a request may cost: bytes, seconds of uploading, a place among those served.

All of it is looked at before the body is read.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["Limits", "PatientProtocol"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Limits:
    """Around an application: refuses who has no token (401), and uploads that are too many (503), too
    large (413) or too slow (408).

    ``open_`` paths are answered to everybody, and they and the ``light`` ones always.
    """

    def __init__(
        self,
        app: Any,
        *,
        token: str | None,
        at_once: int,
        bytes_: int,
        upload_seconds: float,
        open_: tuple[str, ...],
        light: tuple[str, ...],
    ):
        self.app, self.at_once, self.bytes, self.seconds = app, at_once, bytes_, upload_seconds
        self.token, self.open, self.light = token, open_, light
        self.at = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        free = scope["path"] in self.open
        refusal = None if free else self._stranger(headers)
        if refusal is None and (free or scope["path"] in self.light) and _has_body(headers):
            refusal = _answer(413, "there is nothing to be sent here.", {"connection": "close"})
        if refusal is None and (free or scope["path"] in self.light):
            await self.app(scope, receive, send)
            return
        refusal = refusal or self._too_much(headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self.at += 1
        try:
            await self.app(scope, self._counted(receive), send)
        finally:
            self.at -= 1

    def _stranger(self, headers: dict[bytes, bytes]) -> JSONResponse | None:
        given = headers.get(b"authorization", b"")
        if self.token is None or hmac.compare_digest(given, f"Bearer {self.token}".encode()):
            return None
        said = "a token is needed: Authorization: Bearer TOKEN"
        return _answer(401, said, {"www-authenticate": "Bearer", "connection": "close"})

    def _too_much(self, headers: dict[bytes, bytes]) -> JSONResponse | None:
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.bytes:
            return _answer(413, self._too_large(), {"connection": "close"})
        if self.at >= self.at_once:
            said = f"{self.at} requests are being served, which is the limit; try again."
            return _answer(503, said, {"retry-after": "1", "connection": "close"})
        return None

    def _counted(self, receive: Receive) -> Receive:
        until = asyncio.get_running_loop().time() + self.seconds
        seen, whole = 0, False

        async def counted() -> Message:
            nonlocal seen, whole
            if whole:  # whoever asks now waits for the client to go away
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                said = f"the upload took more than {self.seconds:g} s."
                raise HTTPException(408, said, {"connection": "close"}) from None
            seen += len(message.get("body", b""))
            if seen > self.bytes:
                raise HTTPException(413, self._too_large(), {"connection": "close"})
            whole = not message.get("more_body", False)
            return message

        return counted

    def _too_large(self) -> str:
        return f"a request may have {self.bytes / 1e6:g} MB."


def _has_body(headers: dict[bytes, bytes]) -> bool:
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


def _answer(status: int, said: str, headers: dict[str, str]) -> JSONResponse:
    return JSONResponse({"detail": said}, status, headers)


class PatientProtocol(H11Protocol):
    """uvicorn's protocol, with an end to patience with clients that don't finish their headers.

    Of the first request, and of each after an answer.
    """

    HEADER_SECONDS = 10.0

    def connection_made(self, transport: Any) -> None:
        """A client is there, and has so long to say what it wants."""
        super().connection_made(transport)
        self._patience = self.loop.call_later(self.HEADER_SECONDS, self._give_up)

    def on_response_complete(self) -> None:
        """The next request has as long again."""
        super().on_response_complete()
        self._patience.cancel()
        self._patience = self.loop.call_later(self.HEADER_SECONDS, self._give_up)

    def _give_up(self) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        if idle and not self.transport.is_closing():
            self.transport.close()
