"""The main job on an embedded default: a stand-in stream, learned with ``naive`` and ``rwm``."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from earwitness.experiment import Experiment
from earwitness.report import write
from earwitness.running import run
from earwitness.runs import RunFolder

__all__ = ["run_demo"]

_SETTINGS: dict[str, Any] = {
    "name": "demo",
    "stand_in": True,
    "note": "Made by the project itself; results on it say nothing about real speech.",
    "seeds": [0, 1],
    "stream": {"corpus": "synthetic", "root": "corpus", "by": "domain"},
    "detector": {
        "front_end": {"name": "logmel", "bands": 64},
        "back_end": {"name": "resnet", "width": 8},
        "windows": {"seconds": 1.5, "hop": 0.75},
    },
    "training": {"epochs": 6, "seconds": 1.5, "batch_size": 16, "learning_rate": 0.05},
    "strategies": {"naive": {}, "rwm": {}},
}
_QUICK: dict[str, Any] = {
    "reader": {
        "clips": [6, 3, 3],
        "domains": ["pulse-vocoder", "upsampler"],
        "seconds": [0.6, 0.8],
    },
    "training": {"epochs": 1, "seconds": 0.5, "batch_size": 8},
}

Say = Callable[[str], object]
Progress = Callable[[Experiment], AbstractContextManager[Any]]


def run_demo(out: Path, *, quick: bool, say: Say, progress: Progress) -> RunFolder:
    """Make the corpus, learn it twice over, write the report, and say where things are.

    The same call resumes: corpus, runs and report are each reused as far as they got.
    """
    experiment = _plan(out, quick)
    say(f"making (or finding) the stand-in corpus in {out / 'corpus'} ...")
    experiment.stream()
    say(f"learning {len(experiment.labels)} strategies x {len(experiment.seeds)} seeds ...")
    with progress(experiment) as on_step:
        folder = run(experiment, out / "run", workers=2, on_step=on_step)
    say("writing the report ...")
    write([folder])
    detector = folder.finished()[-1].path / "detector"
    clip = next((out / "corpus").rglob("*.flac"))
    say(
        f"\nThe picture:   {out / 'run' / 'report.png'}\n"
        f"The report:    {out / 'run' / 'report.html'}  (opens offline in any browser)\n"
        f"Score a file:  earwitness score {clip} --detector {detector}\n"
        f"Explain it:    earwitness explain {clip} --detector {detector}\n"
        "Remember: the corpus is a synthetic stand-in; it says nothing about real speech."
    )
    return folder


def _plan(out: Path, quick: bool) -> Experiment:
    settings = {**_SETTINGS, "stream": dict(_SETTINGS["stream"])}
    if quick:
        settings["stream"]["reader"] = _QUICK["reader"]
        settings["training"] = _QUICK["training"]
    return Experiment.from_settings(settings, folder=out)
