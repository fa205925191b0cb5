"""The page in a real browser: the whole way of an analyst, and the wrong turns.

Needs `pip install 'earwitness[browser]'` and a Chromium that is already on the machine.
"""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("playwright.sync_api", reason="needs earwitness[browser]")
pytest.importorskip("fastapi")
from playwright import sync_api
from testimony import save_detector

from earwitness import audio

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SPEECH = Path(__file__).parents[2] / "shared" / "data" / "speechfake_cl" / "audio"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium on the machine"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    save_detector(folder)
    real = sorted(SPEECH.glob("*/*.flac"))[:2] if SPEECH.is_dir() else []
    rng = np.random.default_rng(0)
    for n, name in enumerate(("first.flac", "second.flac")):
        if real:
            shutil.copy(real[n], folder / name)
        else:
            audio.write(folder / name, 0.1 * rng.normal(size=40_000).clip(-5, 5))
    (folder / "broken.wav").write_bytes(b"RIFF and nothing more")
    return folder


@pytest.fixture(scope="module")
def address(place):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["app", str(place / "d"), "--cases", str(place / "cases"), "--port", str(port)]
    command = [sys.executable, "-m", "earwitness", *words, "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while "listening" not in process.stderr.readline():
            assert process.poll() is None
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def chromium():
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_api.sync_playwright() as tools:
        browser = tools.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required", *fake],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, address):
    """An empty page; what the browser complains of fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on(
        "request",
        lambda asked: (
            wrong.append(asked.url) if not asked.url.startswith((address, "blob:", "data:")) else None
        ),
    )
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(address)
    page.wait_for_function("() => document.querySelector('#kept').textContent !== ''")
    yield page
    if page.locator("#delete-all").is_visible():
        page.click("#delete-all")
        page.wait_for_selector("#none:not([hidden])")
    context.close()
    assert wrong == []


def hear(page, path: Path) -> None:
    page.set_input_files("#recording", path)
    page.wait_for_function(
        "name => document.querySelector('#case .name')?.textContent === name && "
        "!document.querySelector('#case .found').hidden",
        arg=path.name, timeout=60_000,
    )  # fmt: skip


def test_the_whole_way(page, place, tmp_path) -> None:
    assert page.locator("#stand-in").is_visible()
    hear(page, place / "first.flac")
    assert page.locator("#case .word").inner_text() in ("bonafide", "spoof", "inconclusive")
    assert "Not calibrated" in page.locator("#case .confidence").inner_text()
    assert page.locator("#case .sentences li").count() >= 3
    page.wait_for_function("() => document.querySelector('#case img').naturalWidth > 10")
    # Click to play, and it stops where the segment ends.
    page.locator("#case .segments button").first.click()
    page.wait_for_function("() => document.querySelector('#case audio').currentTime > 0.2")
    assert "score" in page.locator("#case .segment-said").inner_text()
    page.wait_for_function("() => document.querySelector('#case audio').paused")
    assert page.evaluate("document.querySelector('#case audio').currentTime") < 1.6
    # A note is kept.
    page.fill("#case textarea", "called on Tuesday")
    page.wait_for_selector("#case .saved:has-text('saved')")
    page.reload()
    page.click("#cases button")
    page.wait_for_selector("#case .found:not([hidden])")
    assert page.input_value("#case textarea") == "called on Tuesday"
    # The report, as a page and as a PDF.
    with page.expect_popup() as opened:
        page.click("#case .html")
    opened.value.wait_for_load_state()
    assert "first.flac" in opened.value.locator("h1").inner_text()
    assert "called on Tuesday" in opened.value.locator("dl").inner_text()
    opened.value.close()
    with page.expect_download() as loaded:
        page.click("#case .pdf")
    assert loaded.value.suggested_filename == "first-report.pdf"
    # Deleted is deleted, on the disk as well.
    page.click("#case .delete")
    page.wait_for_selector("#none:not([hidden])")
    assert list((place / "cases").iterdir()) == []


def test_a_broken_file_says_so_and_the_page_goes_on(page, place) -> None:
    page.set_input_files("#recording", place / "broken.wav")
    page.wait_for_selector("#case .failed")
    assert "Can't be used" in page.locator("#case .state").inner_text()
    hear(page, place / "first.flac")
    assert page.locator("#cases button").count() == 2


def test_two_at_once_are_both_heard_and_compared(page, place) -> None:
    page.set_input_files("#recording", place / "first.flac")
    page.set_input_files("#recording", place / "second.flac")
    page.wait_for_function(
        "() => [...document.querySelectorAll('#cases small')]"
        ".filter(x => /bonafide|spoof|inconclusive/.test(x.textContent)).length === 2",
        timeout=60_000,
    )
    page.locator("#cases button", has_text="first.flac").click()
    page.wait_for_selector("#case .found:not([hidden])")
    page.select_option("#case select", index=1)
    page.wait_for_function(
        "() => document.querySelectorAll('#case article .found:not([hidden])').length === 2"
    )
    names = page.locator("#case .name").all_inner_texts()
    assert names == ["first.flac", "second.flac"]
    page.locator("#case select").first.select_option(label="nothing")
    page.wait_for_function("() => document.querySelectorAll('#case article').length === 1")


def test_one_can_record(page) -> None:
    page.click("#record")
    page.wait_for_timeout(1200)
    page.click("#record")
    page.wait_for_selector("#case .found:not([hidden])", timeout=60_000)
    assert page.locator("#case .name").inner_text().startswith("recorded-")
    page.wait_for_function("() => document.querySelector('#case audio').duration > 0.5")


def test_an_hour_is_heard_in_bounded_pieces(page, place) -> None:
    rng = np.random.default_rng(0)
    minute = (0.1 * rng.normal(size=16_000 * 60)).clip(-0.9, 0.9)
    audio.write(place / "hour.flac", np.tile(minute, 60))
    page.set_input_files("#recording", place / "hour.flac")
    page.wait_for_selector("#case .found:not([hidden])", timeout=300_000)
    assert page.locator("#case .end").inner_text() == "1:00:00"
    assert 100 < page.locator("#case .segments button").count() <= 240
    page.locator("#case .segments button").nth(120).click()
    page.wait_for_function("() => document.querySelector('#case audio').currentTime > 1700")
    (place / "hour.flac").unlink()


def test_without_a_mouse(page, place) -> None:
    hear(page, place / "first.flac")
    focused = "document.activeElement.id || document.activeElement.className"
    page.evaluate("document.activeElement.blur()")
    seen = []
    for _ in range(14):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(focused))
    assert seen[0] == "skip"
    assert "recording" in seen
    assert "record" in seen
    page.locator("#case .segments button").first.focus()
    page.keyboard.press("ArrowRight")
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert "s: " in label
    page.keyboard.press("Enter")
    page.wait_for_function(
        "() => document.querySelector('#case .segment-said').textContent.includes('score')"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_it_fits(chromium, address, place, scheme, width) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(address)
    hear(page, place / "first.flac")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(20, 25, 31)") == (scheme == "dark")
    small = page.evaluate(
        "[...document.querySelectorAll('button, .button, select')].filter(x => x.offsetParent && "
        "!x.closest('.segments') && x.getBoundingClientRect().height < 40).map(x => x.textContent)"
    )
    assert small == []
    page.click("#delete-all")
    page.wait_for_selector("#none:not([hidden])")
    context.close()
