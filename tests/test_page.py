"""The page: cases that are heard, kept, explained and deleted, and nobody else's requests."""

import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("captum")
import soundfile
from PIL import Image
from starlette.testclient import TestClient
from testimony import save_detector

from earwitness import audio
from earwitness.calibration import Calibration
from earwitness.detector import Detector
from earwitness.errors import CheckpointError, SettingsError
from earwitness.explanation import Explanation, explain
from earwitness.landmarks import Landmarks
from earwitness.verdict import put_calibration
from earwitness.web.cases import Cases
from earwitness.web.conclusion import conclude, evidence, line
from earwitness.web.page import PageSettings, create_page
from earwitness.web.spectrogram import COLUMNS, picture_and_sound

OWN = {"X-Earwitness": "1"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A detector with landmarks, and recordings."""
    folder = tmp_path_factory.mktemp("page")
    save_detector(folder)
    rng = np.random.default_rng(0)
    for name, seconds in (("a.wav", 0.7), ("b.flac", 2.3)):
        audio.write(folder / name, 0.1 * rng.normal(size=int(16_000 * seconds)).clip(-5, 5))
    (folder / "bad.wav").write_bytes(b"nothing at all")
    return folder


@pytest.fixture
def client(place, tmp_path):
    page = create_page(PageSettings(place / "d", tmp_path / "cases"))
    with TestClient(page, headers=OWN) as client:
        yield client


def give(client, path: Path, **more) -> str:
    files = {"recording": (path.name, path.read_bytes()), **more}
    answer = client.post("/api/cases", files=files)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def wait(client, id_: str) -> dict:
    for _ in range(600):
        told = client.get(f"/api/cases/{id_}").json()
        if told["status"] in ("failed", "done"):
            return told
        time.sleep(0.05)
    raise AssertionError(told)


# Cases.


def test_a_case_is_heard_explained_and_deleted(client, place, tmp_path) -> None:
    told = wait(client, give(client, place / "b.flac"))
    found, where = told["found"], f"/api/cases/{told['id']}"
    detector = Detector.load(place / "d")
    assert told["name"] == "b.flac"
    assert found["score"] == pytest.approx(detector.score(place / "b.flac").mean, abs=1e-5)
    assert len(found["windows"]) == 4
    assert found["conclusion"] in ("bonafide", "spoof", "inconclusive")
    assert "Not calibrated" in found["confidence"]
    assert found["sentences"]
    assert found["limits"]
    sound = client.get(f"{where}/sound")
    assert sound.headers["content-type"] == "audio/flac"
    part = client.get(f"{where}/sound", headers={"range": "bytes=0-99"})
    assert (part.status_code, len(part.content)) == (206, 100)
    assert client.get(f"{where}/spectrogram").content[:4] == b"\x89PNG"
    report = client.get(f"{where}/report.html")
    assert "b.flac" in report.text
    assert "recording.flac" not in report.text
    assert f"<dd>{found['conclusion']}</dd>" in report.text
    client.put(f"{where}/note", json={"note": "called <b>twice</b>"})
    assert "called &lt;b&gt;twice&lt;/b&gt;" in client.get(f"{where}/report.html").text
    assert "script" not in report.headers["content-security-policy"]
    pdf = client.get(f"{where}/report.pdf")
    assert pdf.content[:5] == b"%PDF-"
    assert "b-report.pdf" in pdf.headers["content-disposition"]
    assert client.delete(where).status_code == 204
    assert client.get(where).status_code == 404
    assert list((tmp_path / "cases").iterdir()) == []


def test_a_broken_file_says_why_and_the_next_is_heard(client, place) -> None:
    bad, good = give(client, place / "bad.wav"), give(client, place / "a.wav")
    told = wait(client, bad)
    assert told["status"] == "failed"
    assert told["error"].startswith("not audio")
    assert wait(client, good)["status"] == "done"
    listed = client.get("/api/cases").json()
    assert {one["status"] for one in listed} == {"failed", "done"}
    assert client.get(f"/api/cases/{bad}/report.html").status_code == 409


def test_notes_are_kept_and_may_not_be_endless(client, place, tmp_path) -> None:
    id_ = give(client, place / "a.wav")
    assert client.put(f"/api/cases/{id_}/note", json={"note": "caller ü <b>"}).status_code == 204
    assert client.get(f"/api/cases/{id_}").json()["note"] == "caller ü <b>"
    assert client.get("/api/cases").json()[0]["note"] == "caller ü <b>"
    assert client.put(f"/api/cases/{id_}/note", json={"note": "x" * 20_001}).status_code == 413
    wait(client, id_)
    assert client.get(f"/api/cases/{id_}").json()["note"] == "caller ü <b>"
    assert client.delete("/api/cases").status_code == 204
    assert client.get("/api/cases").json() == []


def test_what_waited_when_the_page_stopped_is_heard_when_it_starts(place, tmp_path) -> None:
    cases = Cases(tmp_path / "cases")
    with open(place / "a.wav", "rb") as file:
        case = cases.add("call.wav", file)
    case.update(status="hearing")
    (cases.folder / "1234567890-aaaaaaaaaaaa").mkdir()  # a half-made one is none
    with TestClient(create_page(PageSettings(place / "d", cases.folder)), headers=OWN) as client:
        assert [path.name for path in cases.folder.iterdir()] == [case.id]
        assert [one["id"] for one in client.get("/api/cases").json()] == [case.id]
        assert wait(client, case.id)["status"] == "done"


def test_what_is_deleted_while_it_is_heard_leaves_nothing(place, tmp_path) -> None:
    page = create_page(PageSettings(place / "d", tmp_path / "cases"))
    with TestClient(page, headers=OWN) as client:
        for _ in range(4):
            id_ = give(client, place / "b.flac")
            time.sleep(0.1)
            assert client.delete(f"/api/cases/{id_}").status_code == 204
        wait(client, give(client, place / "a.wav"))
    assert len(list((tmp_path / "cases").iterdir())) == 1


def test_names_lead_nowhere(client, place) -> None:
    files = {"recording": ("../../../etc/x.wav", (place / "a.wav").read_bytes())}
    told = client.post("/api/cases", files=files).json()
    case = wait(client, told["id"])
    assert case["status"] == "done"
    for bad in ("..", "%2e%2e", "x", "1234567890-zzzzzzzzzzzz", "1234567890-aaaaaaaaaaaa"):
        assert client.get(f"/api/cases/{bad}").status_code == 404
    assert client.delete("/api/cases/1234567890-aaaaaaaaaaaa").status_code == 404


# Who may ask.


def test_other_sites_and_other_names_are_refused(client, place) -> None:
    files = {"recording": ("a.wav", (place / "a.wav").read_bytes())}
    plain = TestClient(client.app)
    assert plain.post("/api/cases", files=files).status_code == 403
    assert plain.delete("/api/cases").status_code == 403
    assert client.get("/api/cases", headers={"host": "evil.example"}).status_code == 400
    policy = plain.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_nothing_is_loaded_from_elsewhere(client) -> None:
    for path in ("/", "/page.js", "/page.css", "/icon.svg"):
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text, path
        assert "//" not in text.replace("// ", ""), path
    about = client.get("/api/about").json()
    assert about["stand_in"]
    assert about["kept_in"].endswith("cases")


def test_detectors_that_cannot_testify_are_refused(place, tmp_path) -> None:
    shutil.copytree(place / "d", tmp_path / "d")
    (tmp_path / "d" / "landmarks.safetensors").unlink()
    with pytest.raises(CheckpointError, match="earwitness landmarks"):
        create_page(PageSettings(tmp_path / "d", tmp_path / "cases"))
    (tmp_path / "d" / "model.onnx").touch()
    with pytest.raises(SettingsError, match="can't be explained"):
        create_page(PageSettings(tmp_path / "d", tmp_path / "cases"))


def luminance(colour: str) -> float:
    """Of WCAG 2."""
    wide = colour if len(colour) == 7 else "#" + "".join(2 * c for c in colour[1:])
    parts = [int(wide[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_words_can_be_read_by_day_and_by_night(client) -> None:
    """WCAG's 4.5 to 1 for every colour of words on every ground that they stand on."""
    css = client.get("/page.css").text
    schemes = re.findall(r":root \{(.*?)\}", css, re.S)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", scheme))
        pairs = [
            (ink, on)
            for ink in ("ink", "quiet", "bonafide", "spoof", "open")
            for on in ("paper", "soft")
        ]
        for ink, on in [*pairs, ("ink", "field"), ("quiet", "field"), ("on-action", "action")]:
            light, dark = sorted((luminance(colours[ink]), luminance(colours[on])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, on)


# What is concluded.


def told_of(place: Path) -> Explanation:
    return explain(Detector.load(place / "d"), Landmarks.read(place / "d"), place / "b.flac")


def card(offset: float = 0.0) -> dict:
    """Of a detector that is calibrated."""
    calibration = Calibration("affine", weights=(1.0,), offset=offset)
    return {"dev": {"threshold": 0.0}, "calibration": calibration.to_dict()}


def changed(told: Explanation, **more) -> Explanation:
    from dataclasses import replace

    return replace(told, **more)


def test_weak_evidence_is_inconclusive_and_strong_is_told(place) -> None:
    told = changed(told_of(place), word="CONSISTENT", score=1.0, scores=np.ones(1), card=card())
    weak = conclude(changed(told, calibrated=np.log(9.9)), odds=10)
    assert weak.word == "inconclusive"
    assert "10 to one" in weak.why
    strong = conclude(changed(told, calibrated=-np.log(99), scores=-np.ones(1)), odds=10)
    assert strong.word == "spoof"
    assert "99 times as likely for a spoof" in strong.confidence
    assert "99 %" in strong.confidence
    plain = conclude(changed(told, calibrated=None))
    assert plain.word == "bonafide"
    assert "above the detector's threshold" in plain.why
    below = conclude(changed(told, calibrated=None, score=-0.1, scores=-np.ones(2)))
    assert below.word == "spoof"
    assert conclude(changed(told, calibrated=None, card={})).why.endswith("has no threshold.")


def test_a_strange_recording_is_inconclusive_where_that_is_rare(place) -> None:
    told = told_of(place)
    for word, rate, expected in (
        ("ATYPICAL", 0.01, "inconclusive"), ("CONFLICT", 0.05, "inconclusive"),
        ("ATYPICAL", 0.2, "bonafide"), ("CONSISTENT", 0.01, "bonafide"),
    ):  # fmt: skip
        marks = changed(told.landmarks, rates={word: rate})
        one = changed(
            told, word=word, landmarks=marks, score=1.0, scores=np.ones(4), calibrated=9.0, card=card()
        )
        assert conclude(one).word == expected, (word, rate)


def test_half_a_window_is_too_short_to_conclude(place) -> None:
    told = changed(told_of(place), word="CONSISTENT", calibrated=9.0, card=card(), scores=np.ones(1))
    assert conclude(changed(told, seconds=0.49)).word == "inconclusive"
    assert "too short: 0.49 s" in conclude(changed(told, seconds=0.49)).why
    assert conclude(changed(told, seconds=0.5)).word == "bonafide"


def test_a_case_of_another_detector_says_so(place, tmp_path) -> None:
    with TestClient(create_page(PageSettings(place / "d", tmp_path / "c")), headers=OWN) as client:
        told = wait(client, give(client, place / "b.flac"))
        assert told["found"]["settings"]["detector"] == client.get("/api/about").json()["digest"]
    shutil.copytree(place / "d", tmp_path / "d")
    put_calibration(tmp_path / "d", Calibration("affine", weights=(40.0,), offset=3.0))
    other = Detector.load(place / "d")
    other.back_end.head.bias.data += 1
    other.save(tmp_path / "e")
    marks = Landmarks.read(place / "d")
    from dataclasses import replace

    replace(marks, detector=other.digest).write(tmp_path / "e")
    with TestClient(create_page(PageSettings(tmp_path / "e", tmp_path / "c")), headers=OWN) as client:
        refused = client.get(f"/api/cases/{told['id']}/report.pdf")
        assert refused.status_code == 409
        assert "another detector" in refused.json()["detail"]


def test_a_recording_whose_parts_disagree_is_inconclusive(place) -> None:
    told = changed(told_of(place), word="CONSISTENT", score=1.0, calibrated=None)
    told = changed(told, starts=0.5 * np.arange(8.0))
    last = changed(told, scores=np.array([5.0, 5.0, 5.0, -9.0]), starts=np.array([0, 0.5, 1.0, 1.1]))
    assert conclude(last).word == "bonafide"  # the last window is nearly the one before
    mixed = conclude(changed(told, scores=np.array([5.0, 5.0, 5.0, -9.0])))
    assert mixed.word == "inconclusive"
    assert "25 % of the windows speak for spoof" in mixed.why
    assert conclude(changed(told, scores=np.array([5.0, 5.0, 5.0, 5.0, -9.0]))).word == "bonafide"
    fake = conclude(changed(told, score=-1.0, scores=np.array([-5.0, -5.0, 6.0])))
    assert "33 % of the windows speak for bonafide" in fake.why
    # Calibrated, the border is where the evidence is even: here at a score of 3.
    even = changed(told, calibrated=9.0, card=card(offset=-3.0), scores=np.array([9.0, 9.0, 2.0]))
    assert conclude(even).word == "inconclusive"
    assert evidence(even).tolist() == [6.0, 6.0, -1.0]
    assert "evidence is even" in line(even)
    above = changed(told, scores=np.array([-0.5, -2.0]), card={"dev": {"threshold": -1.0}})
    assert evidence(above).tolist() == [0.5, -1.0]
    assert line(above) == "The line is the detector's threshold, a score of -1.00."


def test_a_calibrated_detector_says_how_sure(place, tmp_path) -> None:
    shutil.copytree(place / "d", tmp_path / "d")
    put_calibration(tmp_path / "d", Calibration("affine", weights=(40.0,), offset=3.0))
    with TestClient(create_page(PageSettings(tmp_path / "d", tmp_path / "c")), headers=OWN) as client:
        found = wait(client, give(client, place / "b.flac"))["found"]
    assert found["confidence"].startswith("Calibrated: ")


# Pictures and sound.


def test_the_picture_shows_when_and_how_high(tmp_path) -> None:
    n = np.arange(16_000 * 4)
    wave = np.where(
        n < 32_000, np.sin(2 * np.pi * 1000 * n / 16_000), np.sin(2 * np.pi * 6000 * n / 16_000)
    )
    audio.write(tmp_path / "two.wav", 0.5 * wave)
    picture_and_sound(tmp_path / "two.wav", 4.0, tmp_path / "p.png", tmp_path / "s.flac")
    with Image.open(tmp_path / "p.png") as opened:
        image = np.asarray(opened.convert("L")).astype(float)
    loud = image.argmax(0) / image.shape[0]
    assert 1 - loud[image.shape[1] // 4] == pytest.approx(1000 / 8000, abs=0.02)
    assert 1 - loud[3 * image.shape[1] // 4] == pytest.approx(6000 / 8000, abs=0.02)
    half = image.shape[1] // 2
    assert np.median(loud[: half - 4]) > 0.8
    assert np.median(loud[half + 4 :]) < 0.3
    sound, rate = soundfile.read(tmp_path / "s.flac")
    assert rate == 16_000
    assert sound == pytest.approx(audio.read(tmp_path / "two.wav").wave, abs=1e-4)


@pytest.mark.parametrize("seconds", [0.03, 0.5, 400.0])
def test_pictures_of_any_length(tmp_path, seconds) -> None:
    wave = 0.1 * np.random.default_rng(0).normal(size=int(16_000 * seconds)).clip(-5, 5)
    audio.write(tmp_path / "x.wav", wave)
    picture_and_sound(tmp_path / "x.wav", seconds, tmp_path / "p.png", tmp_path / "s.flac")
    with Image.open(tmp_path / "p.png") as image:
        width, height = image.size
    assert 1 <= width <= COLUMNS
    assert height == 192
    assert soundfile.info(tmp_path / "s.flac").frames == len(wave)
