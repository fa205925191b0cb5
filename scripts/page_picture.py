"""Draw docs/how-to/page.png: the page with a stand-in recording, in a real browser.

    python scripts/page_picture.py DETECTOR CORPUS [CHROMIUM]

After `make demo`: runs/demo/run/rwm/seed-0/detector runs/demo/corpus. Needs the extra ``browser``.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from earwitness import audio

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "page.png"


def main() -> None:
    detector, corpus = sys.argv[1], Path(sys.argv[2])
    chromium = sys.argv[3] if len(sys.argv) > 3 else shutil.which("chromium")
    with tempfile.TemporaryDirectory() as name:
        call = Path(name) / "a-call-with-a-part-replaced.flac"
        parts = [sorted(corpus.glob(f"*/*-test-{label}-*.flac"))[:3] for label in ("bonafide", "spoof")]
        order = (*parts[0], *parts[1], *parts[0])
        audio.write(call, np.concatenate([audio.read(path).wave for path in order]))
        words = ["app", detector, "--cases", f"{name}/cases", "--port", "8479", "--no-browser"]
        with subprocess.Popen(
            [sys.executable, "-m", "earwitness", *words], stderr=subprocess.PIPE, text=True
        ) as page:
            while "listening" not in page.stderr.readline():
                pass
            picture(chromium, call)
            page.terminate()


def picture(chromium: str | None, call: Path) -> None:
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 1000}, device_scale_factor=1.25)
        page.goto("http://127.0.0.1:8479/")
        page.set_input_files("#recording", call)
        page.wait_for_selector("#case .found:not([hidden])", timeout=60_000)
        page.wait_for_function("() => document.querySelector('#case .plane').naturalWidth > 10")
        page.evaluate("() => { document.querySelector('#kept').textContent = 'earwitness-cases'; }")
        page.screenshot(path=PAGE)
        browser.close()


if __name__ == "__main__":
    main()
