"""The service: right answers, limits that hold, and nothing dropped whatever happens meanwhile."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
import httpx
from starlette.testclient import TestClient

from earwitness import audio
from earwitness.archive import Outcome
from earwitness.calibration import Calibration
from earwitness.detector import Detector
from earwitness.errors import RunError
from earwitness.verdict import put_calibration
from earwitness.web import ServiceSettings, create_service, judge
from earwitness.windows import Windows


def make_detector(folder: Path, seed: int) -> Detector:
    detector = Detector.build(
        "lfcc", {"name": "resnet", "width": 4}, seed=seed, windows=Windows(1.0, 0.5)
    )
    detector.card = {"dev": {"threshold": 0.0, "eer": 0.2, "bonafide": 5, "spoof": 5}}
    detector.save(folder)
    return Detector.load(folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("service")
    rng = np.random.default_rng(0)
    for name, seconds in (("a.wav", 0.7), ("b.flac", 2.3), ("long.wav", 9.0)):
        audio.write(folder / name, 0.1 * rng.normal(size=int(16_000 * seconds)).clip(-5, 5))
    (folder / "bad.wav").write_bytes(b"nothing at all")
    make_detector(folder / "d", 0)
    return folder


@pytest.fixture(scope="module")
def client(place):
    settings = ServiceSettings(place / "d", seconds=8.0, megabytes=0.3, files=3, workers=1)
    with TestClient(create_service(settings)) as client:
        yield client


def post(client, place: Path, *names: str, **more):
    files = [("file", (name, (place / name).read_bytes())) for name in names]
    return client.post("/score", files=files, **more)


# Right answers.


def test_a_recording_gets_the_score_that_the_detector_gives_it(client, place) -> None:
    told = post(client, place, "b.flac", params={"windows": True}).json()
    detector = Detector.load(place / "d")
    alone = detector.score(place / "b.flac")
    (one,) = told["results"]
    assert told["detector"] == detector.digest
    assert one["score"] == pytest.approx(alone.mean, abs=1e-5)
    assert one["worst"] == pytest.approx(alone.worst, abs=1e-5)
    assert [part["score"] for part in one["windows"]] == pytest.approx(alone.windows, abs=1e-5)
    assert [part["start"] for part in one["windows"]] == pytest.approx(alone.starts)
    assert one["windows"][-1]["end"] == one["seconds"] == pytest.approx(2.3)
    assert one["verdict"] == ("bonafide" if alone.mean >= 0 else "spoof")
    assert "llr" not in one
    assert "windows" not in post(client, place, "b.flac").json()["results"][0]


def test_of_several_each_says_its_own(client, place) -> None:
    told = post(client, place, "a.wav", "bad.wav", "b.flac")
    assert told.status_code == 200
    first, bad, last = told.json()["results"]
    assert [first["name"], bad["name"], last["name"]] == ["a.wav", "bad.wav", "b.flac"]
    assert "not audio" in bad["error"]
    assert "score" not in bad
    assert "error" not in first


def test_it_says_what_it_is(client, place) -> None:
    told = client.get("/detector").json()
    assert told["windows"] == {"seconds": 1.0, "hop": 0.5}
    assert told["worth"].startswith("What a score is worth")
    assert not told["calibrated"]
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json()["detector"] == told["detector"]
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/score", "/reload", "/detector", "/health/live", "/health/ready", "/metrics"} == set(paths)


# What is refused, and costs nothing lasting.


def test_what_cannot_be_used_is_the_clients_fault(client, place) -> None:
    assert post(client, place, "bad.wav").status_code == 422
    assert "bad.wav: not audio" in post(client, place, "bad.wav").json()["detail"]
    assert "longer than 8 s" in post(client, place, "long.wav").json()["detail"]
    assert client.post("/score").status_code == 422
    assert client.post("/score", files={"other": b"x"}).status_code == 422
    assert (
        client.post("/score", content=b"x", headers={"content-type": "text/plain"}).status_code == 422
    )
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/score", content=b"--y nonsense", headers=broken).status_code in (400, 422)
    assert post(client, place, *4 * ["a.wav"]).status_code == 413
    assert client.get("/score").status_code == 405
    assert client.get("/nowhere").status_code == 404


def test_an_upload_cannot_name_other_files(client, place) -> None:
    """A playlist would have FFmpeg open what it names: files of this machine, or addresses."""
    for named in (str(place / "b.flac"), "http://127.0.0.1:9/x.wav"):
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{named}\n#EXT-X-ENDLIST\n"
        for name in ("u.m3u8", "u.wav"):
            told = client.post("/score", files={"file": (name, playlist.encode())})
            assert told.status_code == 422, told.text
    concat = f"ffconcat version 1.0\nfile '{place / 'b.flac'}'\n"
    assert client.post("/score", files={"file": ("u.txt", concat.encode())}).status_code == 422


def test_odd_names_are_only_names(client, place) -> None:
    body = (place / "b.flac").read_bytes()
    for name in ("a\0b.wav", "../../x.flac", "ü" * 300, ""):
        told = client.post("/score", files={"file": (name, body)})
        assert told.status_code in (200, 422), (name, told.text)


def test_nothing_is_sent_to_where_nothing_is_read(client) -> None:
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert client.request("GET", path, content=b"0" * 1000).status_code == 413
        assert client.get(path).status_code == 200


def test_uploads_of_a_killed_service_are_removed(place, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f"earwitness-serve-{dead.pid}-x").mkdir()
    mine = tmp_path / f"earwitness-serve-{os.getpid()}-other"
    mine.mkdir()
    with TestClient(create_service(ServiceSettings(place / "d", workers=1))):
        assert len(list(tmp_path.glob("earwitness-serve-*"))) == 2
    assert list(tmp_path.iterdir()) == [mine]


def _hear_or_die(digest: str, paths: list[Path], *rest: object) -> list[Outcome]:
    if any(path.name == "fatal.wav" for path in paths):
        os._exit(1)
    time.sleep(0.05)
    return [Outcome(path.name, "", 0, 0, 16_000, (1.0,)) for path in paths]


@pytest.mark.slow
def test_what_kills_a_process_is_refused_and_its_neighbours_are_heard(place, monkeypatch) -> None:
    monkeypatch.setattr(judge, "_hear", _hear_or_die)
    one = judge.Judge(place / "d", None, workers=2, seconds=60, patience=60)

    async def ask() -> list[Outcome]:
        names = [f"{n}.wav" for n in range(10)]
        asked = [one.hear(Path(name)) for name in [*names[:5], "fatal.wav", *names[5:]]]
        found = await asyncio.gather(*asked)
        await one.close()
        return list(found)

    found = asyncio.run(ask())
    assert [told.failed for told in found[:5] + found[6:]] == [None] * 10
    assert found[5].failed == "a process died of it, twice"


def test_who_waited_too_long_is_told_to_come_again(place) -> None:
    one = judge.Judge(place / "d", None, workers=1, seconds=60, patience=-1)

    async def ask() -> None:
        with pytest.raises(RunError, match="waited too long"):
            await one.hear(place / "b.flac")
        await one.close()

    asyncio.run(ask())


def test_too_many_bytes_are_refused_by_their_head_and_by_count(client) -> None:
    whole = client.post("/score", files={"file": b"0" * 400_000})
    assert whole.status_code == 413
    assert "0.3 MB" in whole.json()["detail"]

    def pieces():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for _ in range(40):
            yield b"0" * 10_000

    head = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/score", content=pieces(), headers=head).status_code == 413


def test_counts_say_what_happened(client, place) -> None:
    def count(line: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(one.split()[-1]) for one in lines if one.startswith(line))

    before = count('earwitness_requests_total{path="/score",status="200"}')
    seconds, bad = (
        count("earwitness_audio_seconds_total"),
        count('earwitness_recordings_total{outcome="f'),
    )
    post(client, place, "b.flac", "bad.wav")
    assert count('earwitness_requests_total{path="/score",status="200"}') == before + 1
    assert count("earwitness_audio_seconds_total") == pytest.approx(seconds + 2.3)
    assert count('earwitness_recordings_total{outcome="failed"}') == bad + 1
    assert count('earwitness_request_seconds_count{path="/score"}') > before
    client.get("/some/path/of/an/attacker")
    assert 'path="other"' in client.get("/metrics").text


def test_strangers_and_strange_names_are_refused(place) -> None:
    settings = ServiceSettings(place / "d", token="secret", workers=1)
    with TestClient(create_service(settings)) as client:
        assert post(client, place, "a.wav").status_code == 401
        wrong = {"authorization": "Bearer secre"}
        assert post(client, place, "a.wav", headers=wrong).status_code == 401
        for path in ("/detector", "/metrics", "/openapi.json"):
            assert client.get(path).status_code == 401
        assert client.get("/health/ready").status_code == 200
        right = {"authorization": "Bearer secret"}
        assert post(client, place, "a.wav", headers=right).status_code == 200
        assert client.get("/detector", headers={**right, "host": "evil.example"}).status_code == 400
        assert client.post("/reload", headers=right).status_code == 200


# A detector that learned since.


def test_reloading_answers_with_the_new_one_or_keeps_the_old(place, tmp_path) -> None:
    folder = tmp_path / "d"
    first = make_detector(folder, 1)
    with TestClient(create_service(ServiceSettings(folder, workers=1))) as client:
        assert client.get("/detector").json()["detector"] == first.digest
        second = make_detector(folder, 2)
        assert client.get("/detector").json()["detector"] == first.digest
        assert client.post("/reload").json()["detector"] == second.digest
        told = post(client, place, "b.flac").json()
        assert told["detector"] == second.digest
        alone = second.score(place / "b.flac").mean
        assert told["results"][0]["score"] == pytest.approx(alone, abs=1e-5)
        (folder / "weights.safetensors").write_bytes(b"half of it")
        refused = client.post("/reload")
        assert refused.status_code == 409
        assert "stays" in refused.json()["detail"]
        assert post(client, place, "b.flac").json() == told
        assert 'earwitness_reloads_total{outcome="failed"} 1.0' in client.get("/metrics").text


def test_a_calibrated_detector_gives_ratios(place, tmp_path) -> None:
    folder = tmp_path / "d"
    detector = make_detector(folder, 1)
    calibration = Calibration("affine", weights=(1.7,), offset=-0.3)
    put_calibration(folder, calibration)
    with TestClient(create_service(ServiceSettings(folder, workers=1))) as client:
        (one,) = post(client, place, "b.flac").json()["results"]
        expected = calibration.apply([detector.score(place / "b.flac").mean])[0]
        assert one["llr"] == pytest.approx(expected, abs=1e-4)
        assert client.get("/detector").json()["calibrated"]


# A real one.

IMPATIENT = """
import sys
import tempfile
from earwitness.cli import main
from earwitness.web import limits
limits.PatientProtocol.HEADER_SECONDS = 0.5
sys.argv = ["earwitness", "serve", *sys.argv[1:]]
main()
"""


class Served:
    """A service in a process of its own."""

    def __init__(self, *words: object):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-c", IMPATIENT, *map(str, words), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        assert "listening on" in self.process.stderr.readline()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def raw(self, sent: bytes) -> bytes:
        """What comes back of these bytes until the service hangs up, or of a whole answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as one:
            one.sendall(sent)
            answer = b""
            while part := one.recv(4096):
                answer += part
            return answer

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.process.terminate()
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def served(place, tmp_path_factory):
    os.environ["TMPDIR"] = str(tmp_path_factory.mktemp("uploads"))
    try:
        with Served(place / "d", "--upload-seconds", 1, "--at-once", 40, "--workers", 2) as one:
            yield one
    finally:
        del os.environ["TMPDIR"]


def workers_of(process: subprocess.Popen) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(folder.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1])
            line = folder.joinpath("cmdline").read_bytes()
        except OSError:
            continue
        if parent == process.pid and b"spawn_main" in line:
            found.append(int(folder.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes by /proc")
def test_nothing_is_dropped_while_detectors_change_and_processes_die(served, place) -> None:
    with ThreadPoolExecutor(16) as clients:
        asked = [clients.submit(post, served.client, place, "b.flac") for _ in range(200)]
        assert served.client.post("/reload").status_code == 200
        os.kill(workers_of(served.process)[-1], signal.SIGKILL)
        assert served.client.post("/reload").status_code == 200
        os.kill(served.process.pid, signal.SIGHUP)
        told = [one.result() for one in asked]
    assert {one.status_code for one in told} == {200}
    scores = [one.json()["results"][0]["score"] for one in told]
    assert scores == pytest.approx([scores[0]] * 200, abs=1e-5)


@pytest.mark.slow
def test_slow_and_truncated_uploads_end_and_leave_nothing(served, place) -> None:
    head = (
        b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    )
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    began = time.monotonic()
    assert b" 408 " in served.raw(head + b"Content-Length: 5000\r\n\r\n" + part)
    assert 0.9 < time.monotonic() - began < 10
    assert served.raw(b"POST /score HTTP/1.1\r\nHost: loc") == b""  # never finishes its head
    with socket.create_connection(("127.0.0.1", served.port)) as one:
        one.sendall(head + b"Content-Length: 5000\r\n\r\n" + part + b"RIFF")
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as one:
        one.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while b"live" not in answer:  # head and body may come apart
            answer += one.recv(4096)
        one.sendall(b"G")  # and no more of the next
        assert one.recv(4096) == b""
    assert b" 400 " in served.raw(b"nonsense\r\n\r\n")
    huge = head + b"Content-Length: 99000000000\r\n\r\n"
    assert b" 413 " in served.raw(huge)
    assert post(served.client, place, "b.flac").status_code == 200
    assert [list(one.iterdir()) for one in Path(os.environ["TMPDIR"]).glob("earwitness-*")] == [[]]
    assert "earwitness_requests_in_progress 1.0" in served.client.get("/metrics").text


@pytest.mark.slow
def test_one_request_too_many_is_told_to_come_again(served) -> None:
    head = (
        b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    )
    idle = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(40)]
    try:
        for one in idle:
            one.sendall(head + b"Content-Length: 5000\r\n\r\n")
        time.sleep(0.3)
        refused = served.client.post("/score", files={"file": b"x"})
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert served.client.get("/health/live").status_code == 200
    finally:
        for one in idle:
            one.close()


@pytest.mark.slow
def test_a_stop_finishes_what_is_at_work(place) -> None:
    with Served(place / "d", "--workers", 1) as one:
        with ThreadPoolExecutor(4) as clients:
            asked = [clients.submit(post, one.client, place, *10 * ["long.wav"]) for _ in range(4)]
            while "in_progress 5.0" not in one.client.get("/metrics").text:
                time.sleep(0.01)
            one.process.terminate()
            assert {told.result().status_code for told in asked} == {200}
        assert one.process.wait(timeout=60) == 0
        with pytest.raises(httpx.ConnectError):
            one.client.get("/health/live")


@pytest.mark.slow
def test_strangers_are_refused_before_their_body_is_read(place, monkeypatch) -> None:
    """What is promised here never comes; who waited for it would answer 408, and later."""
    monkeypatch.setenv("EARWITNESS_TOKEN", "secret")
    with Served(place / "d", "--workers", 1, "--upload-seconds", 5) as one:
        head = b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        began = time.monotonic()
        assert b" 401 " in one.raw(head)
        assert time.monotonic() - began < 4


WRONG = {
    ("nowhere",): (1, "no card.json"),
    ("d", "--host", "0.0.0.0"): (2, "EARWITNESS_TOKEN"),
    ("d", "--token-file", "empty"): (2, "expected a token"),
    ("d", "--port", "taken"): (1, "try another --port"),
    ("d", "--runtime", "onnx"): (1, "no model.onnx"),
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage(words, place) -> None:
    code, message = WRONG[words]
    (place / "empty").write_text("\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "earwitness", "serve"]
        command += [port if word == "taken" else word for word in words]
        told = subprocess.run(command, capture_output=True, text=True, cwd=place, timeout=60)
    assert told.returncode == code, told.stderr
    assert message in told.stderr
    assert "Traceback" not in told.stderr
