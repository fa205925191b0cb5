"""What works on this machine, what doesn't, and what to do about it; and what is on the shelves."""

import importlib
import importlib.util
import inspect
import platform
import sys
from dataclasses import dataclass

__all__ = ["Finding", "describe_shelf", "describe_strategies", "examine", "shelves"]

_SHELVES = {
    "corpora": "CORPORA",
    "augment": "AUGMENTS",
    "frontends": "FRONTENDS",
    "backends": "BACKENDS",
    "losses": "LOSSES",
    "differentials": "DIFFERENTIALS",
    "selection": "SELECTORS",
    "explainers": "EXPLAINERS",
    "strategies": "STRATEGIES",
    "rules": "RULES",
    "metrics": "METRICS",
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``state`` is ``ok``, ``absent`` (optional) or ``broken``."""

    name: str
    state: str
    detail: str
    remedy: str = ""

    @property
    def is_broken(self) -> bool:
        """Whether something needed doesn't work."""
        return self.state == "broken"

    def __str__(self) -> str:
        remedy = f"\n          to mend it: {self.remedy}" if self.remedy else ""
        return f"{self.state:7} {self.name:12} {self.detail}{remedy}"


def examine() -> list[Finding]:
    """Look at Python, every dependency, audio formats, the fallback decoder and accelerators."""
    return [
        Finding("python", "ok", f"{platform.python_version()} on {platform.system()}"),
        *(_library(name, f"pip install {name}") for name in ("numpy", "scipy", "matplotlib")),
        _audio_formats(),
        _library("soxr", "pip install soxr"),
        _library("av", "pip install 'earwitness[codecs]'", optional=True,
                 lost="FLAC files that libsndfile refuses, and m4a/webm, cannot be read"),
        _library("torch", "pip install 'earwitness[torch]'", optional=True,
                 lost="detectors cannot be trained or run; metrics and reports work"),
        _library("safetensors", "pip install 'earwitness[torch]'", optional=True,
                 lost="detectors cannot be loaded"),
        _library("captum", "pip install 'earwitness[explain]'", optional=True,
                 lost="explanations don't say what a score rests on; the page cannot start"),
        _library("onnxruntime", "pip install 'earwitness[onnx]'", optional=True,
                 lost="exported detectors cannot be run"),
        _library("fastapi", "pip install 'earwitness[serve]'", optional=True,
                 lost="`earwitness serve` and `earwitness app` cannot start"),
        *_accelerator(),
    ]  # fmt: skip


def _library(name: str, remedy: str, *, optional: bool = False, lost: str = "") -> Finding:
    if importlib.util.find_spec(name) is None:
        state = "absent" if optional else "broken"
        return Finding(name, state, lost or "not installed", remedy)
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:
        return Finding(name, "broken", f"installed, but it does not import: {error}", remedy)
    return Finding(name, "ok", str(getattr(module, "__version__", "installed")))


def _audio_formats() -> Finding:
    finding = _library("soundfile", "pip install soundfile")
    if finding.state != "ok":
        return finding
    import soundfile

    wanted = {"WAV", "FLAC", "OGG", "MP3"}
    missing = wanted - set(soundfile.available_formats())
    detail = f"{finding.detail}, {soundfile.__libsndfile_version__}"
    if missing:
        lost = f"{detail}; cannot read {', '.join(sorted(missing))}"
        return Finding("soundfile", "broken", lost, "pip install --upgrade soundfile")
    return Finding("soundfile", "ok", f"{detail}; reads {', '.join(sorted(wanted))}")


def _accelerator() -> list[Finding]:
    torch = sys.modules.get("torch")
    if torch is None:
        return []
    if torch.cuda.is_available():
        return [Finding("accelerator", "ok", torch.cuda.get_device_name(0))]
    detail = f"no GPU; {torch.get_num_threads()} CPU thread(s)"
    return [Finding("accelerator", "absent", detail)]


def shelves() -> list[str]:
    """The names of all shelves."""
    return list(_SHELVES)


def describe_shelf(shelf: str) -> list[tuple[str, str]]:
    """Name and first sentence of each component of a shelf.

    >>> dict(describe_shelf("metrics"))["auc"][:4]
    'Area'
    """
    table = getattr(importlib.import_module(f"earwitness.{shelf}"), _SHELVES[shelf])
    found = []
    for name in table.names():
        text = inspect.getdoc(table.get(name)) or ""
        found.append((name, text.split("\n")[0].strip()))
    return found


def describe_strategies() -> list[tuple[str, str, str, str]]:
    """Name, first sentence, what is kept between tasks, and the source of every strategy.

    >>> [row[2] for row in describe_strategies() if row[0] == "naive"]
    ['nothing']
    """
    from earwitness.strategies import STRATEGIES

    found = []
    for name, line in describe_shelf("strategies"):
        strategy = STRATEGIES.get(name)
        found.append((name, line, strategy.keeps, strategy.source))
    return found
