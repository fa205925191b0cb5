"""The service under load, beside one that serves one request at a time.

    python benchmarks/serve.py DETECTOR CLIPS [--requests 2000]

Clients in this process, the service in another, both on this machine; each client sends one real clip
after another and waits for the answer. The other service is what one writes first: the same framework,
and a handler that scores the clip with `Detector.score`, one request after another.
"""

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from earwitness.archive import gather

PLAIN = """
import sys, tempfile, threading, uvicorn
from fastapi import FastAPI, UploadFile
from earwitness.detector import Detector
detector, lock, app = Detector.load(sys.argv[1]).eval(), threading.Lock(), FastAPI()
@app.post("/score")
def score(file: UploadFile):
    with tempfile.NamedTemporaryFile() as whole:
        whole.write(file.file.read())
        whole.flush()
        with lock:
            return {"score": detector.score(whole.name).mean}
uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("detector")
    arguments.add_argument("clips", type=Path)
    arguments.add_argument("--requests", type=int, default=2000)
    given = arguments.parse_args()
    bodies = [body(Path(one.path)) for one in gather([given.clips])[:500]]
    print("| service | clients | requests/s | p50, ms | p95, ms | errors | memory after, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    services = {
        "earwitness": ["-m", "earwitness", "serve", given.detector, "--port"],
        "one at a time": ["-c", PLAIN, given.detector],
    }
    for name, words in services.items():
        port = free_port()
        with subprocess.Popen([sys.executable, *words, str(port)], stderr=subprocess.DEVNULL) as server:
            asyncio.run(ready(port))
            asyncio.run(load(port, bodies, 4, 200))
            for clients in (1, 8, 32):
                took, times, errors = asyncio.run(load(port, bodies, clients, given.requests))
                p50, p95 = np.percentile(1000 * np.array(times), [50, 95])
                print(
                    f"| {name} | {clients} | {given.requests / took:.0f} | {p50:.1f} | {p95:.1f} | "
                    f"{errors} | {resident(server.pid)} |",
                    flush=True,
                )
            server.send_signal(signal.SIGTERM)


def body(path: Path) -> bytes:
    """A whole request."""
    mark = "x1x2x3x4"
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
    part = head.encode() + path.read_bytes() + f"\r\n--{mark}--\r\n".encode()
    lines = (
        "POST /score HTTP/1.1",
        "Host: localhost",
        f"Content-Type: multipart/form-data; boundary={mark}",
        f"Content-Length: {len(part)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + part


async def load(
    port: int, bodies: list[bytes], clients: int, requests: int
) -> tuple[float, list[float], int]:
    """Seconds in all, seconds of each request, and how many were not answered with 200."""
    todo, times, errors = iter(range(requests)), [], 0

    async def client() -> None:
        nonlocal errors
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for n in todo:
            began = time.perf_counter()
            writer.write(bodies[n % len(bodies)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            times.append(time.perf_counter() - began)
            errors += b" 200 " not in head[:20]
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return time.perf_counter() - began, times, errors


async def ready(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    sys.exit("the service didn't start")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


if __name__ == "__main__":
    main()
