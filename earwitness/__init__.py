"""earwitness: hear, remember, testify.

Detectors that tell genuine speech from synthetic speech and keep learning as new generators appear.
Names below are loaded when first used, so that importing the package costs nothing and the
evaluation half works without torch.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PLACES = {
    "AudioError": "errors",
    "Clips": "batches",
    "Detector": "detector",
    "EarwitnessError": "errors",
    "Evaluation": "evaluation",
    "Manifest": "trials",
    "ProtocolError": "errors",
    "RunFolder": "runs",
    "Scores": "scores",
    "SettingsError": "errors",
    "Stream": "streams",
    "Task": "streams",
    "Training": "training",
    "Trial": "trials",
    "Windows": "detector",
    "evaluate": "evaluation",
    "learn": "training",
    "score": "scoring",
}
_SHELVES = ("backends", "corpora", "frontends", "metrics", "strategies")

__all__ = [
    "AudioError",
    "Clips",
    "Detector",
    "EarwitnessError",
    "Evaluation",
    "Manifest",
    "ProtocolError",
    "RunFolder",
    "Scores",
    "SettingsError",
    "Stream",
    "Task",
    "Training",
    "Trial",
    "Windows",
    "backends",
    "corpora",
    "evaluate",
    "frontends",
    "learn",
    "metrics",
    "score",
    "strategies",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(f"earwitness.{_PLACES[name]}"), name)
    if name in _SHELVES:
        return importlib.import_module(f"earwitness.{name}")
    raise AttributeError(f"module 'earwitness' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
