"""Every code block of the documentation runs: Python and shell, page by page, in an empty folder."""

import json
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


# What a page's Python session is: it runs a block at a time and says how each went.
SESSION = """
import contextlib, io, json, sys, traceback
told, names = sys.stdout, {"__name__": "__main__"}
for line in sys.stdin:
    caught = io.StringIO()
    with contextlib.redirect_stdout(caught), contextlib.redirect_stderr(caught):
        try:
            exec(compile(json.loads(line), "<page>", "exec"), names)
            error = ""
        except BaseException:
            error = traceback.format_exc()
    print(json.dumps([error, caught.getvalue()]), file=told, flush=True)
"""


def run_page(text: str, folder: Path) -> int:
    """Run a page's blocks in order: Python blocks share one session, each shell block one shell."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-W", "error", "-c", SESSION]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    count = 0
    with subprocess.Popen(command, cwd=folder, env=env, **pipes) as session:
        for language, code in blocks(text):
            run_python(session, code) if language == "python" else run_shell(code, folder, env)
            count += 1
        session.stdin.close()
        assert session.wait() == 0
    return count


def run_python(session: subprocess.Popen, code: str) -> None:
    session.stdin.write(json.dumps(code) + "\n")
    session.stdin.flush()
    answer = session.stdout.readline()
    assert answer, f"{code}\nthe session died"
    error, told = json.loads(answer)
    assert not error, f"{code}\n{told}\n{error}"


def run_shell(code: str, folder: Path, env: dict[str, str]) -> None:
    command = ["bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env)
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"


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
    with pytest.raises(AssertionError, match="the session died"):
        run_page("```python\nimport os\nos._exit(1)\n```\n", tmp_path)


def test_links_between_pages_lead_somewhere():
    count = 0
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            count += 1
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is absent"
    assert count > 10
