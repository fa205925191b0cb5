"""Every code block of the documentation runs: Python and shell, page by page, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    p.relative_to(ROOT).as_posix()
    for p in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if re.search(r"^```(python|sh)$", p.read_text(encoding="utf-8"), re.M)
)
# A page that starts from a run or a recording says so in its first lines; the test provides it.
SLOW = {"README.md", "docs/start.md"}


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, code) of each fenced block that is python or sh; other fences are not run."""
    return re.findall(r"^```(python|sh)\n(.*?)^```$", text, re.M | re.S)


def run_page(text: str, folder: Path) -> int:
    """Run a page's blocks in order: Python blocks share one session, each shell block one shell."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    session = ""
    count = 0
    for language, code in blocks(text):
        if language == "python":
            session += code + "\n"
            command = [sys.executable, "-W", "error", "-c", session]
        else:
            command = ["bash", "-euo", "pipefail", "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env)
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        count += 1
    return count


def test_pages_were_found():
    assert len(PAGES) >= 6
    assert SLOW <= set(PAGES)


@pytest.fixture(scope="module")
def quick_demo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "earwitness", "demo", "--quick", "--out", "runs/demo"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    "page", [pytest.param(p, marks=pytest.mark.slow) if p in SLOW else p for p in PAGES]
)
def test_the_page_runs(page, tmp_path, request):
    text = (ROOT / page).read_text(encoding="utf-8")
    if "runs/demo" in text:  # the page starts where `make demo` ended
        import shutil

        shutil.copytree(request.getfixturevalue("quick_demo"), tmp_path, dirs_exist_ok=True)
    assert run_page(text, tmp_path) >= 1


def test_a_broken_block_is_caught(tmp_path):
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_page("```python\n1 / 0\n```\n", tmp_path)
    with pytest.raises(AssertionError):
        run_page("```sh\nfalse\n```\n", tmp_path)


def test_links_between_pages_lead_somewhere():
    count = 0
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            count += 1
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is absent"
    assert count > 10
