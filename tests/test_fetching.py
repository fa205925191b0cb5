"""Downloads against a server of our own that cuts connections, lies about sums and knows no ranges."""

import hashlib
import json
import shutil
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from earwitness.cli import app
from earwitness.corpora import fetching
from earwitness.corpora.fetching import Remote, fetch, fetch_all, zenodo_files
from earwitness.errors import RunError

BODY = bytes(range(256)) * 400


class Server:
    """Serves BODY at any path; ``cut_after`` bytes a connection, ``ranges`` or none."""

    def __init__(self) -> None:
        self.cut_after, self.ranges, self.status, self.asked = None, True, 200, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range", "")
        self.asked.append(asked)
        if self.status != 200:
            request.send_error(self.status)
            return
        if request.path.startswith("/records"):
            body = json.dumps(self.record()).encode()
            request.send_response(200)
            request.end_headers()
            request.wfile.write(body)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(BODY) - start))
        request.end_headers()
        end = len(BODY) if self.cut_after is None else start + self.cut_after
        request.wfile.write(BODY[start:end])

    def record(self) -> dict:
        sum_ = hashlib.md5(BODY).hexdigest()
        return {
            "files": [
                {
                    "key": name,
                    "size": len(BODY),
                    "checksum": f"md5:{sum_}",
                    "links": {"self": f"{self.url}/{name}"},
                }
                for name in ("one.tar", "two.tar")
            ]
        }

    def remote(self, **other: object) -> Remote:
        told = {
            "name": "a.tar",
            "url": f"{self.url}/a.tar",
            "size": len(BODY),
            "md5": hashlib.md5(BODY).hexdigest(),
        }
        return Remote(**{**told, **other})  # type: ignore[arg-type]


@pytest.fixture
def server():
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


def test_a_file_is_fetched_whole_and_only_once(server, tmp_path):
    seen = []
    path = fetch(server.remote(), tmp_path, on_bytes=lambda *told: seen.append(told))
    assert path.read_bytes() == BODY
    assert seen[-1] == ("a.tar", len(BODY), len(BODY))
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar"]
    fetch(server.remote(), tmp_path)
    assert len(server.asked) == 1


def test_cut_connections_are_gone_on_with(server, tmp_path):
    server.cut_after = 30_000
    assert fetch(server.remote(), tmp_path, pause=0).read_bytes() == BODY
    assert server.asked == ["", "bytes=30000-", "bytes=60000-", "bytes=90000-"]


def test_a_stopped_process_goes_on_from_its_part(server, tmp_path):
    (tmp_path / "a.tar.part").write_bytes(BODY[:50_000])
    assert fetch(server.remote(), tmp_path).read_bytes() == BODY
    assert server.asked == ["bytes=50000-"]


def test_a_server_without_ranges_begins_anew(server, tmp_path):
    server.ranges = False
    (tmp_path / "a.tar.part").write_bytes(b"x" * 50_000)
    assert fetch(server.remote(), tmp_path).read_bytes() == BODY


def test_a_wrong_sum_is_an_error_and_nothing_is_kept(server, tmp_path):
    with pytest.raises(RunError, match="expected 102,400 with 0123"):
        fetch(server.remote(md5="0123"), tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.tar").write_bytes(b"not it")
    with pytest.raises(RunError, match="6 bytes with MD5 .*Remove it"):
        fetch(server.remote(), tmp_path)
    assert (tmp_path / "a.tar").read_bytes() == b"not it"


def test_too_long_a_file_is_not_taken(server, tmp_path):
    with pytest.raises(RunError, match="102,400 bytes .*expected 100 "):
        fetch(server.remote(size=100), tmp_path)


def test_no_byte_after_some_tries_is_an_error_that_keeps_the_part(server, tmp_path):
    server.cut_after = 0
    (tmp_path / "a.tar.part").write_bytes(BODY[:10])
    with pytest.raises(RunError, match=r"3 tries without a byte.*goes on from there"):
        fetch(server.remote(), tmp_path, tries=3, pause=0)
    assert (tmp_path / "a.tar.part").read_bytes() == BODY[:10]
    assert len(server.asked) == 3


def test_no_server_and_no_file(server, tmp_path):
    server.status = 404
    with pytest.raises(RunError, match="the server answers 404"):
        fetch(server.remote(), tmp_path)
    with pytest.raises(RunError, match="2 tries without a byte"):
        fetch(server.remote(url="http://127.0.0.1:1/a.tar"), tmp_path, tries=2, pause=0)
    with pytest.raises(RunError, match="leads out of the folder"):
        fetch(server.remote(name="../a.tar"), tmp_path)


def test_room_is_asked_for_first(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 100_000))
    with pytest.raises(RunError, match="0.0 GB are free; make room"):
        fetch_all([server.remote()], tmp_path)
    assert server.asked == []
    (tmp_path / "a.tar.part").write_bytes(BODY[:50_000])  # what is there need not fit again
    assert fetch_all([server.remote()], tmp_path)[0].read_bytes() == BODY


def test_a_record_is_listed_and_fetched(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "_ZENODO", f"{server.url}/records")
    listed = zenodo_files("1", api=f"{server.url}/records")
    assert [one.name for one in listed] == ["one.tar", "two.tar"]
    monkeypatch.setattr(fetching, "zenodo_files", lambda record: listed)
    result = CliRunner().invoke(
        app, ["corpus", "fetch", "wavefake", str(tmp_path), "--only", "two.tar"]
    )
    assert result.exit_code == 0, result.output
    assert [p.name for p in tmp_path.iterdir()] == ["two.tar"]
    assert "earwitness corpus check wavefake" in result.output
    wrong = CliRunner().invoke(app, ["corpus", "fetch", "wavefake", str(tmp_path), "--only", "tow.tar"])
    assert "did you mean 'two.tar'" in str(wrong.exception)
    by_hand = CliRunner().invoke(app, ["corpus", "fetch", "mlaad", str(tmp_path)])
    assert "can't be fetched by a program" in str(by_hand.exception)
    server.status = 500
    with pytest.raises(RunError, match="can't be listed"):
        zenodo_files("1", api=f"{server.url}/records")
