"""What Prometheus reads."""

import time
from collections.abc import Collection, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Counted", "Counts"]


class Counts:
    """Counters of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        named: dict[str, Any] = {"namespace": "earwitness", "registry": self.registry}
        self.requests = Counter("requests", "Answers by path and status", ["path", "status"], **named)
        self.recordings = Counter("recordings", "Recordings by outcome", ["outcome"], **named)
        self.audio = Counter("audio_seconds", "Seconds of audio that were scored", **named)
        self.reloads = Counter("reloads", "Detectors loaded, by outcome", ["outcome"], **named)
        self.at = Gauge("requests_in_progress", "Requests that are being served", **named)
        self.took = Histogram(
            "request_seconds", "Seconds from the first byte to the answer", ["path"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60), **named,
        )  # fmt: skip

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self.registry)


class Counted:
    """Around everything else: counts every answer, refusals too."""

    def __init__(self, app: Any, *, counts: Counts, paths: Collection[str]):
        self.app, self.counts, self.paths = app, counts, paths

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self.paths else "other"
        began, status = time.perf_counter(), 500

        async def seen(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self.counts.at.track_inprogress():
            try:
                await self.app(scope, receive, seen)
            finally:
                self.counts.requests.labels(path, status).inc()
                self.counts.took.labels(path).observe(time.perf_counter() - began)
