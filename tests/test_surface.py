"""The public surface, the layers, the shelves, start-up time, and life without torch."""

import importlib
import inspect
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

import earwitness
from earwitness import contracts
from earwitness.augment import AUGMENTS
from earwitness.backends import BACKENDS
from earwitness.corpora import CORPORA
from earwitness.differentials import DIFFERENTIALS
from earwitness.explainers import EXPLAINERS
from earwitness.frontends import FRONTENDS
from earwitness.losses import LOSSES
from earwitness.metrics import METRICS
from earwitness.selection import SELECTORS
from earwitness.shelf import Shelf
from earwitness.strategies import STRATEGIES

ROOT = Path(__file__).parents[1]
SHELVES = [
    *(
        AUGMENTS,
        BACKENDS,
        CORPORA,
        DIFFERENTIALS,
        EXPLAINERS,
        FRONTENDS,
        LOSSES,
        METRICS,
        SELECTORS,
        STRATEGIES,
    ),
]


def test_the_public_names():
    assert earwitness.__all__ == [
        "AudioError", "Clips", "Detector", "EarwitnessError", "Evaluation", "Manifest",
        "ProtocolError", "RunFolder", "Scores", "SettingsError", "Stream", "Task", "Training",
        "Trial", "Windows", "backends", "corpora", "evaluate", "frontends", "learn", "metrics",
        "score", "strategies",
    ]  # fmt: skip
    for name in earwitness.__all__:
        assert getattr(earwitness, name) is not None
    with pytest.raises(AttributeError, match="detektor"):
        earwitness.detektor  # noqa: B018


def modules() -> list[str]:
    files = sorted((ROOT / "earwitness").rglob("*.py"))
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in files]
    return [n.removesuffix(".__init__") for n in names if not n.endswith("__main__")]


def test_every_module_lists_its_public_names():
    found = modules()
    assert len(found) > 50
    for name in found:
        module = importlib.import_module(name)
        if not name.split(".")[-1].startswith("_"):
            assert module.__all__, f"{name} has no __all__"
        for public in getattr(module, "__all__", []):
            assert hasattr(module, public), f"{name}.__all__ names {public}, which is not there"


def test_versions_agree():
    text = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{earwitness.__version__}"' in text
    assert f"## {earwitness.__version__}" in (ROOT / "CHANGELOG.md").read_text()


# Shelves.


@pytest.mark.parametrize("shelf", SHELVES, ids=lambda s: s.noun)
def test_the_table_is_the_folder(shelf):
    assert len(contracts.check_shelf(shelf)) >= 2


def test_a_file_without_an_entry_and_an_entry_without_a_file_are_caught():
    table = dict(STRATEGIES.table)
    del table["rwm"]
    with pytest.raises(AssertionError, match="files without a table entry: {'rwm'}"):
        contracts.check_shelf(Shelf(STRATEGIES.package, "x", table, helpers=STRATEGIES.helpers))
    table = {**STRATEGIES.table, "ghost": "ghost:Ghost"}
    with pytest.raises(AssertionError, match="entries without a file: {'ghost'}"):
        contracts.check_shelf(Shelf(STRATEGIES.package, "x", table, helpers=STRATEGIES.helpers))


@pytest.mark.parametrize("name", METRICS.table)
def test_metrics_keep_their_contract(name):
    found = METRICS.get(name)
    needs_threshold = "threshold" in inspect.signature(found).parameters
    contracts.check_metric(partial(found, threshold=0.5) if needs_threshold else found)


def test_the_metric_contract_catches_order_dependence():
    with pytest.raises(AssertionError, match="order of trials"):
        contracts.check_metric(lambda bonafide, spoof: float(bonafide[0]))
    with pytest.raises(AssertionError, match="monotone map"):
        contracts.check_metric(lambda bonafide, spoof: float(min(bonafide)))


# Layers.


def test_a_forbidden_import_is_caught(tmp_path):
    """A copy of the package passes; with one wrong import in it, it doesn't."""
    import shutil

    shutil.copytree(ROOT / "earwitness", tmp_path / "earwitness")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    code = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command;"
        "lint_imports_command(['--no-cache'])"
    )

    def run() -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
        )

    clean = run()
    assert clean.returncode == 0, clean.stdout
    for file, line in (
        ("trials.py", "from earwitness import detector"),
        ("metrics/eer.py", "import torch"),
    ):
        path = tmp_path / "earwitness" / file
        before = path.read_text()
        path.write_text(f"{before}\n{line}\n")
        broken = run()
        assert broken.returncode != 0, f"{line} in {file} was not caught"
        assert "BROKEN" in broken.stdout
        path.write_text(before)


# Starting up.


def python(code: str, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True)


def test_help_imports_nothing_heavy():
    told = python(
        "import sys; sys.argv = ['earwitness', '--help']\n"
        "from earwitness.cli import app\n"
        "try: app()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'matplotlib', 'soundfile', 'av'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    assert "heavy: []" in told.stdout, told.stdout + told.stderr


@pytest.mark.slow
def test_help_is_quick():
    command = [sys.executable, "-m", "earwitness", "--help"]
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.3 * 2, f"--help took {min(times):.2f} s (the bar is 0.3 s on a quiet machine)"


NO_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'safetensors'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Refuse())
"""


def test_evaluation_works_without_torch(tmp_path):
    (tmp_path / "s.csv").write_text("a,1.0,bonafide\nb,0.5,spoof\nc,2.0,bonafide\nd,1.5,spoof\n")
    argv = f"sys.argv = ['earwitness', 'metrics', {str(tmp_path / 's.csv')!r}, '--json']\n"
    told = python(f"{NO_TORCH}{argv}from earwitness.cli import main\nmain()")
    assert told.returncode == 0, told.stderr
    assert '"eer"' in told.stdout
    for name in ("trials", "scores", "streams", "corpora", "metrics", "evaluation", "report"):
        told = python(f"{NO_TORCH}import earwitness.{name}\nassert 'torch' not in sys.modules")
        assert told.returncode == 0, f"{name}: {told.stderr}"


def test_without_torch_a_command_that_needs_it_says_what_to_install(tmp_path):
    argv = "sys.argv = ['earwitness', 'score', 'a.wav', '-d', 'detector']\n"
    told = python(f"{NO_TORCH}{argv}from earwitness.cli import main\nmain()")
    assert told.returncode == 1
    assert "pip install 'earwitness[torch]'" in told.stderr


def test_importing_the_package_does_nothing():
    told = python("import sys, earwitness\nprint(len([m for m in sys.modules if 'earwitness' in m]))")
    assert told.stdout.strip() == "1"
